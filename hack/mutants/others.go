package main

var (
	gateTests  = []string{"./manager", "-run", "TestGate_|TestStart_"}
	guardTests = []string{"./manager", "-run", "TestGuard"}
	fences     = []string{"./envtest", "-run", "TestFence_(LetsOnly|TakesNo|TouchesNothing|WithoutTheLease|ByTermRefuses|ByTermWants|ByTermKeeps|BothModes|OfPods)"}
	fenceKinds = []string{"./envtest", "-run", "TestFence_(OfOther|OfPodsGuardsConnections|ThatOnlyReports|TwoOf)"}
	validation = []string{"./leaderelection/fencing", "-run", "TestPolicy"}
	stamping   = []string{"./leaderelection/fencing", "-run", "TestStampTransport|TestTransports"}
	putBack    = []string{"./envtest", "-run", "TestFence_ThatIsPutBack"}
	confirms   = []string{"./leaderelection", "-run", "Confirm"}
	labelTests = []string{"./leaderelection/routing"}
	routeTests = []string{"./manager", "-run", "TestLeaderLabel_IsTaken"}
	lag        = []string{"./leaderelection/fencing", "-run", "TestRetryTransport"}
	explained  = []string{"./leaderelection/explain"}
	stale      = []string{"./leaderelection/explain", "-run", "TestFollower_ThatLosesContact", "-count=20"} // which of two events comes first is chance
	server     = []string{"./leaderelection/leaderelectiontest/..."}
	measures   = []string{"./leaderelection/metrics"}
	files      = []string{"./hack/manifests", "-run", "Deployment|FlowSchema_Is|WhatTheCodeMakes"}
)

