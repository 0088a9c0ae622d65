package main

var (
	gateTests   = tests{pkg: "./manager", run: "TestGate_|TestStart_"}
	guardTests  = tests{pkg: "./manager", run: "TestGuard"}
	eventTests  = func(run string) tests { return tests{pkg: "./manager", run: "TestEvents_" + run} }
	labelTests  = tests{pkg: "./leaderelection/routing"}
	explained   = tests{pkg: "./leaderelection/explain"}
	lostContact = tests{"./leaderelection/explain", "TestFollower_ThatLosesContact", []string{"-count=20"}} // the order of two events is random
	manifests   = tests{pkg: "./hack/manifests", run: "Deployment|FlowSchema_Is|WhatTheCodeMakes"}
	memory      = tests{pkg: "./leaderelection/leaderelectiontest/..."}
)

// others has the mutations of all that is neither the core nor a Fence.
var others = []mutation{
	// The manager.
	{"the gate of the manager stays open", "manager: gate.shut",
		remove("$g.shutOff = true"), gateTests},
	{"the gate of the manager does not wait", "manager: gate.Get",
		after("case <-$ctx.Done(): $*_", "default:"), gateTests},
	{"a loss does not reach the reconcilers", "manager: electedManager.endTerm",
		remove("$m.base.end($_)"), gateTests},
	{"the manager releases the Lease while work continues", "manager: electedManager.lead",
		never("<-$m.campaign.done"), gateTests},
	{"the guard allows a write of an old term", "manager: mayWrite",
		never("return errOtherTerm"), guardTests},
	{"the guard allows a write without leadership", "manager: mayWrite",
		never("return errUncertain"), guardTests},
	{"the last events are lost", "manager: recorder.start",
		remove("$s.awaitLast($_)"), eventTests("AreSent")},
	{"events are sent after the end", "manager: recorder.start",
		remove("$s.close()"), eventTests("AreNot")},
	{"the label stays while the Manager stops", "manager: electedManager.awaitInner",
		remove("$m.route.withdraw()"), tests{pkg: "./manager", run: "TestLeaderLabel_IsTaken"}},

	// The label of the leader's Pod.
	{"the label stays when one request fails", "leaderelection/routing: term.takeAway",
		replace("apierrors.IsForbidden($_) && $_ || $_", "true"), labelTests},
	{"an admission policy removes the label's Pod", "leaderelection/routing: isGone",
		replace(`$_.Field == "metadata.uid"`, "true"), labelTests},
	{"a loss waits for the label", "leaderelection/routing: term.last",
		replace("!isLoss($_) && $_.isHeld()", "true"), labelTests},
	{"a late request labels a Pod that has stopped leading", "leaderelection/routing: term.set",
		replace("$t.patch($seen.UID, $seen.ResourceVersion, $*rest)", `$t.patch($seen.UID, "", $*rest)`), labelTests},
	{"the label is removed from Pods that have it from their template", "leaderelection/routing: term.foreign",
		always("return nil"), labelTests},
	{"a stop removes the Pod's own label", "leaderelection/routing: term.takeAway",
		replace("$t.spare", "false"), labelTests},
	{"the label stays on a Pod that lost the annotation", "leaderelection/routing: term.set",
		replace("$err != nil && !$t.mine", "$err != nil"), labelTests},
	{"a process that was frozen removes the label of its successor", "leaderelection/routing: term.change",
		replace("!$t.elector.IsLeader()", "false"), labelTests},
	{"the Lease is released before the label is removed", "leaderelection/routing: Router.wrap",
		replace("<-$t.done", "_ = $t.done"), labelTests},
	{"the label stays though an outage ends during the stop", "leaderelection/routing: term.last",
		replace("context.WithCancel(context.WithoutCancel($t.work))", "context.WithTimeout(context.WithoutCancel($t.work), $t.patience())"), labelTests},

	// The in-memory API server.
	{"the in-memory server does not compare resourceVersions", "leaderelection/leaderelectiontest: Server.updateLocked",
		replace("$_.ResourceVersion != $_.ResourceVersion", "false"), memory},
	{"the in-memory server does not compare UIDs", "leaderelection/leaderelectiontest: checkUID",
		replace(`$wanted == "" || $_`, "true"), memory},

	// Explain.
	{"explain takes silence for contact", "leaderelection/explain: Seen.Lost",
		replace("Patience", "time.Hour"), explained},
	{"explain counts a loss of contact as a slow renewal", "leaderelection/explain: Seen.unrenewed",
		remove("$now = $_"), explained},
	{"explain uses news from before contact was lost", "leaderelection/explain: pursuit.watch",
		never("return $p.blind == nil"), lostContact},
	{"explain takes a slow receiver for lost contact", "leaderelection/explain: pursuit.watch",
		replace("$p.seen.Lost($_)", "false").at(1), explained},
	{"explain waits for a silent watch", "leaderelection/explain: Seen.lookAt",
		replace("Patience / 2", "time.Hour"), explained},
	{"explain ends the term of another leader", "leaderelection/explain: Answer.expired",
		replace("$a.Since != nil && $_", "true"), explained},
	{"explain uses a clock that is ahead", "leaderelection/explain: Seen.age",
		replace("$last == nil || $_ > skew", "$last == nil"), explained},
	{"explain does not report a former holder", "leaderelection/explain: Seen.AfterRead",
		remove("$next.former = $_"), explained},
	{"explain takes a claimed Lease for a released one", "leaderelection/explain: wasReleased",
		replace("$t.End == leasestate.EndUnannotated", "$t.End != leasestate.EndUnannotated"), explained},
	{"the exit code of explain reports every holder as a leader", "hack/explain: codeOf",
		replace("$_.State == explain.Held", "false"), tests{pkg: "./hack/explain", run: "TestCodeOf"}},

	// Metrics.
	{"the first increase of a counter is lost", "leaderelection/metrics: observation.made",
		replace("$m.terms.WithLabelValues($_, $_, $after)", "_ = $after"), tests{pkg: "./leaderelection/metrics"}},

	// The manifests.
	{"the Fence names another Lease", "hack/manifests/fencing-lease.yaml",
		text("name: my-app-leader", "name: my-app-leadr"), manifests},
	{"a probe asks a port that does not exist", "hack/manifests/deployment.yaml",
		text("{path: /readyz, port: health}", "{path: /readyz, port: heath}"), manifests},
	{"a probe asks a path that does not exist", "hack/manifests/deployment.yaml",
		text("{path: /readyz, port: health}", "{path: /redyz, port: health}"), manifests},
	{"the kubelet kills the process before the work has stopped", "hack/manifests/deployment.yaml",
		text("terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 1"), manifests},
	{"an update stops all replicas at once", "hack/manifests/deployment.yaml",
		text("{maxSurge: 1, maxUnavailable: 0}", "{maxSurge: 0, maxUnavailable: 3}"), manifests},
	{"the FlowSchema excludes claims", "hack/manifests/flowschema.yaml",
		text("verbs: [get, create, update, watch]", "verbs: [get, update]"), manifests},
}
