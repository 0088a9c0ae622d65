package main

var (
	fences     = tests{pkg: "./envtest/integration", run: "TestFence_(LetsOnly|TakesNo|TouchesNothing|WithoutTheLease|ByTermRefuses|ByTermWants|ByTermKeeps|ByTermCompares|ByTermTakes|BothModes|OfPods)"}
	fenceKinds = tests{pkg: "./envtest/integration", run: "TestFence_(OfOther|OfPodsGuardsConnections|ThatOnlyReports|TwoOf)"}
	anchored   = tests{pkg: "./envtest/integration", run: "TestFence_ThatIsPutBack"}
	resources  = tests{pkg: "./envtest/integration", run: "TestFence_KnowsTheRes"}
	validation = tests{pkg: "./leaderelection/fencing", run: "TestPolicy"}
	stamping   = tests{pkg: "./leaderelection/fencing", run: "TestStampTransport|TestTransports"}
	retrying   = tests{pkg: "./leaderelection/fencing", run: "TestRetryTransport"}
)

// fencing lists the mutations of package fencing.
var fencing = []mutation{
	// Rules of a Fence that compares pods.
	{"the Fence takes web-1 for web-10", "leaderelection/fencing: byPod",
		replace(`"(" + holder + $_ + boundTo + $_`, `holder + ".startsWith(" + boundTo + ".orValue('\\n'))"`), fences},
	{"the Fence allows a token that is bound to no pod", "leaderelection/fencing: byPod",
		replace("`.orValue('\\n') + '_')`", "`.orValue('') + '_')`"), fences},
	{"the Fence applies to all users", "leaderelection/fencing: Fence.validations",
		replace("$t.expression + $_ + quote($f.user())", "$t.expression"), fences},

	// Rules of a Fence that compares terms.
	{"the Fence allows a write of an earlier term", "leaderelection/fencing: Fence.byTerm",
		replace("notLower($_, $_)", `"true"`), fences},
	{"the Fence compares tokens as texts", "leaderelection/fencing: notLower",
		replace(`") == size(" + $_ + ") && "`, `") >= 0 && "`), fences},
	{"the Fence reads tokens of 18 digits at most", "leaderelection/fencing: tokenOf",
		replace(`" + ' ').find('^[1-9][0-9]* ')"`, `" + ' ').find('^[1-9][0-9]{0,17} ')"`), fences},
	{"the Fence takes zeros before a token for digits", "leaderelection/fencing: tokenOf",
		replace(`" + ' ').find('^[1-9][0-9]* ')"`, `" + ' ').find('^[0-9]* ')"`), fences},
	{"the Fence allows a write without a stamp", "leaderelection/fencing: Fence.byTerm",
		replace("unstamped($_)", `"true"`), fences},
	{"the Fence allows a status that removes the stamp", "leaderelection/fencing: unstamped",
		replace(`$_ + hasToken($_) + ")"`, `"request.?subResource.orValue('') != '' && true"`), fences},
	{"the Fence takes a missing stamp for one that is kept", "leaderelection/fencing: Fence.keepsStamp",
		replace(`$f.annotationOf("object") + $_ + $f.annotationOf("oldObject") + $_`,
			`$f.annotationOf("object") + ".orValue('') == " + $f.annotationOf("oldObject") + ".orValue('')"`), fences},
	{"the Fence requires a stamp where none is possible", "leaderelection/fencing: Fence.byTerm",
		replace("$f.orUnstampable()", `""`), fences},
	{"the Fence allows a binding that takes the stamp back", "leaderelection/fencing: ofBindings",
		replace(`$stamp + " == '' : "`, `"true : "`), fences},

	// Rules of a Fence that compares both pods and terms.
	{"the Fence by pod and term reports a stale pod as a missing token", "leaderelection/fencing: both",
		replace(`"(" + $first.expression + " ? " + $second.message`, `"(true ? " + $second.message`), fences},
	{"the Fence by pod and term ignores terms", "leaderelection/fencing: both",
		replace(`$first.expression + " && (" + $second.expression + ")"`, "$first.expression"), fences},
	{"the Fence by pod and term ignores pods", "leaderelection/fencing: both",
		replace(`$first.expression + " && (" + $second.expression + ")"`, "$second.expression"), fences},

	// Requests that a Fence checks.
	{"the Fence ignores subresources", "leaderelection/fencing: Fence.rules",
		replace(`rule($group, $operations, $r.Resource, $r.Resource + "/*")`, "rule($group, $operations, $r.Resource)"), fences},
	{"the Fence ignores deletions", "leaderelection/fencing: Fence.rules",
		replace("$list{$*others, admissionv1.Delete}", "$list{$*others}"), fences},
	{"the Fence by term ignores the status", "leaderelection/fencing: Fence.rules",
		replace(`$list{$first, rule($_, $_, $_ + "/*")}`, "$list{$first}"), fences},
	{"the Fence ignores bindings by their old name", "leaderelection/fencing: Fence.rules",
		replace(`rule("", $_, "bindings")`, `rule("", nil, "bindings")`), fences},
	{"the Fence ignores connections", "leaderelection/fencing: Fence.rules",
		replace(`rule("", $operations, "pods/exec", $*_)`, `rule("", $operations, "pods/nothing")`), fenceKinds},
	{"the Fence is open without its Lease", "leaderelection/fencing: Fence.withoutLease",
		replace("admissionv1.DenyAction", "admissionv1.AllowAction"), fences},
	{"a Fence that only reports does not warn", "leaderelection/fencing: Policy",
		replace("$list{admissionv1.Warn, admissionv1.Audit}", "$list{admissionv1.Audit}"), fenceKinds},
	{"the anchor policy has no parameter", "leaderelection/fencing: AnchorPolicy",
		replace("leaseParameter()", "nil"), anchored},

	// Resources that a Fence may guard.
	{"the Fence expects the service account in the namespace of the Lease", "leaderelection/fencing: Fence.user",
		replace("$f.ServiceAccountNamespace", "$f.LeaseNamespace"), validation},
	{"a Fence of Namespaces may be limited to some namespaces", "leaderelection/fencing: Fence.validateTogether",
		replace(`$_.Resource == "namespaces"`, "false"), validation},
	{"a Fence of admission policies is accepted", "leaderelection/fencing: unguardable",
		replace(`strings.Contains($_, "admissionpolic")`, "false"), validation},
	{"OpenWithoutLease is accepted with ByPod and ByTerm", "leaderelection/fencing: Fence.validateTogether",
		replace("$f.OpenWithoutLease && $f.has(ByPod) && $f.has(ByTerm)", "false"), validation},
	{"a Fence that keeps all pods from starting is accepted", "leaderelection/fencing: Fence.validateTogether",
		replace("$closes && ($_ == pods || $_)", "$closes && false"), validation},
	{"a kind that is not a resource is accepted", "leaderelection/fencing: builtIn",
		forceTrue("$_, $_ := meta.UnsafeGuessKindToResource($_)"), resources},

	// The transports.
	{"an approval is not stamped", "leaderelection/fencing: isStampable",
		replace(`"approval"`, `"nothing"`), stamping},
	{"a write behind another api is not stamped", "leaderelection/internal/apipath: parseRoot",
		replace("len($rest) <= 3 || $r.isCoreProxy()", "true"), stamping},
	{"the path through the proxy of a service is parsed", "leaderelection/internal/apipath: parseRoot",
		replace("len($rest) <= 3 || $r.isCoreProxy()", "len($rest) <= 3"), tests{pkg: "./leaderelection/internal/apipath"}},
	{"a write whose path is not understood is not stamped", "leaderelection/fencing: stampTransport.RoundTrip",
		replace("!$unclear && !isStampable($request, $r)", "!isStampable($request, $r)"), stamping},
	{"a refused write is sent again after its term", "leaderelection/fencing: retryTransport.RoundTrip",
		after("$continues, $_ := $t.confirmer.Confirm($*_)", "$continues = true"), retrying},
	{"a refused write is sent again without limit", "leaderelection/fencing: retryTransport.RoundTrip",
		replace("lagLimit", "time.Hour"), retrying},
}
