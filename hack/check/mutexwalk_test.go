package check

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// A walker follows the statements of one function and records which mutexes are
// held at each call. After an if or a switch statement, a mutex counts as held if
// it is held at the end of at least one branch.
type walker struct {
	*lockCheck
	body     *body
	atEnd    []types.Object // mutexes that are held when the function returns
	deferred []types.Object // mutexes that a defer statement unlocks
	foreign  types.Object   // a mutex that the function unlocks but has not locked
}

// net returns the change that the function makes to the set of locked mutexes.
func (w *walker) net() net {
	n := net{unlocks: w.foreign}
	for _, m := range w.atEnd {
		if !slices.Contains(w.deferred, m) {
			n.locks = m
		}
	}
	return n
}

// stmts follows a list of statements. It returns the mutexes that are held at the
// end of the list. The second result is true if execution never reaches the end of
// the list, for example because of a return statement.
func (w *walker) stmts(list []ast.Stmt, held []types.Object) (after []types.Object, ends bool) {
	for _, s := range list {
		if held, ends = w.stmt(s, held); ends {
			return held, true
		}
	}
	return held, false
}

func (w *walker) stmt(s ast.Stmt, held []types.Object) (after []types.Object, ends bool) {
	switch s := s.(type) {
	case *ast.BlockStmt:
		return w.stmts(s.List, held)
	case *ast.LabeledStmt:
		return w.stmt(s.Stmt, held)
	case *ast.ReturnStmt:
		w.atEnd = w.exprs(s, held)
		return w.atEnd, true
	case *ast.BranchStmt:
		return held, s.Tok != token.FALLTHROUGH
	case *ast.DeferStmt:
		// A deferred unlock runs when the function returns. Therefore the mutex
		// stays held until the end of the function. If a later defer statement
		// defers another call, that call runs while the mutex is still held.
		if mutex := w.unlocks(s.Call); mutex != nil {
			w.deferred = append(w.deferred, mutex)
			return held, false
		}
		return w.exprs(s.Call, held), false
	case *ast.GoStmt:
		w.detached(s.Call)
		return held, false
	case *ast.IfStmt:
		held = w.exprs(s.Init, held)
		held = w.exprs(s.Cond, held)
		branches := [][]ast.Stmt{s.Body.List, nil}
		if s.Else != nil {
			branches[1] = []ast.Stmt{s.Else}
		}
		return w.branches(branches, held)
	case *ast.SwitchStmt:
		return w.clauses(s.Body, w.exprs(s.Tag, w.exprs(s.Init, held)))
	case *ast.TypeSwitchStmt:
		return w.clauses(s.Body, w.exprs(s.Assign, w.exprs(s.Init, held)))
	case *ast.SelectStmt:
		return w.clauses(s.Body, held)
	case *ast.ForStmt:
		held = w.exprs(s.Cond, w.exprs(s.Init, held))
		after, _ := w.stmts(s.Body.List, held)
		w.exprs(s.Post, after)
		return w.join(held, after), false
	case *ast.RangeStmt:
		held = w.exprs(s.X, held)
		after, _ := w.stmts(s.Body.List, held)
		return w.join(held, after), false
	default:
		return w.exprs(s, held), false
	}
}

// clauses follows the cases of a switch or select statement. A switch statement without
// a default case may run no case.
func (w *walker) clauses(b *ast.BlockStmt, held []types.Object) (after []types.Object, ends bool) {
	var branches [][]ast.Stmt
	complete := false
	for _, s := range b.List {
		switch s := s.(type) {
		case *ast.CaseClause:
			for _, e := range s.List {
				held = w.exprs(e, held)
			}
			complete = complete || s.List == nil
			branches = append(branches, s.Body)
		case *ast.CommClause:
			complete = true
			if s.Comm != nil {
				w.stmt(s.Comm, held)
			}
			branches = append(branches, s.Body)
		}
	}
	if !complete {
		branches = append(branches, nil)
	}
	return w.branches(branches, held)
}

func (w *walker) branches(branches [][]ast.Stmt, held []types.Object) (after []types.Object, ends bool) {
	ends = true
	for _, b := range branches {
		if h, e := w.stmts(b, slices.Clone(held)); !e {
			after, ends = w.join(after, h), false
		}
	}
	return after, ends
}

func (w *walker) join(a, b []types.Object) []types.Object {
	joined := slices.Clone(a)
	for _, m := range b {
		if !slices.Contains(joined, m) {
			joined = append(joined, m)
		}
	}
	return joined
}

// exprs records the calls in an expression or a simple statement, in the order of
// their execution. It returns the mutexes that are held after the last call.
func (w *walker) exprs(n ast.Node, held []types.Object) []types.Object {
	if n == nil {
		return held
	}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			// A function literal does not run where it is written. If it is called
			// in the same expression, walker.call records the call.
			w.walk(w.body.source, n, "a function in "+w.body.name, n.Body)
			return false
		case *ast.CallExpr:
			for _, arg := range n.Args {
				held = w.exprs(arg, held)
			}
			if _, isLit := ast.Unparen(n.Fun).(*ast.FuncLit); !isLit {
				held = w.exprs(n.Fun, held)
			}
			held = w.call(n, held)
			return false
		}
		return true
	})
	return held
}

