package main

var (
	gateTests  = []string{"./manager", "-run", "TestGate_|TestStart_"}
	guardTests = []string{"./manager", "-run", "TestGuard"}
	server     = []string{"./leaderelection/leaderelectiontest/..."}
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
	{"the in-memory server has no compare-and-swap", "leaderelection/leaderelectiontest/store.go",
		"if lease.ResourceVersion != old.ResourceVersion {", "if false {", server},
	{"the in-memory server does not look at UIDs", "leaderelection/leaderelectiontest/store.go",
		`if wanted == "" || wanted == uid {`, "if true {", server},
}
