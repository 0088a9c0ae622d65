package check

import (
	"bytes"
	"errors"
	"go/ast"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The limits are for code; tests about as long as the code are welcome, and a
// scenario told in one piece reads better than one cut into helpers.
const (
	maxFileLines     = 300
	maxFunctionLines = 60
	maxReadmeLines   = 150
)

func TestSize_FilesAndFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		if n := s.fset.File(s.file.Pos()).LineCount(); n > maxFileLines {
			t.Errorf("%s: %d lines, at most %d", s.path, n, maxFileLines)
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && s.lines(f) > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, at most %d", s.at(f), f.Name.Name, s.lines(f), maxFunctionLines)
			}
		}
	}
}

func TestSize_ReadmeIsShort(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > maxReadmeLines {
		t.Errorf("README.md has %d lines, at most %d", n, maxReadmeLines)
	}
}

// Who lists the repository sees what there is to see, and nothing else.
func TestLayout_TopLevel(t *testing.T) {
	allowed := []string{"LICENSE", "Makefile", "README.md", "envtest", "go.mod", "go.sum", "hack", "leaderelection", "manager"}
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	seen := map[string]bool{}
	for path := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(path), "/")
		if !seen[top] && !strings.HasPrefix(top, ".") && !slices.Contains(allowed, top) {
			t.Errorf("%s is not part of the layout: %q", top, allowed)
		}
		seen[top] = true
	}
}