// others breaks what stands around the core.
var others = []mutant{
	{"the manager's gate stays open", "manager/gate.go",
		"	g.shutOff = true\n	return g.term.Load() != nil", "	return g.term.Load() != nil", gateTests},
	{"the manager's gate waits for nobody", "manager/gate.go",
		"	case <-g.opened:\n	case <-ctx.Done():\n		return nil, nil, ctx.Err()\n	}\n	g.mu.Lock()",
		"	case <-g.opened:\n	case <-ctx.Done():\n		return nil, nil, ctx.Err()\n	default:\n	}\n	g.mu.Lock()", gateTests},
	{"a loss does not reach the reconcilers", "manager/start.go", "	m.base.end(cause)\n	m.cause = cause", "	m.cause = cause", gateTests},
	{"the manager releases though work runs on", "manager/start.go", "	if m.abandoned.Load() {\n", "	if false {\n", gateTests},
	{"the guard lets an old term write", "manager/guard.go", "	case present != term:\n", "	case present != term && false:\n", guardTests},
	{"the guard does not ask whether we lead", "manager/guard.go", "	case !leads:\n", "	case !leads && false:\n", guardTests},
	{"the label stays when one request fails", "leaderelection/routing/signpost.go", "if apierrors.IsForbidden(err) && !t.may || !wait(last, pause) {", "if true {", labelTests},
	{"an admission policy takes the label's Pod away", "leaderelection/routing/signpost.go", `return c.Field == "metadata.uid"`, `return true`, labelTests},
	{"a loss waits for the label", "leaderelection/routing/term.go", "for !isLoss(context.Cause(t.work)) && t.isHeld() &&", "for t.elector != nil &&", labelTests},
	{"a late request labels who has stopped", "leaderelection/routing/signpost.go", "t.patch(seen.UID, seen.ResourceVersion, t.label.Value, t.token)", `t.patch(seen.UID, "", t.label.Value, t.token)`, labelTests},
	{"the label is taken from Pods that have it from their template", "leaderelection/routing/signpost.go", "set || !labelled {", "set || true || !labelled {", labelTests},
	{"a stop takes its Pod's own label away", "leaderelection/routing/signpost.go", "	if t.spare {\n", "	if false {\n", labelTests},
	{"who has lost the annotation leaves the label", "leaderelection/routing/signpost.go", "err != nil && !t.mine {", "err != nil {", labelTests},
	{"who was frozen takes away the label of its successor", "leaderelection/routing/signpost.go", "	if !t.elector.IsLeader() {\n", "	if false {\n", labelTests},
	{"the Lease is released before the label is taken away", "leaderelection/routing/term.go", "				<-t.done\n", "				_ = t.done\n", labelTests},
	{"the label stays though an outage ends while it drains", "leaderelection/routing/term.go", "context.WithCancel(context.WithoutCancel(t.work))", "context.WithTimeout(context.WithoutCancel(t.work), t.patience())", labelTests},
	{"the last events are lost", "manager/events.go", "		s.awaitLast(patience)\n", "", []string{"./manager", "-run", "TestEvents_AreSent"}},
	{"events are sent after the end", "manager/events.go", "		s.close()\n", "", []string{"./manager", "-run", "TestEvents_AreNot"}},
	{"the label stays while the Manager stops", "manager/start.go", "			m.route.withdraw()\n		case <-ended:", "		case <-ended:", routeTests},
	{"the Fence takes web-1 for web-10", "leaderelection/fencing/rules.go",
		"\"(\" + holder + \" + '_').startsWith(\" + boundTo + `.orValue('\\n') + '_')`,", "holder + \".startsWith(\" + boundTo + `.orValue('\\n'))`,", fences},
	{"the Fence lets a token through that is bound to no pod", "leaderelection/fencing/rules.go",
		`.orValue('\n') + '_')`, `.orValue('') + '_')`, fences},
	{"the Fence of both kinds says of a stale pod that it has no token", "leaderelection/fencing/rules.go",
		`"(" + first.expression + " ? " + second.message`, `"(true ? " + second.message`, fences},
	{"the Fence takes no stamp for one that is kept", "leaderelection/fencing/rules.go",
		`".orValue(dyn(true)) == " + f.annotationOf("oldObject") + ".orValue(dyn(false))"`, `".orValue('') == " + f.annotationOf("oldObject") + ".orValue('')"`, fences},
	{"the Fence forgets subresources", "leaderelection/fencing/policy.go", `resource.Resource, resource.Resource+"/*")}`, "resource.Resource)}", fences},
	{"the Fence forgets deletions", "leaderelection/fencing/policy.go",
		"[]admissionv1.OperationType{admissionv1.Create, admissionv1.Update, admissionv1.Delete},", "[]admissionv1.OperationType{admissionv1.Create, admissionv1.Update},", fences},
	{"the Fence is open without its Lease", "leaderelection/fencing/policy.go", "	return admissionv1.DenyAction\n", "	return admissionv1.AllowAction\n", fences},
	{"the Fence lets an earlier term write", "leaderelection/fencing/rules.go", `tokenOf(stamp) + " >= " + tokenOf(stored) +`, `"true" +`, fences},
	{"the Fence lets a write without a stamp through", "leaderelection/fencing/rules.go", `" : " + unstamped(stored) + ")"`, `" : true)"`, fences},
	{"the Fence lets a status take the stamp away", "leaderelection/fencing/rules.go", `(request.operation == 'CREATE' || !" + hasToken(stored) + ")"`, `true"`, fences},
	{"the Fence of both kinds forgets terms", "leaderelection/fencing/rules.go", `first.expression + " && (" + second.expression + ")",`, `first.expression,`, fences},
	{"the Fence of both kinds forgets pods", "leaderelection/fencing/rules.go", `first.expression + " && (" + second.expression + ")",`, `second.expression,`, fences},
	{"the Fence is for everybody", "leaderelection/fencing/rules.go", `t.expression + " || request.userInfo.username != " + quote(f.user())`, `t.expression`, fences},
	{"the Fence by term does not look at a status", "leaderelection/fencing/policy.go",
		`			rule(resource.Group, []admissionv1.OperationType{admissionv1.Update}, resource.Resource+"/*"),
`, "", fences},
	{"the Fence lets a binding take the stamp back", "leaderelection/fencing/rules.go", `isBinding + stamp + " == '' : "`, `isBinding + "true : "`, fences},
	{"the Fence forgets bindings by their old name", "leaderelection/fencing/policy.go", `[]admissionv1.OperationType{admissionv1.Create}, "bindings"))`, `nil, "bindings"))`, fences},
	{"the Fence forgets connections", "leaderelection/fencing/policy.go", `"pods/exec", "pods/attach", "pods/portforward"`, `"pods/nothing"`, fenceKinds},
	{"a Fence that reports warns nobody", "leaderelection/fencing/policy.go",
		"[]admissionv1.ValidationAction{admissionv1.Warn, admissionv1.Audit}", "[]admissionv1.ValidationAction{admissionv1.Audit}", fenceKinds},
	{"the Fence looks for the service account beside the Lease", "leaderelection/fencing/fence.go",
		`"system:serviceaccount:" + f.ServiceAccountNamespace +`, `"system:serviceaccount:" + f.LeaseNamespace +`, validation},
	{"Namespaces are guarded in some namespaces", "leaderelection/fencing/fence.go", `resource.Resource == "namespaces" {`, "false {", validation},
	{"a Fence around policies guards nothing", "leaderelection/fencing/fence.go", `strings.Contains(resource.Resource, "admissionpolic"):`, "false:", validation},
	{"terms are not compared without the Lease", "leaderelection/fencing/fence.go", "if f.OpenWithoutLease && f.has(ByPod) && f.has(ByTerm) {", "if false {", validation},
	{"no pod can be started without the Lease", "leaderelection/fencing/fence.go", "if closes && ", "if closes && false && ", validation},
	{"what is no resource is guarded", "leaderelection/fencing/known.go", `list.FieldByName("Items"); found {`, `list.FieldByName("Items"); true {`, []string{"./envtest", "-run", "TestFence_KnowsTheRes"}},
	{"an approval is not stamped", "leaderelection/fencing/stamptransport.go", `case "status", "approval", "finalize":`, `case "status", "finalize":`, stamping},
	{"a write behind another api is not stamped", "leaderelection/fencing/request.go", "len(parts) <= 3 && !another ||", "!another || true ||", stamping},
	{"a write whose path is not understood is not stamped", "leaderelection/fencing/stamptransport.go", "understood && !target.isStampable(r)", "!target.isStampable(r)", stamping},
	{"there is no Keeper", "leaderelection/fencing/keeper.go", "			ParamKind:     leaseParameter(),\n", "", putBack},
	{"a look from before the question is an answer", "leaderelection/confirm.go", "c.began > asked", "c.began > 0", confirms},
	{"each refused write looks for itself", "leaderelection/confirm.go", "c.began > asked", "false", confirms},
	{"the Fence forgets that a stored stamp may be no number", "leaderelection/fencing/rules.go",
		`'CREATE' || !" + hasToken(stored) + " || "`, `'CREATE' || "`, fences},
	{"the Fence asks for a stamp where there can be none", "leaderelection/fencing/rules.go", `")" + f.orUnstampable(),`, `")",`, fences},
	{"a refused write is sent again after its term", "leaderelection/fencing/retrytransport.go",
		"confirmErr != nil || !goesOn {", "confirmErr != nil || !goesOn && false {", lag},
	{"a refused write is sent again without end", "leaderelection/fencing/retrytransport.go",
		"isLag(refusal) && time.Since(began) < lagLimit;", "isLag(refusal) && time.Since(began) < time.Hour;", lag},
	{"the in-memory server has no compare-and-swap", "leaderelection/leaderelectiontest/store.go",
		"if lease.ResourceVersion != old.ResourceVersion {", "if false {", server},
	{"the in-memory server does not look at UIDs", "leaderelection/leaderelectiontest/store.go",
		`if wanted == "" || wanted == uid {`, "if true {", server},
	{"explain takes silence for contact", "leaderelection/explain/seen.go", "now.Sub(s.heard) >= Patience }", "now.Sub(s.heard) >= time.Hour }", explained},
	{"explain counts what it missed as a slow renewal", "leaderelection/explain/seen.go", "		now = s.heard\n", "", explained},
	{"explain believes news from before contact was lost", "leaderelection/explain/follow.go", "if p.seen.Lost(time.Now()) { // what comes now", "if false { // what comes now", stale},
	{"explain takes a slow hearer for lost contact", "leaderelection/explain/follow.go", "if p.seen.Lost(time.Now()) { // whoever", "if false { // whoever", explained},
	{"explain waits for a silent watch", "leaderelection/explain/seen.go", "due := s.heard.Add(Patience / 2)", "due := s.heard.Add(time.Hour)", explained},
	{"explain ends another's term", "leaderelection/explain/held.go",
		"a.Since != nil && a.Terms[last].Acquired.Equal(*a.Since) {", "true {", explained},
	{"the election speaks HTTP/2", "leaderelection/client.go", "	if len(own.NextProtos) == 0 {\n", "	if false {\n", unit("ClientConfig")},
	{"the election shares the application's connection", "leaderelection/client.go", "	if own.Dial == nil {\n", "	if false {\n", unit("ClientConfig")},
	{"explain goes by a clock that is ahead", "leaderelection/explain/held.go", "case last == nil || last.Sub(s.since) > skew:", "case last == nil:", explained},
	{"explain says nothing of a former holder", "leaderelection/explain/seen.go", "next.former = former{", "_ = former{", explained},
	{"explain takes a Lease that was taken for one that was released", "leaderelection/explain/seen.go", "t.End == mark.Freed) &&", "t.End != mark.Freed) &&", explained},
	{"explain's exit code calls every holder a leader", "hack/explain/follow.go", "a.State == explain.Held || ", "", []string{"./hack/explain", "-run", "TestCodeOf"}},
	{"a process's first increase is not seen", "leaderelection/metrics/metrics.go", "		m.terms.WithLabelValues(namespace, name, after)\n", "		_ = after\n", measures},
	{"the fence's Lease is another one", "hack/manifests/fencing-lease.yaml", "  name: my-app-leader\n", "  name: my-app-leadr\n", files},
	{"a probe asks a port that is not there", "hack/manifests/deployment.yaml", "{path: /readyz, port: health}", "{path: /readyz, port: heath}", files},
	{"a probe asks what nobody serves", "hack/manifests/deployment.yaml", "{path: /readyz, port: health}", "{path: /redyz, port: health}", files},
	{"the kubelet kills before the work has stopped", "hack/manifests/deployment.yaml", "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 1", files},
	{"an update stops all replicas at once", "hack/manifests/deployment.yaml", "{maxSurge: 1, maxUnavailable: 0}", "{maxSurge: 0, maxUnavailable: 3}", files},
	{"the FlowSchema lets claims wait", "hack/manifests/flowschema.yaml", "verbs: [get, create, update, watch]", "verbs: [get, update]", files},
}
