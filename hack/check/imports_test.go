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

// direction maps a folder to the packages that the code in the folder may import. A
// folder that is not in the map has the same rule as its nearest parent folder in the
// map.
var direction = map[string]struct {
	own   []string // the permitted packages of this module, and all packages below them
	other []string // the permitted packages of other modules, and all packages below them
	any   bool     // true if all packages of other modules are permitted
}{
	// The core may depend on few modules only, because every program that elects a
	// leader also depends on these modules.
	core: {
		own:   []string{core},
		other: []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/utils/ptr", "github.com/go-logr/logr", "golang.org/x/sys"},
	},
	// Users import this package in their tests. The package must work with the
	// library versions that the users have. Therefore the package may depend on few
	// libraries only.
	coreTesting: {
		own:   []string{core + "/internal/apipath"},
		other: []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery"},
	},
	core + "/metrics": {
		own:   []string{core},
		other: []string{"github.com/prometheus/client_golang/prometheus"},
	},
	// A module of its own, which only users of OpenTelemetry require.
	core + "/otel": {
		own:   []string{core},
		other: []string{"go.opentelemetry.io/otel"},
	},
	// No package imports this command, so the command may have any dependency. The
	// command imports hack/manifests because it prints the YAML manifests in that
	// package.
	core + "/kubectl-lease": {own: []string{core, "hack/manifests"}, any: true},
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

// wrongImports returns a finding for each import that the map direction does not
// permit.
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

// The core must not depend on controller-runtime, neither directly nor indirectly. A
// dependency would add controller-runtime to every program that imports the core.
func TestImports_CoreDoesNotReachControllerRuntime(t *testing.T) {
	mustNotReach(t, []string{"./" + core + "/..."}, controllerRuntime, module+"/manager", module+"/envtest")
}

// Programs that do not import package metrics must not link Prometheus' library.
func TestImports_CoreDoesNotReachPrometheus(t *testing.T) {
	mustNotReach(t, []string{"./" + core, "./" + core + "/health", "./" + core + "/routing", "./" + core + "/status"},
		"github.com/prometheus", module+"/"+core+"/metrics")
}

// Programs that do not import package otel must not link OpenTelemetry's library.
func TestImports_CoreDoesNotReachOpenTelemetry(t *testing.T) {
	mustNotReach(t, []string{"./" + core, "./" + core + "/health", "./" + core + "/metrics", "./" + core + "/routing", "./" + core + "/status"},
		"go.opentelemetry.io")
}

// Only the command kubectl-lease may depend on cobra. Therefore the test checks all
// packages except this command.
func TestImports_PackagesDoNotReachCobra(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "./"+core+"/...", "./manager/...", "./envtest/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return under(p, []string{module + "/" + core + "/kubectl-lease"}) })
	mustNotReach(t, packages, "github.com/spf13/cobra")
}

// mustNotReach fails the test if a package in the parameter packages depends on a
// package in the parameter others, directly or indirectly.
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

// ruleFor returns the key of the map direction that applies to the folder dir: dir
// itself, or the nearest parent folder in the map. It returns "" if the map contains
// neither dir nor a parent folder of dir.
func ruleFor(dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, found := direction[dir]; found {
			return dir
		}
	}
	return ""
}

// under reports whether the path p is one of the paths in parents, or is below one
// of these paths.
func under(p string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool {
		return p == parent || strings.HasPrefix(p, parent+"/")
	})
}

// isExternal reports whether package p is outside of the standard library. Import
// paths of the standard library have no dot before the first slash.
func isExternal(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".")
}
