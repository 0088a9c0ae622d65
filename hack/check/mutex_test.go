package check

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A function whose name ends in Locked runs while its caller holds a mutex.
const lockedSuffix = "Locked"

// While a mutex of the core is held, nothing is logged, no code of the caller runs
// and no request is sent: each of them may block. A function that runs with the
// mutex does not lock it again, and does not call itself by way of others.
func TestMutex_NothingBlocksWhileItIsHeld(t *testing.T) {
	report(t, blocking(typedCore(t)))
}

func TestMutex_SomethingCanBlockWhileItIsHeld(t *testing.T) {
	all := example(t, "mutex", core)
	compare(t, all, blocking(check(t, all)))
}

// An effect is one thing that a function does, itself or by way of others.
type effect struct {
	what string       // what it does; "" for a lock
	lock types.Object // the mutex that it locks, nil otherwise
	via  string       // the functions between, "" if it does it itself
}

// A call is one call that a function makes while it holds mutexes, or any call if
// held is empty.
type call struct {
	at   ast.Node
	to   ast.Node // *ast.FuncDecl or *ast.FuncLit; nil if it is an effect
	does effect
	held []types.Object
}

// A body is one function or function literal.
type body struct {
	source *source
	name   string
	calls  []call
}

// A net is what a helper such as lock or unlock changes for its caller.
type net struct {
	locks, unlocks types.Object
}

// A lockCheck walks the functions of a package.
type lockCheck struct {
	*typed
	decls  map[*types.Func]*ast.FuncDecl
	locals map[types.Object]*ast.FuncLit // local variables that hold one literal
	bodies map[ast.Node]*body
	order  []ast.Node
	memo   map[ast.Node][]effect
	nets   map[ast.Node]net // of helpers such as lock and unlock
	anyMu  types.Object     // stands for the mutex that the caller of a Locked function holds
}

// blocking finds what must not happen while a mutex is held.
func blocking(p *typed) []finding {
	c := &lockCheck{typed: p, decls: map[*types.Func]*ast.FuncDecl{}, locals: map[types.Object]*ast.FuncLit{},
		bodies: map[ast.Node]*body{}, memo: map[ast.Node][]effect{}, nets: map[ast.Node]net{}, anyMu: types.NewVar(token.NoPos, nil, "the mutex", nil)}
	for _, s := range p.files {
		for _, f := range functions(s) {
			if obj, ok := p.info.Defs[f.Name].(*types.Func); ok {
				c.decls[obj] = f
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if n, ok := n.(*ast.AssignStmt); ok && len(n.Lhs) == 1 && len(n.Rhs) == 1 {
				id, isName := n.Lhs[0].(*ast.Ident)
				lit, isLit := n.Rhs[0].(*ast.FuncLit)
				if isName && isLit && n.Tok == token.DEFINE {
					c.locals[p.info.Defs[id]] = lit
				}
			}
			return true
		})
	}
	for before := map[ast.Node]net(nil); before == nil || !maps.Equal(before, c.nets); { // until what helpers change is known
		before = maps.Clone(c.nets)
		c.bodies, c.order = map[ast.Node]*body{}, nil
		for _, s := range p.files {
			for _, f := range functions(s) {
				if f.Body != nil {
					c.walk(s, f, f.Name.Name, f.Body)
				}
			}
		}
	}
	var found []finding
	for _, n := range c.order {
		found = append(found, c.findings(n)...)
	}
	return found
}

// walk notes the calls of a function, and those of the literals in it.
func (c *lockCheck) walk(s *source, n ast.Node, name string, block *ast.BlockStmt) {
	if c.bodies[n] != nil {
		return
	}
	b := &body{source: s, name: name}
	c.bodies[n], c.order = b, append(c.order, n)
	w := &walker{lockCheck: c, body: b}
	var held []types.Object
	if isLocked(n) {
		held = []types.Object{c.anyMu}
	}
	if after, ends := w.stmts(block.List, held); !ends {
		w.atEnd = after
	}
	if f, ok := n.(*ast.FuncDecl); ok && !isLocked(f) {
		c.nets[n] = w.net()
	}
}

// isLocked reports whether a function runs while its caller holds a mutex.
func isLocked(n ast.Node) bool {
	f, ok := n.(*ast.FuncDecl)
	return ok && strings.HasSuffix(f.Name.Name, lockedSuffix)
}

// findings compares what a function does while it holds a mutex with the rule.
func (c *lockCheck) findings(n ast.Node) []finding {
	b := c.bodies[n]
	var found []finding
	for _, call := range b.calls {
		if len(call.held) == 0 {
			continue
		}
		effects := []effect{call.does}
		if isLocked(call.to) {
			effects = nil // it has findings of its own
		} else if call.to != nil {
			effects = c.effects(call.to, nil)
		}
		for _, e := range effects {
			switch {
			case e.lock == nil && e.what != "":
				found = append(found, b.source.at(call.at, "%s %s while a mutex is held%s", b.name, e.what, e.via))
			case e.lock != nil && (slices.Contains(call.held, e.lock) || slices.Contains(call.held, c.anyMu) && c.isCentral(e.lock)):
				found = append(found, b.source.at(call.at, "%s locks %s again%s", b.name, e.lock.Name(), e.via))
			default:
				continue
			}
			break // one finding for each call
		}
		if to := c.bodies[call.to]; to != nil && c.reaches(call.to, n, map[ast.Node]bool{}) {
			found = append(found, b.source.at(call.at, "%s and %s call each other while a mutex is held", b.name, to.name))
		}
	}
	return found
}

// isCentral reports whether a mutex is that of an Elector, which Locked functions
// need.
func (c *lockCheck) isCentral(mutex types.Object) bool {
	elector := c.pkg.Scope().Lookup("Elector")
	if elector == nil {
		return true
	}
	s, ok := elector.Type().Underlying().(*types.Struct)
	return ok && slices.ContainsFunc(slices.Collect(s.Fields()), func(f *types.Var) bool { return f == mutex })
}

// effects returns what a function does, itself and by way of others.
func (c *lockCheck) effects(n ast.Node, path []ast.Node) []effect {
	if known, found := c.memo[n]; found {
		return known
	}
	b := c.bodies[n]
	if b == nil || slices.Contains(path, n) {
		return nil
	}
	var all []effect
	for _, call := range b.calls {
		if call.to == nil {
			all = append(all, effect{what: call.does.what, lock: call.does.lock, via: " (in " + b.name + ")"})
			continue
		}
		for _, e := range c.effects(call.to, append(path, n)) {
			e.via = fmt.Sprintf(" (in %s, called by %s)", strings.TrimSuffix(strings.TrimPrefix(e.via, " (in "), ")"), b.name)
			all = append(all, e)
		}
	}
	all = slices.CompactFunc(all, func(a, b effect) bool { return a.what == b.what && a.lock == b.lock })
	if len(path) == 0 {
		c.memo[n] = all
	}
	return all
}

// reaches reports whether calls lead from one function to another, all of them
// while a mutex is held.
func (c *lockCheck) reaches(from, to ast.Node, visited map[ast.Node]bool) bool {
	if from == to {
		return true
	}
	b := c.bodies[from]
	if b == nil || visited[from] {
		return false
	}
	visited[from] = true
	return slices.ContainsFunc(b.calls, func(call call) bool {
		return call.to != nil && c.reaches(call.to, to, visited)
	})
}
