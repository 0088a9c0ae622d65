package check

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// root is the path from this folder to the top folder of the repository.
const root = "../.."

// A source is one parsed Go file. Its path is relative to the top folder of the
// repository.
type source struct {
	path string
	fset *token.FileSet
	file *ast.File
}

// dir returns the folder of the file, relative to the top folder of the repository.
func (s *source) dir() string { return filepath.ToSlash(filepath.Dir(s.path)) }

// base returns the name of the file.
func (s *source) base() string { return filepath.Base(s.path) }

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// isGenerated reports whether the file has the comment that marks generated code.
func (s *source) isGenerated() bool { return ast.IsGenerated(s.file) }

// lines returns the number of lines that node n spans.
func (s *source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// A finding is one violation of a rule.
type finding struct {
	path string
	line int // 0 if the finding concerns the whole file or folder
	text string
}

func (f finding) String() string {
	if f.line == 0 {
		return f.path + ": " + f.text
	}
	return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.text)
}

// at returns a finding at the position of the node n. The other parameters are the
// format and the arguments of the finding's text.
func (s *source) at(n ast.Node, format string, args ...any) finding {
	return finding{path: s.path, line: s.fset.Position(n.Pos()).Line, text: fmt.Sprintf(format, args...)}
}

// report reports each finding as an error of the test.
func report(t *testing.T, findings []finding) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

// files returns the paths of all files that have one of the extensions. It skips
// the folders testdata and bin, and all hidden folders except .github.
func files(extensions ...string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".github" || d.Name() == "testdata" || d.Name() == "bin"):
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains(extensions, filepath.Ext(path)):
			return nil
		}
		rel, err := filepath.Rel(root, path)
		found = append(found, filepath.ToSlash(rel))
		return err
	})
	return found, err
}

// parseAll parses every Go file of the repository, including the files of nested
// modules. Only the first call parses the files. Later calls return the same
// result.
var parseAll = sync.OnceValues(func() ([]*source, error) {
	paths, err := files(".go")
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var all []*source
	for _, path := range paths {
		file, err := parser.ParseFile(fset, filepath.Join(root, path), nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		all = append(all, &source{path: path, fset: fset, file: file})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("bug: found no Go files to check")
	}
	return all, nil
})

// sources returns every Go file of the repository, including tests.
func sources(t *testing.T) []*source {
	t.Helper()
	all, err := parseAll()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// code returns the Go files of the repository that are not tests.
func code(t *testing.T) []*source {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(sources(t)), (*source).isTest)
}

// in returns the files that are in the folder dir itself, not in a subfolder.
func in(all []*source, dir string) []*source {
	return slices.DeleteFunc(slices.Clone(all), func(s *source) bool { return s.dir() != dir })
}

// byDir groups the files by their folder.
func byDir(all []*source) map[string][]*source {
	dirs := map[string][]*source{}
	for _, s := range all {
		dirs[s.dir()] = append(dirs[s.dir()], s)
	}
	return dirs
}

// example parses the Go files in the folder testdata/<name>. It replaces the folder in
// the path of each file by dir, because many rules depend on the folder of a file.
func example(t *testing.T, name, dir string) []*source {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", name, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("testdata/%s: %v, %d files", name, err, len(paths))
	}
	fset := token.NewFileSet()
	var all []*source
	for _, path := range paths {
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &source{path: dir + "/" + filepath.Base(path), fset: fset, file: file})
	}
	return all
}

// compare fails the test unless the list got contains exactly the expected findings. A
// comment "// want: text" expects a finding on the line of the comment. The message of
// the finding must contain the text. A finding about a whole file is expected on line
// 1.
func compare(t *testing.T, all []*source, got []finding) {
	t.Helper()
	type place struct {
		path string
		line int
	}
	wanted := map[place]string{}
	for _, s := range all {
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if _, text, found := strings.Cut(c.Text, "want: "); found {
					wanted[place{s.path, s.fset.Position(c.Pos()).Line}] = text
				}
			}
		}
	}
	for _, f := range got {
		p := place{f.path, max(f.line, 1)}
		if want, found := wanted[p]; !found || !strings.Contains(f.text, want) {
			t.Errorf("unexpected finding: %v (want %q)", f, want)
		}
		delete(wanted, p)
	}
	for p, text := range wanted {
		t.Errorf("%s:%d: no finding %q", p.path, p.line, text)
	}
}
