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

// lockedSuffix is a suffix of function names. If the name of a function ends in
// lockedSuffix, the caller of the function must hold a mutex.
const lockedSuffix = "Locked"

// A function of package leaderelection that holds a mutex must not log, send requests
// or call the user's callbacks, because these actions may block. The function must not
// lock the same mutex again. It must not call itself, neither directly nor through
// other functions.
func TestMutex_NothingBlocksWhileItIsHeld(t *testing.T) {
	report(t, blocking(typedCore(t)))
}

func TestMutex_SomethingCanBlockWhileItIsHeld(t *testing.T) {
	all := example(t, "mutex", core)
	compare(t, all, blocking(check(t, all)))
}

// An effect is something that a function does: it locks a mutex, or it performs an
// action that may block. The function does this itself, or in a function that it calls.
type effect struct {
	what string       // the action that may block, such as "logs"; "" if the effect is that a mutex is locked
	lock types.Object // the action that may block, such as "logs"; "" if the effect locks a mutex
	via  string       // text that names the called functions; "" if the function itself has the effect
}

// A call is a place in the code at which a function calls another function or has an
// effect.
type call struct {
	at   ast.Node
	to   ast.Node       // the called *ast.FuncDecl or *ast.FuncLit; nil if this place has an effect instead
	does effect         // the effect of this place; zero if this place calls another function
	held []types.Object // the mutexes that the function holds at this place
}

// A body lists the calls in the code of one function or function literal.
type body struct {
	source *source
	name   string
	calls  []call
}

// A net is the change that a function makes to the set of locked mutexes. For example,
// a method named lock leaves a mutex locked. A method named unlock unlocks a mutex that
// its caller has locked.
type net struct {
	locks, unlocks types.Object
}

// A lockCheck records the calls in all functions of a package, and finds calls that
// must not be made while a mutex is held.
type lockCheck struct {
	*typed
	decls  map[*types.Func]*ast.FuncDecl
	locals map[types.Object]*ast.FuncLit // the function literals that are assigned to local variables
	bodies map[ast.Node]*body
	order  []ast.Node
	memo   map[ast.Node][]effect
	nets   map[ast.Node]net // keyed by the function
	anyMu  types.Object     // stands for the mutex that is held in each function whose name ends in lockedSuffix
}

// blocking returns a finding for each call that must not be made while a mutex is
// held.
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
	for before := map[ast.Node]net(nil); before == nil || !maps.Equal(before, c.nets); { // repeat until the nets no longer change
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

// walk records the calls in n, and in the function literals that n
// contains.
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

// isLocked reports whether n is a function whose name ends in lockedSuffix. The
// caller of such a function holds a mutex.
func isLocked(n ast.Node) bool {
	f, ok := n.(*ast.FuncDecl)
	return ok && strings.HasSuffix(f.Name.Name, lockedSuffix)
}

// findings returns a finding for each call in the function n that must not be made
// while a mutex is held.
func (c *lockCheck) findings(n ast.Node) []finding {
	b := c.bodies[n]
	var found []finding
	for _, call := range b.calls {
		if len(call.held) == 0 {
			continue
		}
		effects := []effect{call.does}
		if isLocked(call.to) {
			effects = nil // the called function is checked separately
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
			break // report only one finding for each call
		}
		if to := c.bodies[call.to]; to != nil && c.reaches(call.to, n, map[ast.Node]bool{}) {
			found = append(found, b.source.at(call.at, "%s and %s call each other while a mutex is held", b.name, to.name))
		}
	}
	return found
}

// isCentral reports whether mutex is a field of the struct Elector. It returns true if
// the package has no type Elector.
func (c *lockCheck) isCentral(mutex types.Object) bool {
	elector := c.pkg.Scope().Lookup("Elector")
	if elector == nil {
		return true
	}
	s, ok := elector.Type().Underlying().(*types.Struct)
	return ok && slices.ContainsFunc(slices.Collect(s.Fields()), func(f *types.Var) bool { return f == mutex })
}

// effects returns the effects of n and of the functions that n calls. The
// parameter path lists the functions that effects is already visiting. effects ignores
// calls of these functions, because a recursive function would cause an endless loop.
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

// reaches reports whether the function in the parameter from calls the function in
// the parameter to, directly or through other functions. The result is also true if
// both are the same function.
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
