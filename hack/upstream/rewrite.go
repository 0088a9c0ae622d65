package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

const crmanager = "sigs.k8s.io/controller-runtime/pkg/manager"

// A change replaces the bytes from start to end of a file.
type change struct {
	start, end token.Pos
	text       string
}

// rewrite returns the source of a test file with these changes:
//
//   - A call of New of controller-runtime's package manager becomes a call of newUnderTest.
//   - The assertion that a Manager is a *controllerManager becomes a call of innerOf.
//   - An assignment to the private field gracefulShutdownTimeout becomes a call of setGrace.
//   - The fake resource lock becomes controller-runtime's own, because the specs now have
//     a real Lease.
//
// The number of each line stays the same. The returned number counts the calls of New.
func rewrite(name string, src []byte) (result []byte, calls int, err error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		return nil, 0, err
	}
	r := rewriter{inside: file.Name.Name == "manager", imported: importName(file, crmanager), fake: importName(file, "sigs.k8s.io/controller-runtime/pkg/leaderelection/fake")}
	ast.Inspect(file, r.visit)
	slices.SortStableFunc(r.changes, func(a, b change) int { return int(a.start - b.start) })
	var out bytes.Buffer
	last := file.FileStart
	for _, c := range r.changes {
		if c.start < last {
			return nil, 0, fmt.Errorf("%s: changes overlap", fset.Position(c.start))
		}
		out.Write(src[last-file.FileStart : c.start-file.FileStart])
		out.WriteString(c.text)
		last = c.end
	}
	out.Write(src[last-file.FileStart:])
	return out.Bytes(), r.calls, nil
}

// importName returns the name under which a file imports a package, or "".
func importName(file *ast.File, path string) string {
	for _, spec := range file.Imports {
		if imported, _ := strconv.Unquote(spec.Path.Value); imported == path {
			if spec.Name != nil {
				return spec.Name.Name
			}
			return path[strings.LastIndex(path, "/")+1:]
		}
	}
	return ""
}

type rewriter struct {
	inside         bool   // true if the file belongs to package manager
	imported, fake string // the names of the imported packages
	changes        []change
	calls          int
}

func (r *rewriter) replace(n ast.Node, text string) {
	r.changes = append(r.changes, change{n.Pos(), n.End(), text})
}

func (r *rewriter) insert(at token.Pos, text string) {
	r.changes = append(r.changes, change{at, at, text})
}

func (r *rewriter) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		if r.isNew(n.Fun) {
			r.calls++
			r.replace(n.Fun, "newUnderTest")
		}
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && key.Name == "newResourceLock" {
			ast.Inspect(n.Value, r.realLock)
		}
	case *ast.AssignStmt:
		r.assignment(n)
	case *ast.TypeAssertExpr:
		if r.inside && isOwnType(n.Type) {
			r.insert(n.X.Pos(), "innerOf(")
			r.changes = append(r.changes, change{n.X.End(), n.End(), ")"})
		}
	}
	return true
}

// realLock replaces the fake resource lock.
func (r *rewriter) realLock(n ast.Node) bool {
	if s, ok := n.(*ast.SelectorExpr); ok && r.fake != "" && isSelector(s, r.fake, "NewResourceLock") {
		r.replace(s.X, "leaderelection")
	}
	return true
}

func (r *rewriter) assignment(n *ast.AssignStmt) {
	if !r.inside || len(n.Rhs) != 1 {
		return
	}
	if assert, ok := n.Rhs[0].(*ast.TypeAssertExpr); ok && len(n.Lhs) == 2 && isOwnType(assert.Type) {
		r.insert(n.End(), ", true")
	}
	if field, ok := n.Lhs[0].(*ast.SelectorExpr); ok && field.Sel.Name == "gracefulShutdownTimeout" {
		r.insert(n.Pos(), "setGrace(")
		r.changes = append(r.changes, change{field.X.End(), n.Rhs[0].Pos(), ", "})
		r.insert(n.End(), ")")
	}
}

func (r *rewriter) isNew(fun ast.Expr) bool {
	if name, ok := fun.(*ast.Ident); ok {
		return r.inside && name.Name == "New"
	}
	return r.imported != "" && isSelector(fun, r.imported, "New")
}

func isSelector(e ast.Expr, x, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	ident, ok := s.X.(*ast.Ident)
	return ok && ident.Name == x
}

func isOwnType(e ast.Expr) bool {
	star, ok := e.(*ast.StarExpr)
	if !ok {
		return false
	}
	ident, ok := star.X.(*ast.Ident)
	return ok && ident.Name == "controllerManager"
}
