package adopt

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	managerPath   = Module + "/manager"
	runtimePath   = "sigs.k8s.io/controller-runtime"
	crmanagerPath = runtimePath + "/pkg/manager"
	healthzPath   = runtimePath + "/pkg/healthz"
)

// A program is a Go file of package main.
type program struct {
	path  string
	src   []byte
	fset  *token.FileSet
	file  *ast.File
	taken map[string]bool // the names that the other files of the package declare

	old   []*ast.CallExpr // calls that create a Manager of controller-runtime
	ours  []*ast.CallExpr // calls of manager.New of this module
	names []string        // the variables to which these calls are assigned

	hasLive, hasReady bool // true if the file adds a check for the probe
	usesReady         bool // true if the file refers to manager.Ready
}

// findProgram returns the file that creates the Manager. If name is not empty, only the
// file with this path is considered.
func findProgram(root *os.Root, name string) (*program, error) {
	var all []*program
	err := fs.WalkDir(root.FS(), ".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return explain(file, err)
		case entry.IsDir():
			return skip(root, file)
		case path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") || name != "" && file != path.Clean(name):
			return nil
		}
		p, err := parseProgram(root, file)
		if p != nil {
			all = append(all, p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return choose(all, name)
}

// skip returns fs.SkipDir for folders that contain no program of the operator.
func skip(root *os.Root, dir string) error {
	base := path.Base(dir)
	if dir == "." {
		return nil
	}
	_, err := root.Stat(path.Join(dir, "go.mod"))
	if err == nil || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "vendor" || base == "testdata" || base == "node_modules" {
		return fs.SkipDir
	}
	return nil
}

// parseProgram parses a Go file. It returns nil for a file that does not belong to
// package main. Syntax errors count only in files of package main and in files with the
// name main.go.
func parseProgram(root *os.Root, file string) (*program, error) {
	src, err := root.ReadFile(file)
	if err != nil {
		return nil, explain(file, err)
	}
	p := &program{path: file, src: src}
	clause, err := parser.ParseFile(token.NewFileSet(), file, src, parser.PackageClauseOnly)
	if err == nil && clause.Name.Name != "main" || err != nil && path.Base(file) != "main.go" {
		return nil, nil
	}
	if err := p.parse(); err != nil {
		return nil, err
	}
	p.taken = declaredBeside(root, file)
	return p, nil
}

// declaredBeside returns the package-level names of the other files in the folder. A
// file that cannot be parsed has no names.
func declaredBeside(root *os.Root, file string) map[string]bool {
	names := map[string]bool{}
	entries, _ := fs.ReadDir(root.FS(), path.Dir(file))
	for _, entry := range entries {
		other := path.Join(path.Dir(file), entry.Name())
		if entry.IsDir() || path.Ext(other) != ".go" || other == file {
			continue
		}
		src, err := root.ReadFile(other)
		if err != nil {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), other, src, parser.SkipObjectResolution)
		if err != nil {
			continue
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				names[id.Name] = true
			}
			return true
		})
	}
	return names
}

// choose returns the only file that creates a Manager.
func choose(all []*program, name string) (*program, error) {
	var creating, adopted []*program
	var paths []string
	for _, p := range all {
		paths = append(paths, p.path)
		switch {
		case len(p.old) > 0:
			creating = append(creating, p)
		case len(p.ours) > 0:
			adopted = append(adopted, p)
		}
	}
	if len(creating) == 0 {
		creating = adopted
	}
	switch {
	case len(all) == 0 && name != "":
		return nil, fmt.Errorf("--main (%q) is not a Go file of package main below the folder: name the file that calls ctrl.NewManager", name)
	case len(all) == 0:
		return nil, fmt.Errorf("no main.go found: name the folder of an operator, which has a Go file of package main such as cmd/main.go")
	case len(creating) == 0:
		return nil, fmt.Errorf("%s does not call ctrl.NewManager: replace the call that creates the Manager by manager.New of %s by hand", strings.Join(paths, ", "), managerPath)
	case len(creating) > 1:
		return nil, fmt.Errorf("several programs create a Manager: %s and %s, choose one with --main", creating[0].path, creating[1].path)
	}
	return creating[0], nil
}

// parse parses p.src and finds everything that concerns the Manager.
func (p *program) parse() error {
	p.fset = token.NewFileSet()
	var err error
	if p.file, err = parser.ParseFile(p.fset, p.path, p.src, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		return fmt.Errorf("%s cannot be parsed: %w", p.path, err)
	}
	ast.Inspect(p.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			p.inspectCall(n)
		case *ast.AssignStmt:
			p.names = append(p.names, p.assigned(n)...)
		case *ast.SelectorExpr:
			p.usesReady = p.usesReady || p.selects(n, managerPath, "Ready")
		}
		return true
	})
	return nil
}

