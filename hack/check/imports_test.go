package check

import (
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module            = "github.com/haproxy-template-ic/incumbent"
	core              = "leaderelection"
	coreTesting       = "leaderelection/leaderelectiontest"
	controllerRuntime = "sigs.k8s.io/controller-runtime"
)

// direction says what a package and the packages below it may import. The
// longest matching folder decides.
var direction = map[string]struct {
	own   []string // packages of this module, and what is below them
	other []string // modules, or folders of modules
	any   bool     // any module that go.mod has
}{
	// Whoever wants one active replica gets a small dependency.
	core: {
		own:   []string{core},
		other: []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery", "github.com/go-logr/logr", "golang.org/x/sys"},
	},
	// Users' tests import it beside whatever versions they have.
	coreTesting: {
		own:   []string{core + "/internal/apipath"},
		other: []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery"},
	},
	core + "/metrics": {
		own:   []string{core},
		other: []string{"github.com/prometheus/client_golang/prometheus"},
	},
	"manager": {own: []string{core, "manager"}, any: true},
	"envtest": {own: []string{core, "envtest"}, any: true},
	"hack":    {own: []string{core, "manager", "envtest", "hack"}, any: true},
}

func TestImports_PackagesImportOnlyWhatTheyMay(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		rules, found := direction[ruleFor(s.dir())]
		if !found {
			t.Errorf("%s: no rule says what %s may import", s.path, s.dir())
			continue
		}
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			own, isOwn := strings.CutPrefix(imported, module+"/")
			switch {
			case isOwn && !under(own, rules.own):
				t.Errorf("%s: %s may not import %s", s.at(spec), s.dir(), imported)
			case !isOwn && isExternal(imported) && !rules.any && !under(imported, rules.other):
				t.Errorf("%s: %s may import the standard library and %q, not %s", s.at(spec), s.dir(), rules.other, imported)
			}
		}
	}
}

// Not even by way of another package: it would land in users' go.sum and binaries.
func TestImports_CoreDoesNotReachControllerRuntime(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+core+"/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if under(dep, []string{controllerRuntime, module + "/manager", module + "/envtest"}) {
			t.Errorf("%s reaches %s", core, dep)
		}
	}
}

// Nor does whoever wants no metrics get what they are made of.
func TestImports_CoreDoesNotReachPrometheus(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+core, "./"+core+"/health", "./"+core+"/routing", "./"+core+"/status")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if under(dep, []string{"github.com/prometheus", module + "/" + core + "/metrics"}) {
			t.Errorf("%s reaches %s", core, dep)
		}
	}
}

// ruleFor is the longest folder with a rule that holds dir.
func ruleFor(dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, found := direction[dir]; found {
			return dir
		}
	}
	return ""
}

// under reports whether the path is one of these or below one of them.
func under(p string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool {
		return p == parent || strings.HasPrefix(p, parent+"/")
	})
}

// isExternal tells modules from the standard library, whose paths have no dot
// in their first part.
func isExternal(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".")
}
