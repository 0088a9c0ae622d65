package manager

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A LeaderLabel is the label that a Service finds the leader's Pod by.
type LeaderLabel struct {
	// Key and Value are the label's. They must be of this election alone: from all
	// other Pods of the namespace that have it, it is taken away. Required.
	Key, Value string

	// PodNamespace and PodName are this process's Pod. Default: POD_NAMESPACE and
	// POD_NAME.
	PodNamespace, PodName string

	// PodUID tells this Pod from one of the same name that comes after it, as in a
	// StatefulSet. Default: POD_UID if the Pod is the one of POD_NAMESPACE and
	// POD_NAME, else the UID that the Pod is first seen with.
	PodUID string

	// Config leads to the cluster that the Pod is in. It is required if
	// LeaderElectionConfig leads to another host than the Manager's configuration,
	// for then the Pod may be in either. Default: the election's configuration.
	Config *rest.Config
}

// WithLeaderLabel labels the Pod of the leader, so that a Service can select it: set
// once the Lease was won, and taken away when the Manager begins to stop and before
// the Lease is released. What dead leaders left is taken away by the next one. While
// it leads, it looks every 10 to 30 s whether its own Pod has the label and no other
// one has, and puts that right. An annotation, the key with "-term" behind it, says
// which term has set the label, or in which it is over.
//
// A Service sends requests to whom it last knew to be the leader: the label is a
// signpost, and no proof. It is wrong for a while:
//   - after a crash, until the next leader has been elected;
//   - after a loss, if it could not be taken away within a quarter of
//     leaderelection.Config.Margin, for nothing may delay the end: until then, too;
//   - after a stop during which the API server refused for five seconds, or for half
//     of GracefulShutdownTimeout, to take it away: the Lease is released all the same,
//     and the next leader takes it away at once;
//   - if a request that was given up is carried out late. One that sets the label
//     names the version of the Pod that it was decided on, so it fails once the label
//     was taken away in an orderly stop. After a crash or a loss nothing may have
//     changed that version: then two Pods have the label until the next leader looks
//     again, 30 s at the most.
//
// It needs the rights to list and to patch Pods in the namespace of the Pod; without
// them the election works all the same. Mind what the right to patch Pods allows: a
// Role cannot narrow it to one's own Pod, nor to labels. Whoever has it may exchange
// the image of each Pod in that namespace, and so run what they like with the service
// account, the secrets and the volumes of any of them; and may send any Service's
// requests to themselves. Give it in namespaces only where nothing is that this
// process may not have, or limit it by an admission policy. Default: no label.
func WithLeaderLabel(label LeaderLabel) Option {
	return func(o *options) { o.label = &label }
}

// A route keeps the label. A nil one does nothing.
type route struct {
	LeaderLabel
	client   *electionClient // of the cluster that the Pods are in; the election's own, or one more
	pods     typedcorev1.PodInterface
	logger   logr.Logger
	config   leaderelection.Config
	lease    *leaderelection.Elector // set once it is made
	patience time.Duration           // how long the label is tried to be taken away while the Lease is renewed
	failures int                     // rounds that have failed one after the other
}

// newRoute makes the route of an election with the configuration elections in a
// Manager with the configuration own.
func (m *electedManager) newRoute(label *LeaderLabel, own, elections *rest.Config) (*route, error) {
	if label == nil {
		return nil, nil
	}
	r := &route{LeaderLabel: *label, client: m.client, config: m.config, logger: m.logger.WithName("leader-label")}
	r.LeaderLabel = r.completed(os.Getenv)
	r.patience = removalPatience(m.grace, m.config)
	problems := r.problems()
	if r.Config == nil && !sameHost(own, elections) {
		problems = append(problems, fmt.Errorf("WithLeaderLabel: the Manager is for %s and LeaderElectionConfig for %s: "+
			"set LeaderLabel.Config to the one for the cluster that this process's Pod is in", own.Host, elections.Host))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("manager: the options are refused: %w", errors.Join(problems...))
	}
	if r.Config != nil {
		var err error
		if r.client, err = newElectionClient(r.Config, m.config); err != nil {
			return nil, err
		}
	}
	r.pods = r.client.CoreV1().Pods(r.PodNamespace)
	return r, nil
}

// completed is the label with what the environment says of the Pod.
func (l LeaderLabel) completed(getenv func(string) string) LeaderLabel {
	namespace, name := getenv("POD_NAMESPACE"), getenv("POD_NAME")
	l.PodNamespace, l.PodName = cmp.Or(l.PodNamespace, namespace), cmp.Or(l.PodName, name)
	if l.PodNamespace == namespace && l.PodName == name {
		l.PodUID = cmp.Or(l.PodUID, getenv("POD_UID"))
	}
	return l
}

// problems names everything that is wrong with a label.
func (l LeaderLabel) problems() (errs []error) {
	for _, msg := range utilvalidation.IsQualifiedName(l.Key + "-term") {
		errs = append(errs, fmt.Errorf("WithLeaderLabel: %q is no key for a label and, with \"-term\", for an annotation: %s", l.Key, msg))
	}
	for _, msg := range utilvalidation.IsValidLabelValue(l.Value) {
		errs = append(errs, fmt.Errorf("WithLeaderLabel: %q is no value for a label: %s", l.Value, msg))
	}
	if l.PodName == "" || l.PodNamespace == "" {
		errs = append(errs, errors.New("WithLeaderLabel: this process's Pod is not known: set POD_NAME and POD_NAMESPACE"))
	}
	return errs
}

// sameHost reports whether two configurations certainly lead to one cluster.
func sameHost(a, b *rest.Config) bool {
	return strings.TrimSuffix(a.Host, "/") == strings.TrimSuffix(b.Host, "/")
}

// removalPatience is how long the label is tried to be taken away in an orderly
// stop. The grace period must not run out over it: nothing would be released then.
func removalPatience(grace time.Duration, config leaderelection.Config) time.Duration {
	const enough = 5 * time.Second
	switch {
	case grace < 0:
		return enough
	case grace == 0:
		return lossPatience(config) // nothing is released, and nobody waits
	default:
		return min(enough, grace/2)
	}
}

// lossPatience is the same after a loss: the process has no more than Margin to go.
func lossPatience(config leaderelection.Config) time.Duration {
	return min(2*time.Second, config.Margin()/4)
}

// close closes the connections that are the route's own.
func (r *route) close() {
	if r != nil && r.Config != nil {
		r.client.close()
	}
}
