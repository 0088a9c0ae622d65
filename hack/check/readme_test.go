package check

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// packages maps the package names in the code blocks of Markdown files to import
// paths.
var packages = map[string]string{
	"client":             "sigs.k8s.io/controller-runtime/pkg/client",
	"context":            "context",
	"ctrl":               "sigs.k8s.io/controller-runtime",
	"errors":             "errors",
	"fmt":                "fmt",
	"electortest":        module + "/leaderelection/electortest",
	"health":             module + "/leaderelection/health",
	"kubernetes":         "k8s.io/client-go/kubernetes",
	"leaderelection":     module + "/leaderelection",
	"leaderelectiontest": module + "/leaderelection/leaderelectiontest",
	"log":                "log",
	"manager":            module + "/manager",
	"metrics":            module + "/leaderelection/metrics",
	"os":                 "os",
	"rest":               "k8s.io/client-go/rest",
	"rights":             module + "/leaderelection/rights",
	"signal":             "os/signal",
	"slog":               "log/slog",
	"syscall":            "syscall",
	"time":               "time",
}

// prelude declares the names that code blocks in Markdown use but do not declare.
const prelude = `
func work(ctx context.Context) { _ = ctx }
var (
	config         *leaderelection.Config
	clientset      kubernetes.Interface
	elector        *leaderelection.Elector
	callbacks      leaderelection.Callbacks
	logger         *slog.Logger
	err            error
)
`

var blockPattern = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// The Go code in both README files must compile, because users copy this code.
func TestReadme_CodeCompiles(t *testing.T) {
	for page, least := range map[string]int{"README.md": 2, core + "/README.md": 2} {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		blocks := blockPattern.FindAllStringSubmatch(string(text), -1)
		if len(blocks) < least {
			t.Errorf("%s has %d blocks of Go, want %d or more", page, len(blocks), least)
		}
		for i, block := range blocks {
			for _, err := range compile(t, block[1]) {
				t.Errorf("%s, block %d: %v\n%s", page, i+1, err, block[1])
			}
		}
	}
}

func TestReadme_CodeCanBeBroken(t *testing.T) {
	for text, want := range map[string]string{
		"elector, err := leaderelection.New(config, clientset, callbacks, logger)": "",
		"func main() { leaderelection.New(config, clientset) }":                    "not enough arguments",
		"config := &leaderelection.Config{Enable: true}":                           "unknown field Enable",
		"elector.Run(": "expected",
	} {
		errs := compile(t, text)
		switch {
		case want == "" && len(errs) > 0:
			t.Errorf("%s: %v, want no error", text, errs)
		case want != "" && (len(errs) == 0 || !strings.Contains(errs[0].Error(), want)):
			t.Errorf("%s: %v, want an error with %q", text, errs, want)
		}
	}
}

// compile type-checks one code block and returns the errors. If the block consists
// of statements, compile puts the statements into a function. Unused variables are
// not errors.
func compile(t *testing.T, block string) []error {
	t.Helper()
	if !strings.HasPrefix(block, "func ") && !strings.HasPrefix(block, "var ") && !strings.HasPrefix(block, "type ") {
		block = "func example(ctx context.Context) {\n" + block + "\n}"
	}
	body := prelude + block
	var imports strings.Builder
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(body) {
			fmt.Fprintf(&imports, "import %s %q\n", name, packages[name])
		}
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "page.go", "package main\n"+imports.String()+body, parser.SkipObjectResolution)
	if err != nil {
		return []error{err}
	}
	var errs []error
	config := types.Config{Importer: newImporter(t, fset), Error: func(err error) {
		if !strings.Contains(err.Error(), "declared and not used") {
			errs = append(errs, err)
		}
	}}
	_, _ = config.Check("main", fset, []*ast.File{file}, nil) // config.Error receives each error
	return errs
}
