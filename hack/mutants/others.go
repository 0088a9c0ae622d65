package main

var (
	gateTests   = tests{pkg: "./manager", run: "TestGate_|TestStart_"}
	guardTests  = tests{pkg: "./leaderelection/guard"}
	eventTests  = func(run string) tests { return tests{pkg: "./manager", run: "TestEvents_" + run} }
	labelTests  = tests{pkg: "./leaderelection/routing"}
	explained   = tests{pkg: "./leaderelection/kubectl-lease/internal/explain"}
	lostContact = tests{"./leaderelection/kubectl-lease/internal/explain", "TestWatcher_WithoutContactReportsNoExpiry", []string{"-count=20"}} // repeated 20 times, because the order of two events is random
	onTerminal  = tests{pkg: "./leaderelection/kubectl-lease", run: "Output|ControlsNo|FuzzTerminal|OffersNoName|RefuseInvalidNames"}
	manifests   = tests{pkg: "./hack/manifests", run: "Deployment|FlowSchema_Is|WhatTheCodeMakes"}
	memory      = tests{pkg: "./leaderelection/leaderelectiontest/..."}
)

// others lists the mutations of all packages that the lists elector and fencing do not
// cover.
var others = []mutation{
	// The manager.
	{"the gate of the manager stays open", "manager: gate.shut",
		remove("$g.shutOff = true"), gateTests},
	{"the gate of the manager does not wait", "manager: gate.Get",
		after("case <-$ctx.Done(): $*_", "default:"), gateTests},
	{"a loss does not reach the reconcilers", "manager: electedManager.endTerm",
		remove("$m.base.end($_)"), gateTests},
	{"the manager releases the Lease while work continues", "manager: electedManager.lead",
		forceFalse("<-$m.campaign.done"), gateTests},
	{"the guard allows a write of an old term", "leaderelection/guard: refusal",
		forceFalse("return errOtherTerm"), guardTests},
	{"the guard allows a write without leadership", "leaderelection/guard: refusal",
		forceFalse("return errUncertain"), guardTests},
	{"the guard allows to exec by GET", "leaderelection/guard: isWrite",
		replace("$request.IsConnect() && $_", "false"), guardTests},
	{"the last events are lost", "manager: recorder.start",
		remove("$s.awaitLast($_)"), eventTests("AreSent")},
	{"events are sent after the end", "manager: recorder.start",
		remove("$s.close()"), eventTests("AreNot")},
	{"the label stays while the Manager stops", "manager: electedManager.awaitInner",
		remove("$m.route.withdraw()"), tests{pkg: "./manager", run: "TestLeaderLabel_IsRemoved"}},

	// The label of the leader's Pod.
	{"the label stays when one request fails", "leaderelection/routing: termRouter.removeLabel",
		replace("apierrors.IsForbidden($_) && $_ || $_", "true"), labelTests},
	{"an admission policy removes the label's Pod", "leaderelection/routing: isPodGone",
		replace(`$_.Field == "metadata.uid"`, "true"), labelTests},
	{"a loss waits for the label", "leaderelection/routing: termRouter.removeContext",
		replace("!isLoss($_) && $_.isHeld()", "true"), labelTests},
	{"a late request labels a Pod that has stopped leading", "leaderelection/routing: termRouter.setLabel",
		replace("$t.labelPatch($pod.UID, $pod.ResourceVersion, $*rest)", `$t.labelPatch($pod.UID, "", $*rest)`), labelTests},
	{"the label is removed from Pods that have it from their template", "leaderelection/routing: termRouter.checkForeign",
		forceTrue("return nil"), labelTests},
	{"a stop removes the Pod's own label", "leaderelection/routing: termRouter.removeLabel",
		replace("$t.foreignLabel", "false"), labelTests},
	{"the label stays on a Pod that lost the annotation", "leaderelection/routing: termRouter.setLabel",
		replace("$err != nil && !$t.setByLeader", "$err != nil"), labelTests},
	{"a process that was frozen removes the label of its successor", "leaderelection/routing: termRouter.patchPod",
		replace("!$t.elector.IsLeader()", "false"), labelTests},
	{"the Lease is released before the label is removed", "leaderelection/routing: Router.wrap",
		replace("<-$t.done", "_ = $t.done"), labelTests},
	{"the label stays though an outage ends during the stop", "leaderelection/routing: termRouter.removeContext",
		replace("context.WithCancel(context.WithoutCancel($t.termContext))", "context.WithTimeout(context.WithoutCancel($t.termContext), $t.removeTimeout())"), labelTests},

	// The in-memory API server.
	{"the in-memory server does not compare resourceVersions", "leaderelection/leaderelectiontest: Server.updateLocked",
		replace("$_.ResourceVersion != $_.ResourceVersion", "false"), memory},
	{"the in-memory server does not compare UIDs", "leaderelection/leaderelectiontest: checkUID",
		replace(`$wanted == "" || $_`, "true"), memory},

	// Explain.
	{"explain takes silence for contact", "leaderelection/kubectl-lease/internal/explain: Observed.ContactLost",
		replace("SilenceTimeout", "time.Hour"), explained},
	{"explain counts a loss of contact as a slow renewal", "leaderelection/kubectl-lease/internal/explain: Observed.unrenewed",
		remove("$now = $_"), explained},
	{"explain uses news from before contact was lost", "leaderelection/kubectl-lease/internal/explain: watchRun.watch",
		forceFalse("return $r.readErr == nil"), lostContact},
	{"explain takes a slow receiver for lost contact", "leaderelection/kubectl-lease/internal/explain: watchRun.watch",
		replace("$r.observed.ContactLost($_)", "false").at(1), explained},
	{"explain waits for a silent watch", "leaderelection/kubectl-lease/internal/explain: Observed.readAt",
		replace("SilenceTimeout / 2", "time.Hour"), explained},
	{"explain ends the term of another leader", "leaderelection/kubectl-lease/internal/explain: Report.setExpired",
		replace("$r.Acquired != nil && $_", "true"), explained},
	{"explain uses a clock that is ahead", "leaderelection/kubectl-lease/internal/explain: Observed.age",
		replace("$renewed == nil || $_ > maxSkew", "$renewed == nil"), explained},
	{"explain does not report a former holder", "leaderelection/kubectl-lease/internal/explain: Observed.WithRead",
		remove("$next.former = $_"), explained},
	{"explain takes a claimed Lease for a released one", "leaderelection/kubectl-lease/internal/explain: wasReleased",
		replace("$t.End == leasestate.EndUnannotated", "$t.End != leasestate.EndUnannotated"), explained},
	{"control characters of a holder reach the terminal", "leaderelection/kubectl-lease: terminal.Write",
		replace("isUnsafe($_) && $_ && $_", "false"), onTerminal},
	{"a holder breaks the YAML of explain", "leaderelection/kubectl-lease: toYAML",
		replace("isUnsafe($_) && $_", "false"), onTerminal},
	{"YAML contains an escaped character without quotes", "leaderelection/kubectl-lease: quoteUnsafe",
		replace("strings.ContainsFunc($_, isUnsafe)", "false"), onTerminal},
	{"a message of an API server begins a line of the plugin", "leaderelection/kubectl-lease: message",
		replace(`"\n  "`, `"\n"`), onTerminal},
	{"a name that cannot be shown is offered for completion", "leaderelection/kubectl-lease: withPrefix",
		replace("strings.ContainsFunc($_, isUnsafe)", "false"), onTerminal},
	{"an image with a bidirectional override is accepted", "leaderelection/kubectl-lease: manifestNames.check",
		replace("strings.ContainsFunc($_, isUnsafe)", "false"), onTerminal},
	{"the exit code of explain reports every holder as a leader", "leaderelection/kubectl-lease: exitCode",
		replace("$_.State == explain.Unconfirmed", "false"), tests{pkg: "./leaderelection/kubectl-lease", run: "TestExitCode_"}},

	// Metrics.
	{"the gauge of the term rounds large tokens", "leaderelection/metrics: gauges",
		replace("$term.Token % maxTerm", "$term.Token"), tests{pkg: "./leaderelection/metrics"}},
	{"the first increase of a counter is lost", "leaderelection/metrics: recorder.created",
		replace("$m.terms.WithLabelValues($_, $_, $previous)", "_ = $previous"), tests{pkg: "./leaderelection/metrics"}},

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
