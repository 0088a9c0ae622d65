package check

import (
	"bytes"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// These limits do not apply to tests. A long test is easier to read than a test that is
// split into many helper functions.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
	maxStoryLines    = 110
	maxReadmeLines   = 110
)

// stories maps a folder to the functions in the folder that may have up to
// maxStoryLines lines. Each of these functions describes a whole procedure, from
// beginning to end.
var stories = map[string][]string{
	core: {"run", "lead", "stop"},
}

func TestSize_FilesAndFunctionsAreShort(t *testing.T) {
	report(t, tooLong(code(t)))
}

func TestSize_FunctionsCanBeTooLong(t *testing.T) {
	all := example(t, "long", core)
	compare(t, all, tooLong(all))
}

func TestSize_FilesCanBeTooLong(t *testing.T) {
	long := example(t, "long", core)
	if got := tooLong(long); len(got) != 3 {
		t.Errorf("%d findings, want 3: a file, a story and a function", len(got))
	}
}

// tooLong finds files and functions that have too many lines.
func tooLong(all []*source) []finding {
	var found []finding
	for _, s := range all {
		if s.isGenerated() {
			continue
		}
		if n := s.fset.File(s.file.Pos()).LineCount() - 1; n > maxFileLines {
			found = append(found, s.at(s.file, "%d lines, at most %d", n, maxFileLines))
		}
		for _, f := range functions(s) {
			most := maxFunctionLines
			if slices.Contains(stories[s.dir()], f.Name.Name) {
				most = maxStoryLines
			}
			if n := s.lines(f); n > most {
				found = append(found, s.at(f, "%s has %d lines, at most %d", f.Name.Name, n, most))
			}
		}
	}
	return found
}

func TestSize_ReadmeIsShort(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > maxReadmeLines {
		t.Errorf("README.md has %d lines, at most %d", n, maxReadmeLines)
	}
}

// functions returns the functions and methods of a file.
func functions(s *source) []*ast.FuncDecl {
	var found []*ast.FuncDecl
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			found = append(found, f)
		}
	}
	return found
}

// receiver returns the name of the type that method f belongs to.
func receiver(f *ast.FuncDecl) string {
	var name string
	ast.Inspect(f.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name
		}
		return name == ""
	})
	return strings.TrimSpace(name)
}
