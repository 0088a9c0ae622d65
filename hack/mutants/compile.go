package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// A compiler type-checks mutants. The type check finds mutants that do not compile, and
// is faster than a run of go test.
type compiler struct {
	tree     *tree
	importer types.Importer
}

// newCompiler returns a compiler for the packages in the folders that dirs lists. It
// calls the go command to get the export data of the imported packages.
func newCompiler(t *tree, dirs []string) (*compiler, error) {
	args := []string{"list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}"}
	for _, dir := range dirs {
		args = append(args, "./"+dir)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = t.root
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("the code does not compile without a mutation: %w\n%s", err, problems.String())
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			exports[name] = file
		}
	}
	open := func(name string) (io.ReadCloser, error) { return os.Open(exports[name]) }
	return &compiler{t, importer.ForCompiler(t.fset, "gc", open)}, nil
}

// check corrects the imports in m.code, and returns an error if the mutant m does not
// compile. It adds missing imports, and replaces unused imports by blank imports.
func (c *compiler) check(m *mutant) error {
	if filepath.Ext(m.file) != ".go" {
		return nil
	}
	p := c.tree.packages[path.Dir(m.file)]
	for range 5 { // each iteration corrects one import
		file, err := parser.ParseFile(c.tree.fset, "mutant.go", m.code, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		problem := c.problem(p, m.file, file)
		if problem == nil {
			return nil
		}
		code, ok := fixImports(p, file, m.code, *problem)
		if !ok {
			return errors.New(problem.Msg)
		}
		m.code = code
	}
	return errors.New("the imports do not fit the mutation")
}

// problem type-checks the package p after it has replaced the file at path by the
// parsed file in the parameter mutated. It returns the first type error in the parsed
// file, or nil if there is no error. It does not check the function bodies in the other
// files.
func (c *compiler) problem(p *pkg, path string, mutated *ast.File) *types.Error {
	files := []*ast.File{mutated}
	for _, s := range p.files {
		if s.path != path {
			files = append(files, s.withoutBodies())
		}
	}
	var first *types.Error
	config := types.Config{Importer: c.importer, Error: func(err error) {
		problem := err.(types.Error) //nolint:errorlint // as documented
		if first == nil && mutated.FileStart <= problem.Pos && problem.Pos < mutated.FileEnd {
			first = &problem
		}
	}}
	_, _ = config.Check(p.dir, c.tree.fset, files, nil)
	return first
}

func (s *source) withoutBodies() *ast.File {
	file := *s.file
	file.Decls = nil
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			signature := *f
			signature.Body = nil
			d = &signature
		}
		file.Decls = append(file.Decls, d)
	}
	return &file
}

var (
	unusedImport = regexp.MustCompile(`imported( as \w+)? and not used$`)
	undefined    = regexp.MustCompile(`^undefined: (\w+)$`)
)

// fixImports corrects one import in code. It replaces an unused import by a blank import,
// or adds a missing import. It can add only imports that another file of the package p
// has. problem is the compiler error. fixImports returns false if it cannot
// correct this error.
func fixImports(p *pkg, file *ast.File, code []byte, problem types.Error) ([]byte, bool) {
	offset := func(pos token.Pos) int { return int(pos - file.FileStart) }
	if unusedImport.MatchString(problem.Msg) {
		for _, spec := range file.Imports {
			if spec.Pos() <= problem.Pos && problem.Pos < spec.End() {
				return splice(code, offset(spec.Pos()), offset(spec.End()), "_ "+spec.Path.Value), true
			}
		}
	}
	if name := undefined.FindStringSubmatch(problem.Msg); name != nil {
		for _, s := range p.files {
			for _, spec := range s.file.Imports {
				if nameOf(spec) == name[1] {
					at := offset(file.Name.End())
					return splice(code, at, at, "; import "+name[1]+" "+spec.Path.Value), true
				}
			}
		}
	}
	return nil, false
}

// nameOf returns the name by which a file refers to the imported package.
func nameOf(spec *ast.ImportSpec) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	dir, name := path.Split(strings.Trim(spec.Path.Value, `"`))
	if isVersion.MatchString(name) {
		name = path.Base(dir)
	}
	return name
}

var isVersion = regexp.MustCompile(`^v[0-9]+$`)

func splice(code []byte, from, to int, text string) []byte {
	return []byte(string(code[:from]) + text + string(code[to:]))
}
