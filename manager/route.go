package manager

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing"
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
// the Lease is released. What dead leaders left is taken away by the next one. What
// that promises, what not, and what the rights that it needs allow is said in package
// leaderelection/routing. The patience of a stop is five seconds, or half of
// GracefulShutdownTimeout if that is less. Default: no label.
func WithLeaderLabel(label LeaderLabel) Option {
	return func(o *options) { o.label = &label }
}

// A route is the Router of a Manager. A nil one does nothing.
type route struct {
	*routing.Router
	client *electionClient // of the cluster that the Pods are in; the election's own, or one more
}

// newRoute makes the route of an election with the configuration elections in a
// Manager with the configuration own.
func (m *electedManager) newRoute(label *LeaderLabel, own, elections *rest.Config) (*route, error) {
	if label == nil {
		return nil, nil
	}
	r := &route{client: m.client}
	var problems []error
	if label.Config == nil && !sameHost(own, elections) {
		problems = append(problems, fmt.Errorf("WithLeaderLabel: the Manager is for %s and LeaderElectionConfig for %s: "+
			"set LeaderLabel.Config to the one for the cluster that this process's Pod is in", own.Host, elections.Host))
	}
	var err error
	if label.Config != nil {
		if r.client, err = newElectionClient(label.Config, m.config); err != nil {
			return nil, err
		}
	}
	r.Router, err = routing.New(routing.Label{
		Key: label.Key, Value: label.Value, PodNamespace: label.PodNamespace, PodName: label.PodName, PodUID: label.PodUID,
		RemoveTimeout: removalPatience(m.grace, m.config),
	}, r.client, slogOf(m.logger.WithName("leader-label")))
	if err != nil {
		problems = append(problems, fmt.Errorf("WithLeaderLabel: %w", err))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("manager: the options are refused: %w", errors.Join(problems...))
	}
	return r, nil
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
		return min(2*time.Second, config.Margin()/4) // nothing is released, and nobody waits
	default:
		return max(1, min(enough, grace/2)) // 0 would be routing's default
	}
}

// options are what the Elector is to be made with.
func (r *route) options() []leaderelection.Option {
	if r == nil {
		return nil
	}
	return []leaderelection.Option{r.Option()}
}

// withdraw takes the label away for the rest of the term.
func (r *route) withdraw() {
	if r != nil {
		r.Withdraw()
	}
}

// closeOwn closes the connections that are not the election's.
func (r *route) closeOwn(elections *electionClient) {
	if r != nil && r.client != elections {
		r.client.close()
	}
}
