package check

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// typed is a type-checked package. Rules use the type information to find out what
// a name refers to.
type typed struct {
	files []*source
	pkg   *types.Package
	info  *types.Info
}

// exportData maps import paths to files with export data of the compiler. It
// contains the packages that users import, and all dependencies of these packages.
// The go command builds the packages that are not in its build cache.
var exportData = sync.OnceValues(func() (map[string]string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("go", "list", "-e", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}",
		"./leaderelection/...", "./manager", "sigs.k8s.io/controller-runtime", "log", "os/signal", "net/http")
	cmd.Dir, cmd.Stderr = root, &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	data := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, found := strings.Cut(strings.TrimSpace(line), "\t"); found {
			data[path] = file
		}
	}
	return data, nil
})

// newImporter returns an importer that reads the files in exportData.
func newImporter(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	data, err := exportData()
	if err != nil {
		t.Fatal(err)
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if file := data[path]; file != "" {
			return os.Open(file)
		}
		return nil, fmt.Errorf("no export data of %s", path)
	})
}

// newInfo returns an empty types.Info that the type checker can fill.
func newInfo() *types.Info {
	return &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
}

// check type-checks the package that consists of the files in all. It ignores tests
// and files for other operating systems.
func check(t *testing.T, all []*source) *typed {
	t.Helper()
	p := &typed{info: newInfo()}
	var syntax []*ast.File
	for _, s := range all {
		ours, err := build.Default.MatchFile(filepath.Join(root, s.dir()), s.base())
		if s.isTest() || err == nil && !ours {
			continue
		}
		p.files, syntax = append(p.files, s), append(syntax, s.file)
	}
	fset := all[0].fset
	config := types.Config{Importer: newImporter(t, fset)}
	var err error
	if p.pkg, err = config.Check(module+"/"+all[0].dir(), fset, syntax, p.info); err != nil {
		t.Fatalf("the package does not compile: %v", err)
	}
	return p
}

// typedCore type-checks package leaderelection. Only the first call runs the type
// checker. Later calls return the same result.
func typedCore(t *testing.T) *typed {
	t.Helper()
	coreOnce.Do(func() { theCore = check(t, in(code(t), core)) })
	if theCore == nil {
		t.Fatal("the core does not compile")
	}
	return theCore
}

var (
	coreOnce sync.Once
	theCore  *typed
)

// callee returns the function or method that is called. It returns nil for
// conversions, for built-in functions, and for calls of a function value.
func (p *typed) callee(call *ast.CallExpr) *types.Func {
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		f, _ := p.info.Uses[fun].(*types.Func)
		return f
	case *ast.SelectorExpr:
		f, _ := p.info.Uses[fun.Sel].(*types.Func)
		return f
	case *ast.IndexExpr:
		if id, ok := fun.X.(*ast.Ident); ok {
			f, _ := p.info.Uses[id].(*types.Func)
			return f
		}
	}
	return nil
}

// named returns the import path and the name of the type t. If t is a pointer,
// named returns the path and the name of the type to which t points.
func named(t types.Type) (path, name string) {
	if ptr, ok := types.Unalias(t).(*types.Pointer); ok {
		t = ptr.Elem()
	}
	n, ok := types.Unalias(t).(*types.Named)
	if !ok || n.Obj().Pkg() == nil {
		return "", ""
	}
	return n.Obj().Pkg().Path(), n.Obj().Name()
}

// isA reports whether t is the type path.name or a pointer to this type.
func isA(t types.Type, path, name string) bool {
	p, n := named(t)
	return p == path && n == name
}

// receiverType returns the type of f's receiver, or nil if f is not a method.
func receiverType(f *types.Func) types.Type {
	if recv := f.Signature().Recv(); recv != nil {
		return recv.Type()
	}
	return nil
}
