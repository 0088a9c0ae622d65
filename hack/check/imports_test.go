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

// direction lists what a package and the packages below it may import. The longest
// matching folder decides.
var direction = map[string]struct {
	own   []string // packages of this module, and what is below them
	other []string // modules, or folders of modules
	any   bool     // any module that go.mod has
}{
	// A service that needs one active replica gets few dependencies.
	core: {
		own:   []string{core},
		other: []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery", "github.com/go-logr/logr", "golang.org/x/sys"},
	},
	// Users' tests import it beside the versions that they have.
	coreTesting: {
		own:   []string{core + "/internal/apipath"},
		other: []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery"},
	},
	core + "/metrics": {
		own:   []string{core},
		other: []string{"github.com/prometheus/client_golang/prometheus"},
	},
	// A command, which no package imports.
	core + "/kubectl-lease": {own: []string{core}, any: true},
	"manager":               {own: []string{core, "manager"}, any: true},
	"envtest":               {own: []string{core, "envtest"}, any: true},
	"hack":                  {own: []string{core, "manager", "envtest", "hack"}, any: true},
}

func TestImports_PackagesImportOnlyWhatTheyMay(t *testing.T) {
	report(t, wrongImports(code(t)))
}

func TestImports_PackagesCanImportTooMuch(t *testing.T) {
	all := example(t, "imports", core+"/metrics")
	compare(t, all, wrongImports(all))
	if got := wrongImports(example(t, "imports", "new")); len(got) != 1 {
		t.Errorf("%v, want that no rule covers the folder", got)
	}
}

// wrongImports finds imports that direction does not permit.
func wrongImports(all []*source) []finding {
	var found []finding
	for _, s := range all {
		rules, known := direction[ruleFor(s.dir())]
		if !known {
			found = append(found, finding{path: s.path, text: "no rule states what " + s.dir() + " may import"})
			continue
		}
		for _, spec := range s.file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			own, isOwn := strings.CutPrefix(imported, module+"/")
			switch {
			case isOwn && !under(own, rules.own):
				found = append(found, s.at(spec, "%s may not import %s", s.dir(), imported))
			case !isOwn && isExternal(imported) && !rules.any && !under(imported, rules.other):
				found = append(found, s.at(spec, "%s may import the standard library and %q, not %s", s.dir(), rules.other, imported))
			}
		}
	}
	return found
}

// An indirect import would also reach users' go.sum and binaries.
func TestImports_CoreDoesNotReachControllerRuntime(t *testing.T) {
	mustNotReach(t, []string{"./" + core + "/..."}, controllerRuntime, module+"/manager", module+"/envtest")
}

// Programs without metrics do not link Prometheus' library.
func TestImports_CoreDoesNotReachPrometheus(t *testing.T) {
	mustNotReach(t, []string{"./" + core, "./" + core + "/health", "./" + core + "/routing", "./" + core + "/status"},
		"github.com/prometheus", module+"/"+core+"/metrics")
}

// mustNotReach fails the test if the packages depend on one of the others.
func mustNotReach(t *testing.T, packages []string, others ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, packages...)...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		if under(dep, others) {
			t.Errorf("%s depends on %s", packages, dep)
		}
	}
}

// ruleFor returns the longest folder with a rule that contains dir.
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

// isExternal reports whether a package is not in the standard library, whose paths
// have no dot in their first part.
func isExternal(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".")
}
