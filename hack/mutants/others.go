package main

var (
	gateTests   = tests{pkg: "./manager", run: "TestGate_|TestStart_"}
	namespaces  = tests{pkg: "./manager", run: "TestEnvironment_"}
	guardTests  = tests{pkg: "./leaderelection/guard"}
	eventTests  = func(run string) tests { return tests{pkg: "./manager", run: "TestEvents_" + run} }
	labelTests  = tests{pkg: "./leaderelection/routing"}
	explained   = tests{pkg: "./leaderelection/kubectl-lease/internal/explain"}
	lostContact = tests{"./leaderelection/kubectl-lease/internal/explain", "TestWatcher_WithoutContactReportsNoExpiry", []string{"-count=20"}} // repeated 20 times, because the order of two events is random
	onTerminal  = tests{pkg: "./leaderelection/kubectl-lease", run: "Output|ControlsNo|FuzzTerminal|OffersNoName|RefuseInvalidNames"}
	manifests   = tests{pkg: "./hack/manifests", run: "Deployment|FlowSchema_Is|WhatTheCodeMakes"}
	listed      = tests{pkg: "./leaderelection/internal/registry"}
	checked     = tests{pkg: "./leaderelection/health"}
	measured    = tests{pkg: "./leaderelection/metrics"}
	memory      = tests{pkg: "./leaderelection/leaderelectiontest/..."}
)

// others lists the mutations of all packages that the lists elector, fencing and sharding do not
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
	{"an orderly stop ends with an error", "manager: electedManager.returned",
		replace("!$m.isStopAsked()", "true"), gateTests},
	{"an orderly stop ends with the error of an HTTP server", "manager: stopDetector.Start",
		replace("!$d.manager.isStopAsked()", "true"), gateTests},
	{"an error that follows from a loss is returned", "manager: electedManager.endTerm",
		remove("$m.gate.shut()"), tests{pkg: "./manager", run: "TestStop_"}},
	{"an error of a leader-only Runnable is returned after the stop", "manager: leaderOnlyGroup.failed",
		replace("$g.runCtx.Err() != nil", "false"), tests{pkg: "./manager", run: "TestStop_"}},
	{"a leader-only Runnable that was asked to stop ends the term", "manager: leaderOnlyGroup.failed",
		replace("$r.ctx.Err() != nil", "false"), tests{pkg: "./manager", run: "TestStop_"}},
	{"a stop that ends with its grace period is reported as too slow", "manager: electedManager.stop",
		forceFalse("return $m.finish($_)").at(2), tests{pkg: "./manager", run: "TestStop_"}},
	{"the kubeconfig names the namespace in a pod", "manager: environment.namespace",
		replace("errors.Is($_, fs.ErrNotExist)", "true"), namespaces},
	{"the namespace is that of a context with other credentials", "manager: sameAccess",
		replace("apiequality.Semantic.DeepEqual($a, $b)", "($a.Host == $b.Host)"), namespaces},
	{"the namespace is that of the first of several contexts", "manager: environment.kubeconfigNamespace",
		replace("!slices.Contains($namespaces, $_)", "len($namespaces) == 0"), namespaces},
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
	{"a Router keeps Electors that have ended", "leaderelection/routing: termRouter.end",
		remove("delete($_, $_)"), labelTests},
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

	// The Electors that metrics, health and status show.
	{"an Elector that ended with an error is forgotten", "leaderelection/internal/registry: Registry.runEnded",
		forceTrue("return"), listed},
	{"work that outlives Run is forgotten", "leaderelection/internal/registry: keepAlive",
		replace("runtime.KeepAlive($e)", "runtime.KeepAlive(nil)").at(1), listed},
	{"the next Elector hides work that still runs", "leaderelection/internal/registry: Entry.isReplacedLocked",
		replace("collected || $_", "true").at(2), listed},
	{"an error remains although the next Elector runs", "leaderelection/internal/registry: Entry.isReplacedLocked",
		replace("collected || $_", "false").at(2), listed},
	{"a replica is not ready because of earlier work", "leaderelection/internal/registry: Registry.runStarted",
		replace("$o.replaced || $_", "false"), tests{"./leaderelection/health", "TestHealth_ShowsWork", nil}},
	{"the next Elector hides one that was not started", "leaderelection/internal/registry: Entry.isReplacedLocked",
		replace("collected || $_", "true").at(1), listed},
	{"an Elector that was not started is shown for ever", "leaderelection/internal/registry: Registry.pruneLocked",
		replace("$r.DropUnused && $_", "false"), listed},
	{"Leases of one name in two clusters are mixed up", "leaderelection/internal/registry: leaseOf",
		replace("ServerOf($_)", `""`), listed},
	{"clusters behind one proxy are mixed up", "leaderelection/internal/registry: ServerOf",
		replace("$u.Host + $_", "$u.Host"), listed},
	{"two Electors for one Lease are mixed up", "leaderelection/internal/registry: Registry.insertLocked",
		replace("$numbers[$_.number]", "false").at(3), listed},
	{"an Elector is listed twice", "leaderelection/internal/registry: Registry.add",
		forceFalse("return false"), listed},
	{"each probe of a blocked Elector starts a goroutine", "leaderelection/internal/registry: questions.ask",
		replace("$q.pending == nil", "true"), listed},

	// Health.
	{"a replica is ready although nobody can claim", "leaderelection/health: ready",
		replace("!takesPart($_)", "false"), checked},
	{"a leader is not ready because reads fail", "leaderelection/health: takesPart",
		replace("$e.Leading || $_", "followsAnother($e)"), checked},
	{"a replica is ready although its Elector has stopped", "leaderelection/health: ready",
		forceFalse(`return fmt.Errorf("the elector has stopped: %w", $_)`), checked},
	{"an admission policy makes followers unready", "leaderelection/health: rightsCheck.recordRequest",
		replace("$r.For == leaderelection.RequestNominate && $_", "false"), checked},
	{"a refused claim makes followers unready", "leaderelection/health: rightsCheck.check",
		replace("!follows || $_", "true"), checked},
	{"a refusal outlives its Run", "leaderelection/health: Health.Option",
		replace("leaderelection.Trace{$_, $*rest}", "leaderelection.Trace{$*rest}"), checked},

	// Metrics.
	{"the gauge of the term rounds large tokens", "leaderelection/metrics: gauges",
		replace("$s.Term.Token % maxTerm", "$s.Term.Token"), measured},
	{"the first increase of a counter is lost", "leaderelection/metrics: recorder.createCounters",
		replace("$m.terms.WithLabelValues($r.labels($previous)...)", "_ = $previous"), measured},
	{"Forget removes the gauges of all clusters", "leaderelection/metrics: Metrics.forget",
		replace("$l.Server == $server", `$server != ""`), measured},

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
