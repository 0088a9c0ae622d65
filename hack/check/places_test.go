package check

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	pure      = core + "/internal/lease"
	clientgo  = "k8s.io/client-go/tools/leaderelection"
	leaseAPI  = "k8s.io/client-go/kubernetes/typed/coordination/v1"
	timing    = "timing.go"
	store     = "store.go"
	clientLib = "clientgo.go"
)

// Package internal/lease decides what the content of a Lease means. The package
// must be pure, which means that it must not use goroutines, clocks or clients.
func TestPlaces_LeaseStateIsPure(t *testing.T) {
	all := in(code(t), pure)
	if len(all) == 0 {
		t.Fatalf("bug: no files in %s", pure)
	}
	report(t, impure(all))
}

func TestPlaces_LeaseStateCanBeImpure(t *testing.T) {
	all := example(t, "impure", pure)
	compare(t, all, impure(all))
}

// impure returns a finding for each go statement, each use of a clock, and each
// forbidden import.
func impure(all []*source) []finding {
	banned := []string{"context", "sync", "net", "k8s.io/client-go"}
	var found []finding
	for _, s := range all {
		for _, spec := range s.file.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); under(path, banned) {
				found = append(found, s.at(spec, "a pure package imports %s", path))
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found = append(found, s.at(n, "a pure package has a go statement"))
			case *ast.SelectorExpr:
				if id, ok := n.X.(*ast.Ident); ok && id.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Sleep"}, n.Sel.Name) {
					found = append(found, s.at(n, "a pure package calls time.%s: the time is a parameter", n.Sel.Name))
				}
			}
			return true
		})
	}
	return found
}

// All formulas that compute durations must be in timing.go. In this file, each
// formula has a name.
func TestPlaces_FormulasOfDurationsAreInOneFile(t *testing.T) {
	report(t, strayFormulas(typedCore(t)))
}

func TestPlaces_FormulasCanBeStray(t *testing.T) {
	all := example(t, "formulas", core)
	compare(t, all, strayFormulas(check(t, all)))
}

// strayFormulas finds code that must be in timing.go, but is in another file. There
// are two kinds of such code: uses of randomness, and formulas that multiply or
// divide a duration by a constant.
func strayFormulas(p *typed) []finding {
	var found []finding
	for _, s := range p.files {
		if s.base() == timing {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if id, ok := n.X.(*ast.Ident); ok && id.Name == "rand" {
					found = append(found, s.at(n, "rand.%s belongs in %s", n.Sel.Name, timing))
				}
			case *ast.BinaryExpr:
				if p.isFormula(n) {
					found = append(found, s.at(n, "the formula %s belongs in %s", types.ExprString(n), timing))
					return false
				}
			}
			return true
		})
	}
	return found
}

// isFormula reports whether n multiplies or divides a duration by a constant. A
// conversion of units, such as n * time.Second, is not a formula. An expression
// without variables is not a formula either.
func (p *typed) isFormula(n *ast.BinaryExpr) bool {
	whole := p.info.Types[n]
	if n.Op != token.MUL && n.Op != token.QUO || whole.Value != nil || !isA(whole.Type, "time", "Duration") {
		return false
	}
	return p.isNumber(n.X) || p.isNumber(n.Y)
}

// isNumber reports whether e is a constant other than a unit such as time.Second.
func (p *typed) isNumber(e ast.Expr) bool {
	if sel, ok := ast.Unparen(e).(*ast.SelectorExpr); ok {
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" {
			return false
		}
	}
	value := p.info.Types[e].Value
	return value != nil && value.Kind() != constant.Unknown
}

// Only store.go may send requests for the Lease.
func TestPlaces_RequestsForTheLeaseAreInOneFile(t *testing.T) {
	report(t, strayRequests(typedCore(t)))
}

func TestPlaces_RequestsCanBeStray(t *testing.T) {
	all := example(t, "requests", core)
	compare(t, all, strayRequests(check(t, all)))
}

// strayRequests finds uses of the methods of LeaseInterface in files other than
// store.go.
func strayRequests(p *typed) []finding {
	var found []finding
	for _, s := range p.files {
		if s.base() == store {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if selection := p.info.Selections[sel]; selection != nil && isA(selection.Recv(), leaseAPI, "LeaseInterface") {
				found = append(found, s.at(sel, "the request %s belongs in %s", sel.Sel.Name, store))
			}
			return true
		})
	}
	return found
}

// Only clientgo.go may import client-go's package leaderelection. In addition,
// options.go may import client-go's package leaderelection/resourcelock, because
// the public API uses the type resourcelock.EventRecorder.
func TestPlaces_OneFileKnowsTheElectorOfClientGo(t *testing.T) {
	report(t, strayEngine(in(code(t), core)))
}

func TestPlaces_SeveralFilesCanKnowTheElectorOfClientGo(t *testing.T) {
	all := example(t, "engine", core)
	compare(t, all, strayEngine(all))
}

func strayEngine(all []*source) []finding {
	var found []finding
	for _, s := range all {
		for _, spec := range s.file.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			recorder := s.base() == "options.go" && strings.HasSuffix(path, "/resourcelock")
			if under(path, []string{clientgo}) && s.base() != clientLib && !recorder {
				found = append(found, s.at(spec, "the import of %s belongs in %s", path, clientLib))
			}
		}
	}
	return found
}
