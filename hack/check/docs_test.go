package check

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"testing"
)

func TestDocs_EveryPackageHasAComment(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if !s.isTest() {
			documented[s.dir()] = documented[s.dir()] || s.file.Doc != nil
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			t.Errorf("%s: the package has no comment", dir)
		}
	}
}

func TestDocs_EveryExportedNameIsDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || s.file.Name.Name == "main" {
			continue
		}
		for _, name := range undocumented(s.fset, s.file) {
			t.Error(s.at(name, "exported %s is not documented", name.Name))
		}
	}
}

// undocumented returns the exported names in file that have no comment.
func undocumented(fset *token.FileSet, file *ast.File) []*ast.Ident {
	var found []*ast.Ident
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
				found = append(found, d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				found = append(found, undocumentedSpec(fset, d, spec)...)
			}
		}
	}
	return found
}

func undocumentedSpec(fset *token.FileSet, d *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return nil
		}
		found := undocumentedMembers(fset, s.Type)
		if s.Doc == nil && d.Doc == nil {
			found = append(found, s.Name)
		}
		return found
	case *ast.ValueSpec:
		// A comment above a group of constants or variables documents all of them.
		if s.Doc != nil || s.Comment != nil || d.Doc != nil {
			return nil
		}
		return exported(s.Names)
	}
	return nil
}

// undocumentedMembers returns the exported fields of a struct, or the exported
// methods of an interface, that have no comment. It skips embedded types, because
// they have their own documentation. If a member has a comment, the comment also
// covers the members on the lines directly below. For example, one comment "X and Y
// are the corners." covers the fields X and Y.
func undocumentedMembers(fset *token.FileSet, expr ast.Expr) []*ast.Ident {
	var members *ast.FieldList
	switch e := expr.(type) {
	case *ast.StructType:
		members = e.Fields
	case *ast.InterfaceType:
		members = e.Methods
	default:
		return nil
	}
	var found []*ast.Ident
	covered := -1 // the line of the last member that a comment covers
	for _, m := range members.List {
		if m.Doc == nil && m.Comment == nil && fset.Position(m.Pos()).Line != covered+1 {
			found = append(found, exported(m.Names)...)
			continue
		}
		covered = fset.Position(m.End()).Line
	}
	return found
}

func exported(names []*ast.Ident) []*ast.Ident {
	return slices.DeleteFunc(slices.Clone(names), func(n *ast.Ident) bool { return !n.IsExported() })
}

// exportedReceiver reports whether d is a function without a receiver, or a method
// of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	return ast.IsExported(receiver(d))
}

func TestDocs_CommentsCanBeMissing(t *testing.T) {
	const text = `package p
type T struct {
	F int
	// X and Y are the corners.
	X int
	Y int

	Z, z int
}
// I is documented.
type I interface { M() }
func (T) N() {}
func (t) O() {}
const C = 1
// Of one kind.
const ( D = 1; E = 2 )
func f() {}
`
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range undocumented(fset, file) {
		names = append(names, n.Name)
	}
	if want := []string{"F", "Z", "T", "M", "N", "C"}; !slices.Equal(names, want) {
		t.Errorf("undocumented = %q, want %q", names, want)
	}
}