func (p *program) inspectCall(call *ast.CallExpr) {
	switch {
	case p.creates(call):
		p.old = append(p.old, call)
	case p.selects(call.Fun, managerPath, "New"):
		p.ours = append(p.ours, call)
	}
	if method, ok := call.Fun.(*ast.SelectorExpr); ok {
		p.hasLive = p.hasLive || method.Sel.Name == "AddHealthzCheck"
		p.hasReady = p.hasReady || method.Sel.Name == "AddReadyzCheck"
	}
}

// creates reports whether a call creates a Manager of controller-runtime.
func (p *program) creates(call *ast.CallExpr) bool {
	return p.selects(call.Fun, runtimePath, "NewManager") || p.selects(call.Fun, crmanagerPath, "New")
}

// assigned returns the variable to which a statement assigns a new Manager.
func (p *program) assigned(s *ast.AssignStmt) []string {
	call, ok := s.Rhs[0].(*ast.CallExpr)
	if !ok || !p.creates(call) && !p.selects(call.Fun, managerPath, "New") {
		return nil
	}
	if variable, ok := s.Lhs[0].(*ast.Ident); ok && variable.Name != "_" {
		return []string{variable.Name}
	}
	return nil
}

// selects reports whether e is the given name of an imported package.
func (p *program) selects(e ast.Expr, imported, name string) bool {
	selector, ok := e.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != name {
		return false
	}
	pkg, ok := selector.X.(*ast.Ident)
	return ok && pkg.Name == importName(p.importOf(imported))
}

func (p *program) importOf(imported string) *ast.ImportSpec {
	i := slices.IndexFunc(p.file.Imports, func(s *ast.ImportSpec) bool { return importPath(s) == imported })
	if i < 0 {
		return nil
	}
	return p.file.Imports[i]
}

func importPath(s *ast.ImportSpec) string {
	text, _ := strconv.Unquote(s.Path.Value) // the parser has checked the literal
	return text
}

// importName returns the name by which the file refers to an imported package. It
// returns "." for a dot import, which no name of a package equals.
func importName(s *ast.ImportSpec) string {
	switch {
	case s == nil:
		return ""
	case s.Name != nil:
		return s.Name.Name
	case importPath(s) == runtimePath:
		return "controllerruntime"
	}
	return path.Base(importPath(s))
}

// adopt returns the source of the adopted program.
func (p *program) adopt() ([]byte, error) {
	if at := p.field("LeaderElectionResourceLockInterface"); at != nil {
		return nil, fmt.Errorf("%s sets LeaderElectionResourceLockInterface, which manager.New refuses, because it replaces the election: remove it first", p.fset.Position(at.Pos()))
	}
	edits, err := p.edits()
	if err != nil || len(edits) == 0 {
		return p.src, err
	}
	changed, err := apply(p.src, edits)
	if formatted, formatErr := format.Source(p.src); err == nil && formatErr == nil && bytes.Equal(formatted, p.src) {
		changed, err = format.Source(changed)
	}
	again := &program{path: p.path, src: changed, taken: p.taken}
	if err == nil {
		err = again.parse()
	}
	if err == nil {
		if edits, err = again.edits(); err == nil && len(edits) > 0 {
			err = errors.New("the change has no effect")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s has an unusual form, so it cannot be changed safely (%w): change it by hand", p.path, err)
	}
	p.usesReady = again.usesReady
	return changed, nil
}

// field returns the first key with this name in a composite literal, or nil.
func (p *program) field(name string) (found ast.Node) {
	ast.Inspect(p.file, func(n ast.Node) bool {
		if pair, ok := n.(*ast.KeyValueExpr); ok && found == nil {
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == name {
				found = pair
			}
		}
		return true
	})
	return found
}

// notes returns the notes about the adopted program.
func (p *program) notes() []string {
	var notes []string
	if !p.usesReady {
		notes = append(notes, p.path+` has no readiness check of the election: add mgr.AddReadyzCheck("leaderelection", manager.Ready(mgr)), so that a rolling update waits for the new replica`)
	}
	if p.field("LeaderElectionReleaseOnCancel") != nil {
		notes = append(notes, p.path+" sets LeaderElectionReleaseOnCancel, which has no effect any more: the migration guide states when a rollout without it should come first")
	}
	return notes
}
