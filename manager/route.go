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

// A LeaderLabel describes the label on the leader's Pod. A Service uses the label to
// select the leader.
type LeaderLabel struct {
	// Key and Value are the key and the value of the label. No other election may use
	// the same label, because the leader removes the label from all other Pods of the
	// namespace. Required.
	Key, Value string

	// PodNamespace and PodName identify the Pod of this process. Default: POD_NAMESPACE
	// and POD_NAME.
	PodNamespace, PodName string

	// PodUID is the UID of the Pod of this process. It distinguishes this Pod from a
	// later Pod with the same name, for example in a StatefulSet. Default: POD_UID if
	// PodNamespace and PodName equal POD_NAMESPACE and POD_NAME. If the names differ,
	// the default is the UID that the process reads first.
	PodUID string

	// Config is the client configuration for the cluster of the Pod. It is required if
	// the hosts of LeaderElectionConfig and of the Manager's configuration differ,
	// because the Pod may be in either cluster. Default: the client configuration of
	// the election.
	Config *rest.Config
}

// WithLeaderLabel labels the Pod of the leader, so that a Service can select the
// leader. The label is set when this process becomes leader. The label is removed when
// the Manager begins to stop, before the Lease is released. The removal is retried for
// five seconds or for half of GracefulShutdownTimeout, whichever is shorter. A new leader
// removes the labels of dead leaders. Package leaderelection/routing documents the
// guarantees, the limits and the required rights. Default: no label.
func WithLeaderLabel(label LeaderLabel) Option {
	return func(o *options) { o.label = &label }
}

// A route is the Router of a Manager, together with the client that the Router uses.
// The methods of a nil route do nothing.
type route struct {
	*routing.Router
	client *electionClient // the client for the cluster of the Pod; may be the client of the election
}

// newRoute returns the route for label, or nil if label is nil. own is
// the client configuration of the Manager. elections is the client
// configuration of the election.
func (m *electedManager) newRoute(label *LeaderLabel, own, elections *rest.Config) (*route, error) {
	if label == nil {
		return nil, nil
	}
	r := &route{client: m.client}
	var problems []error
	if label.Config == nil && !sameHost(own, elections) {
		problems = append(problems, fmt.Errorf("WithLeaderLabel: the Manager uses %s and LeaderElectionConfig uses %s, "+
			"set LeaderLabel.Config to the configuration for the cluster of this Pod", own.Host, elections.Host))
	}
	var err error
	if label.Config != nil {
		if r.client, err = newElectionClient(label.Config, m.config); err != nil {
			return nil, err
		}
	}
	r.Router, err = routing.New(routing.Label{
		Key: label.Key, Value: label.Value, PodNamespace: label.PodNamespace, PodName: label.PodName, PodUID: label.PodUID,
		RemoveTimeout: removalTimeout(m.grace, m.config),
	}, r.client, slogOf(m.logger.WithName("leader-label")))
	if err != nil {
		problems = append(problems, fmt.Errorf("WithLeaderLabel: %w", err))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("manager: invalid options: %w", errors.Join(problems...))
	}
	return r, nil
}

// sameHost reports whether the client configurations a and b have the same host.
func sameHost(a, b *rest.Config) bool {
	return strings.TrimSuffix(a.Host, "/") == strings.TrimSuffix(b.Host, "/")
}

// removalTimeout returns how long an orderly stop retries to remove the label. This
// time is shorter than the grace period, because a leader that exceeds the grace period
// does not release the Lease.
func removalTimeout(grace time.Duration, config leaderelection.Config) time.Duration {
	const usual = 5 * time.Second
	switch {
	case grace < 0:
		return usual
	case grace == 0:
		return min(2*time.Second, config.Margin()/4) // a short time, because Start does not wait if the grace period is 0
	default:
		return max(1, min(usual, grace/2)) // at least 1 ns, because 0 selects the default of package routing
	}
}

// options returns the options that connect the route to the Elector.
func (r *route) options() []leaderelection.Option {
	if r == nil {
		return nil
	}
	return []leaderelection.Option{r.Option()}
}

// withdraw removes the label. The Router does not set the label again in the current
// term.
func (r *route) withdraw() {
	if r != nil {
		r.Withdraw()
	}
}

// closeOwn closes the connections of the route's client, unless the election uses the
// same client. elections is the client of the election.
func (r *route) closeOwn(elections *electionClient) {
	if r != nil && r.client != elections {
		r.client.close()
	}
}
