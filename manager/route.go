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

// A LeaderLabel is the label by which a Service selects the leader's Pod.
type LeaderLabel struct {
	// Key and Value are the label's. No other election may use the same label, because
	// it is removed from all other Pods of the namespace. Required.
	Key, Value string

	// PodNamespace and PodName identify the Pod of this process. Default:
	// POD_NAMESPACE and POD_NAME.
	PodNamespace, PodName string

	// PodUID distinguishes this Pod from a later one of the same name, as in a
	// StatefulSet. Default: POD_UID if the Pod is that of POD_NAMESPACE and POD_NAME,
	// otherwise the UID that is observed first.
	PodUID string

	// Config is the configuration for the Pod's cluster. It is required if
	// LeaderElectionConfig has another host than the Manager's configuration, because
	// the Pod may be in either cluster. Default: the election's configuration.
	Config *rest.Config
}

// WithLeaderLabel labels the Pod of the leader, so that a Service can select it. The
// label is set when this process becomes leader. It is removed when the Manager begins to
// stop, before the Lease is released. A new leader removes the labels of dead leaders.
// Package leaderelection/routing documents the promises, the limits and the rights. The
// removal is tried for five seconds, or half of GracefulShutdownTimeout if that is less.
// Default: no label.
func WithLeaderLabel(label LeaderLabel) Option {
	return func(o *options) { o.label = &label }
}

// A route is the Router of a Manager. A nil route does nothing.
type route struct {
	*routing.Router
	client *electionClient // for the Pods' cluster; the election's client or another one
}

// newRoute returns the route of a Manager with the configuration own, whose election has
// the configuration elections. It returns nil if there is no label.
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
		Patience: removalTimeout(m.grace, m.config),
	}, r.client, slogOf(m.logger.WithName("leader-label")))
	if err != nil {
		problems = append(problems, fmt.Errorf("WithLeaderLabel: %w", err))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("manager: invalid options: %w", errors.Join(problems...))
	}
	return r, nil
}

// sameHost reports whether two configurations have the same host.
func sameHost(a, b *rest.Config) bool {
	return strings.TrimSuffix(a.Host, "/") == strings.TrimSuffix(b.Host, "/")
}

// removalTimeout returns how long an orderly stop tries to remove the label. It is less
// than the grace period, because the Lease is not released after the grace period.
func removalTimeout(grace time.Duration, config leaderelection.Config) time.Duration {
	const usual = 5 * time.Second
	switch {
	case grace < 0:
		return usual
	case grace == 0:
		return min(2*time.Second, config.Margin()/4) // the Lease is not released, and Start does not wait
	default:
		return max(1, min(usual, grace/2)) // 0 means the default of package routing
	}
}

// options returns the options of the Elector.
func (r *route) options() []leaderelection.Option {
	if r == nil {
		return nil
	}
	return []leaderelection.Option{r.Option()}
}

// withdraw removes the label for the rest of the term.
func (r *route) withdraw() {
	if r != nil {
		r.Withdraw()
	}
}

// closeOwn closes the connections of the route's client, unless it is the election's.
func (r *route) closeOwn(elections *electionClient) {
	if r != nil && r.client != elections {
		r.client.close()
	}
}
