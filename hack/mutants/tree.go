package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A tree contains the parsed packages of a module.
type tree struct {
	root     string
	fset     *token.FileSet
	packages map[string]*pkg // keyed by the folder, relative to the root
	texts    []string        // files without Go code, relative to the root
}

// A pkg is a parsed package. It contains only the files that are built for the current
// operating system and processor.
type pkg struct {
	dir   string
	files []*source // without tests
	tests []string  // the names of test functions
}

// A source is a parsed Go file.
type source struct {
	path string // relative to the root
	text []byte
	file *ast.File
}

// A decl is the declaration of a function, a method, a type, a constant or a variable.
type decl struct {
	pkg    *pkg
	source *source
	name   string   // as in go doc, for example Elector.Run
	body   ast.Node // the node in which a mutation may change code
}

func (d decl) String() string { return d.pkg.dir + ": " + d.name }

func newTree(root string) *tree {
	return &tree{root: root, fset: token.NewFileSet(), packages: map[string]*pkg{}}
}

// load parses all packages of the module in the folder root.
func load(root string) (*tree, error) {
	t := newTree(root)
	err := walk(root, func(relative string, d fs.DirEntry) error {
		switch {
		case !d.IsDir() && filepath.Ext(relative) != ".go":
			t.texts = append(t.texts, relative)
			return nil
		case !d.IsDir():
			return nil
		}
		if _, err := os.Stat(filepath.Join(root, relative, "go.mod")); err == nil && relative != "." {
			return nil // another module
		}
		return t.loadPackage(relative)
	})
	return t, err
}

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)

func (t *tree) loadPackage(dir string) error {
	found, err := build.ImportDir(filepath.Join(t.root, dir), 0)
	if none := (*build.NoGoError)(nil); errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return err
	}
	p := &pkg{dir: dir}
	t.packages[dir] = p
	for _, name := range found.GoFiles {
		s := &source{path: filepath.ToSlash(filepath.Join(dir, name))}
		if s.text, err = os.ReadFile(filepath.Join(t.root, s.path)); err != nil {
			return err
		}
		if s.file, err = parser.ParseFile(t.fset, s.path, s.text, parser.SkipObjectResolution); err != nil {
			return err
		}
		p.files = append(p.files, s)
	}
	for _, name := range append(found.TestGoFiles, found.XTestGoFiles...) {
		text, err := os.ReadFile(filepath.Join(t.root, dir, name))
		if err != nil {
			return err
		}
		for _, f := range testFunction.FindAllSubmatch(text, -1) {
			p.tests = append(p.tests, string(f[1]))
		}
	}
	return nil
}

// walk calls visit for each file and folder of the repository in the folder root. It
// skips hidden files and folders, such as .git, and the folder bin, which contains build
// output.
func walk(root string, visit func(relative string, d fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch hidden := strings.HasPrefix(d.Name(), ".") && relative != "."; {
		case d.IsDir() && (hidden || relative == "bin"):
			return filepath.SkipDir
		case hidden || !d.IsDir() && !d.Type().IsRegular():
			return nil
		}
		return visit(filepath.ToSlash(relative), d)
	})
}

// decls returns the declarations of a package.
func (p *pkg) decls() []decl {
	var decls []decl
	add := func(s *source, name string, body ast.Node) {
		decls = append(decls, decl{pkg: p, source: s, name: name, body: body})
	}
	for _, s := range p.files {
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Body != nil {
					add(s, functionName(d), d.Body)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						add(s, spec.Name.Name, spec)
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							add(s, name.Name, spec)
						}
					}
				}
			}
		}
	}
	return decls
}

// functionName returns the name of a function. For a method it returns a name such as
// Elector.Run, even if the receiver is a pointer.
func functionName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	receiver := d.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return r.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// find returns the declaration called name, in the package in the folder dir.
func (t *tree) find(dir, name string) (decl, error) {
	p := t.packages[dir]
	if p == nil {
		return decl{}, fmt.Errorf("there is no package %s", dir)
	}
	for _, d := range p.decls() {
		if d.name == name {
			return d, nil
		}
	}
	return decl{}, fmt.Errorf("package %s has no %s", dir, name)
}

// code returns a function that takes two nodes of the file s. The function returns the
// source code from the start of the first node to the end of the second node.
func (t *tree) code(s *source) func(from, to ast.Node) string {
	return func(from, to ast.Node) string {
		return string(s.text[t.offset(from.Pos()):t.offset(to.End())])
	}
}

func (t *tree) offset(p token.Pos) int { return t.fset.Position(p).Offset }

// at returns the position of n in the form that compilers print, for example a/b.go:6.
func (t *tree) at(n ast.Node) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// firstLine returns the first line of code, followed by "..." if there are more lines.
func firstLine(code string) string {
	line, rest, more := bytes.Cut([]byte(code), []byte("\n"))
	if more && len(bytes.TrimSpace(rest)) > 0 {
		return string(line) + " ..."
	}
	return string(line)
}