// detached walks the function that a go statement starts. The new goroutine holds
// no mutex.
func (w *walker) detached(call *ast.CallExpr) {
	for _, arg := range call.Args {
		w.exprs(arg, nil)
	}
	if lit, ok := ast.Unparen(call.Fun).(*ast.FuncLit); ok {
		w.walk(w.body.source, lit, "a function in "+w.body.name, lit.Body)
	}
}

// call records the call n and returns the mutexes that are held after the call.
func (w *walker) call(n *ast.CallExpr, held []types.Object) []types.Object {
	if mutex, op := w.mutex(n); mutex != nil {
		switch op {
		case "Lock", "RLock":
			w.note(call{at: n, does: effect{lock: mutex}, held: held})
			return w.join(held, []types.Object{mutex})
		case "Unlock", "RUnlock":
			if !slices.Contains(held, mutex) {
				w.foreign = mutex
			}
			return w.without(held, mutex)
		}
		return held
	}
	if what := w.blocks(n); what != "" {
		w.note(call{at: n, does: effect{what: what}, held: held})
		return held
	}
	if to := w.target(n); to != nil {
		change := w.nets[to]
		held = w.without(held, change.unlocks)
		w.note(call{at: n, to: to, held: held})
		if change.locks != nil {
			held = w.join(held, []types.Object{change.locks})
		}
	}
	if f := w.callee(n); f != nil && f.Pkg() != nil && slices.Contains([]string{"slices", "maps", "sort", "strings"}, f.Pkg().Path()) {
		for _, arg := range n.Args { // functions of these packages call their function arguments before they return
			if lit, ok := arg.(*ast.FuncLit); ok {
				w.note(call{at: n, to: lit, held: held})
			}
		}
	}
	return held
}

// without returns a copy of the list held that contains neither mutex nor anyMu. If
// mutex is nil, it returns the list unchanged.
func (w *walker) without(held []types.Object, mutex types.Object) []types.Object {
	if mutex == nil {
		return held
	}
	return slices.DeleteFunc(slices.Clone(held), func(m types.Object) bool { return m == mutex || m == w.anyMu })
}

// unlocks returns the mutex that the call n unlocks, either directly or in a helper
// method. It returns nil if n unlocks no mutex.
func (w *walker) unlocks(n *ast.CallExpr) types.Object {
	if mutex, op := w.mutex(n); op == "Unlock" || op == "RUnlock" {
		return mutex
	}
	return w.nets[w.target(n)].unlocks
}

func (w *walker) note(c call) { w.body.calls = append(w.body.calls, c) }

// mutex returns the mutex and the method name of a call such as e.mu.Lock(). It returns
// nil for other calls.
func (w *walker) mutex(n *ast.CallExpr) (mutex types.Object, op string) {
	f := w.callee(n)
	if f == nil || f.Pkg() == nil || f.Pkg().Path() != "sync" {
		return nil, ""
	}
	recv := receiverType(f)
	if recv == nil || !isA(recv, "sync", "Mutex") && !isA(recv, "sync", "RWMutex") {
		return nil, ""
	}
	switch x := ast.Unparen(n.Fun.(*ast.SelectorExpr).X).(type) {
	case *ast.SelectorExpr:
		return w.info.Uses[x.Sel], f.Name()
	case *ast.Ident:
		return w.info.Uses[x], f.Name()
	}
	return nil, ""
}

// target returns the called function or function literal if the checked package
// contains the function. It returns nil for other functions.
func (w *walker) target(n *ast.CallExpr) ast.Node {
	if lit, ok := ast.Unparen(n.Fun).(*ast.FuncLit); ok {
		w.walk(w.body.source, lit, "a function in "+w.body.name, lit.Body)
		return lit
	}
	if id, ok := ast.Unparen(n.Fun).(*ast.Ident); ok {
		if lit := w.locals[w.info.Uses[id]]; lit != nil {
			return lit
		}
	}
	if f := w.callee(n); f != nil {
		if decl := w.decls[f.Origin()]; decl != nil {
			return decl
		}
	}
	return nil
}

// logMethods are the methods of package slog that write a log record or pass it to a
// handler. Methods such as With and Handler are not in the list, because they write no
// log record.
var logMethods = []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Handle"}

// blocks returns the action of the call n that may block, such as "logs". It
// returns "" if n does not perform such an action.
func (w *walker) blocks(n *ast.CallExpr) string {
	sel, ok := ast.Unparen(n.Fun).(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if selection := w.info.Selections[sel]; selection != nil {
		recv := selection.Recv()
		path, name := named(recv)
		switch {
		case path == "log/slog" && slices.Contains(logMethods, sel.Sel.Name), path == "github.com/go-logr/logr" && name == "Logger":
			return "logs"
		case path == leaseAPI && name == "LeaseInterface":
			return "sends a request"
		case selection.Kind() == types.FieldVal && w.isCallers(path, name, sel.Sel.Name):
			return "calls the caller's " + sel.Sel.Name
		case types.IsInterface(recv) && name == "EventRecorder":
			return "calls the caller's event recorder"
		}
		return ""
	}
	if f := w.callee(n); f != nil && f.Pkg() != nil && f.Pkg().Path() == "log/slog" && slices.Contains(logMethods, f.Name()) {
		return "logs"
	}
	return ""
}

// isCallers reports whether a struct field contains a function that a user of the
// library provides. The result is true if the type and the field are exported, or if
// the type is named options.
func (w *walker) isCallers(path, name, field string) bool {
	return path == w.pkg.Path() && (ast.IsExported(name) && ast.IsExported(field) || name == "options")
}
