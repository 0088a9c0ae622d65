package main

import "slices"

// A difference is a spec that fails with Incumbent for a known reason.
type difference struct {
	suite  string
	modes  []mode
	spec   string
	reason string
}

const (
	elects  = "manger.Manager > New > with leader election enabled > " // the misspelling is upstream's
	starts  = "manger.Manager > Start > with leaderelection enabled > "
	private = "private internal: the spec reads controller-runtime's own lock, which Incumbent does not use. "
)

var both = []mode{asIs, forced}

// differences lists all specs that fail with Incumbent. The command fails if another
// spec fails, or if one of these passes.
var differences = []difference{
	{"manager", both, elects + "should return an error if namespace not set and not running in cluster",
		"deliberate text: outside a pod, New also looks for the namespace in the kubeconfig, and the error states why it found none"},
	{"manager", both, elects + "when using a custom LeaderElectionResourceLockInterface > should use the custom LeaderElectionResourceLockInterface",
		"deliberate refusal: such a lock would replace the election of Incumbent"},
	{"manager", both, starts + "should return an error if leader election param incorrect",
		"deliberate refusal: New reports the invalid durations, and not only Start"},
	{"manager", both, elects + "should default to LeasesResourceLock",
		private + "TestNew_ElectionOptionsKeepTheirMeaning shows that the election uses a Lease"},
	{"manager", both, elects + "should use the specified ResourceLock",
		private + "TestNew_ElectionOptionsKeepTheirMeaning passes the same option"},
	{"manager", both, elects + "should set the leaselocks's label field when LeaderElectionLabels is set",
		private + "TestNew_ElectionOptionsKeepTheirMeaning reads the labels of the Lease"},
	{"manager", both, "manger.Manager > should run warmup runnables before leader election is won",
		private + "TestFollower_WarmsUpBeforeItLeads_AndIsElectedWhenItLeads shows the same"},
	{"manager", []mode{forced}, elects + "should return an error if it can't create a ResourceLock",
		"private internal: the spec replaces the constructor of controller-runtime's own lock by one that fails. Incumbent does not call it"},
	{"controller", []mode{forced}, "controller.Controller > New > should set EnableWarmup correctly",
		"deliberate default: with an election, controllers warm up unless EnableWarmup is false"},
}

// expectedOf returns the reason of each difference of a suite in a mode.
func expectedOf(suite string, m mode) map[string]string {
	reasons := map[string]string{}
	for _, d := range differences {
		if d.suite == suite && slices.Contains(d.modes, m) {
			reasons[d.spec] = d.reason
		}
	}
	return reasons
}
