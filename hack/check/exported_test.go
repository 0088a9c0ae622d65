package check

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write exported.txt")

// The file exported.txt must list all exported names of the public packages, with the
// signatures of functions and the types of fields. Therefore the diff of this file shows
// each change of the public API.
func TestExported_NamesAreRecorded(t *testing.T) {
	var public []*source
	for _, s := range code(t) {
		if !under(s.dir(), []string{"hack"}) && !strings.Contains(s.dir()+"/", "/internal/") && s.file.Name.Name != "main" {
			public = append(public, s)
		}
	}
	got := exportedNames(public)
	if *update {
		if err := os.WriteFile("exported.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile("exported.txt")
	if err != nil {
		t.Fatal(err)
	}
	recorded := strings.Split(string(text), "\n")
	now := strings.Split(got, "\n")
	for _, line := range now {
		if !slices.Contains(recorded, line) {
			t.Errorf("exported.txt does not have %q", line)
		}
	}
	for _, line := range recorded {
		if !slices.Contains(now, line) {
			t.Errorf("exported.txt has %q, which the code has not", line)
		}
	}
	if t.Failed() {
		t.Log("if that is intended: go test ./hack/check -run Exported_Names -update")
	}
}

func TestExported_NamesAreFound(t *testing.T) {
	const want = `exported: 9
	exported.Constant
	exported.Embedded
	exported.Function(n int) error
	exported.Interface
	exported.Interface.Method()
	exported.Struct
	exported.Struct.Field int
	exported.Struct.Method()
	exported.Variable
`
	if got := exportedNames(example(t, "exported", "exported")); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// exportedNames returns the text of exported.txt. For each package, the text contains
// the number of exported names and a list of these names. Methods and the fields of
// structs are included. The name of a parameter is part of the text.
func exportedNames(all []*source) string {
	var out strings.Builder
	dirs := byDir(all)
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		names := map[string]bool{} // a set, because files for different operating systems may declare the same name
		for _, s := range dirs[dir] {
			for _, decl := range s.file.Decls {
				for _, name := range exportedBy(decl) {
					names[name] = true
				}
			}
		}
		fmt.Fprintf(&out, "%s: %d\n", dir, len(names))
		for _, name := range slices.Sorted(maps.Keys(names)) {
			fmt.Fprintf(&out, "\t%s.%s\n", dir, name)
		}
	}
	return out.String()
}

// exportedBy returns the exported names that decl declares.
func exportedBy(decl ast.Decl) []string {
	var names []string
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() || !exportedReceiver(d) {
			return nil
		}
		name := d.Name.Name + signature(d.Type)
		if d.Recv != nil {
			name = receiver(d) + "." + name
		}
		return []string{name}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				for _, id := range exported(s.Names) {
					names = append(names, id.Name)
				}
			case *ast.TypeSpec:
				if !s.Name.IsExported() {
					continue
				}
				names = append(names, s.Name.Name)
				names = append(names, members(s)...)
			}
		}
	}
	return names
}

// members returns the exported fields or methods of a struct or an interface.
func members(s *ast.TypeSpec) []string {
	var names []string
	add := func(f *ast.Field, text string) {
		for _, id := range exported(f.Names) {
			names = append(names, s.Name.Name+"."+id.Name+text)
		}
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		for _, f := range t.Fields.List {
			add(f, " "+strings.Join(strings.Fields(format(f.Type)), " "))
		}
	case *ast.InterfaceType:
		for _, f := range t.Methods.List {
			if method, ok := f.Type.(*ast.FuncType); ok {
				add(f, signature(method))
			}
		}
	}
	return names
}

// signature returns the type of a function without the word func, on one line.
func signature(f *ast.FuncType) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(format(f), "func")), " ")
}

// A helper function that two packages need must be in a package that both packages
// import. Copies of helper functions are not permitted.
func TestExported_NoHelperExistsTwice(t *testing.T) {
	nested := []string{core + "/otel", "hack/controlplane", "hack/migration/leaderforlife", "hack/promcheck", "hack/tokens", "hack/tools", "hack/upstream"}
	report(t, copies(slices.DeleteFunc(code(t), func(s *source) bool { return under(s.dir(), nested) })))
}

func TestExported_AHelperCanExistTwice(t *testing.T) {
	one, two := example(t, "exported", "one"), example(t, "exported", "two")
	if got := copies(one); len(got) != 0 {
		t.Errorf("%v, want no findings in one package", got)
	}
	got := copies(slices.Concat(one, two))
	if len(got) != 1 || !strings.Contains(got[0].text, "helper") || !strings.HasPrefix(got[0].path, "two/") {
		t.Errorf("%v, want helper in two/, and not init", got)
	}
}

// copies finds unexported functions that exist in two packages with the same name
// and the same body.
func copies(all []*source) []finding {
	first := map[string]*source{}
	var found []finding
	for _, s := range all {
		for _, f := range functions(s) {
			if f.Recv != nil || f.Name.IsExported() || f.Body == nil || f.Name.Name == "main" || f.Name.Name == "init" {
				continue
			}
			key := f.Name.Name + format(f.Body)
			switch other := first[key]; {
			case other == nil:
				first[key] = s
			case other.dir() != s.dir():
				found = append(found, s.at(f, "the helper %s also exists in %s", f.Name.Name, other.path))
			}
		}
	}
	return found
}

// format returns the source code of n, formatted and without comments.
func format(n ast.Node) string {
	var out bytes.Buffer
	if err := printer.Fprint(&out, token.NewFileSet(), n); err != nil {
		panic(fmt.Sprintf("bug: %v", err))
	}
	return out.String()
}
