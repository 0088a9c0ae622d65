package adopt_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/adopt"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

func open(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func plan(t *testing.T, dir string) *adopt.Plan {
	t.Helper()
	p, err := adopt.Make(open(t, dir), "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// adopted adopts the operator in a folder and returns its files.
func adopted(t *testing.T, dir string) map[string]string {
	t.Helper()
	if err := plan(t, dir).Write(open(t, dir)); err != nil {
		t.Fatal(err)
	}
	return readFiles(t, dir)
}

// lines returns the lines that after adds to before, and those that it removes.
func lines(before, after string) (added, removed []string) {
	a, b := strings.Split(after, "\n"), strings.Split(before, "\n")
	for _, line := range a {
		if !slices.Contains(b, line) {
			added = append(added, strings.TrimSpace(line))
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			removed = append(removed, strings.TrimSpace(line))
		}
	}
	return added, removed
}

func TestMake_AdoptsEachScaffold(t *testing.T) {
	for name, s := range scaffolds {
		t.Run(name, func(t *testing.T) {
			dir := s.write(t)
			before := readFiles(t, dir)
			after := adopted(t, dir)
			var changed []string
			for _, file := range slices.Sorted(maps.Keys(after)) {
				if before[file] != after[file] {
					changed = append(changed, file)
				}
			}
			same(t, []string{"cmd/main.go", "config/manager/manager.yaml", "config/rbac/leader_election_role.yaml"}, changed)

			added, removed := lines(before["cmd/main.go"], after["cmd/main.go"])
			same(t, []string{
				`"github.com/haproxy-template-ic/incumbent/manager"`,
				`mgr, err := manager.New(ctrl.GetConfigOrDie(), ctrl.Options{`,
				`if err := mgr.AddHealthzCheck("healthz", manager.Live(mgr)); err != nil {`,
				`if err := mgr.AddReadyzCheck("readyz", manager.Ready(mgr)); err != nil {`,
			}, added)
			same(t, []string{
				`"sigs.k8s.io/controller-runtime/pkg/healthz"`,
				`mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{`,
				`if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {`,
				`if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {`,
			}, removed)
			same(t, strings.Replace(before["config/rbac/leader_election_role.yaml"], "update # renewals\n", "update # renewals\n  - watch\n", 1), after["config/rbac/leader_election_role.yaml"])
			_, removed = lines(before["config/manager/manager.yaml"], after["config/manager/manager.yaml"])
			same(t, nil, removed)
			container := containerOf(t, after["config/manager/manager.yaml"])
			var variables []string
			for _, v := range container.Env {
				if v.ValueFrom != nil {
					variables = append(variables, v.Name+" "+v.ValueFrom.FieldRef.FieldPath)
				}
			}
			same(t, []string{"POD_NAME metadata.name", "POD_NAMESPACE metadata.namespace", "POD_UID metadata.uid"}, variables)
			if again := plan(t, dir); len(again.Changes) > 0 {
				t.Errorf("the second run changes\n%s", again.Diff())
			}
		})
	}
}

// containerOf returns the container of the last document, which must be a Deployment.
func containerOf(t *testing.T, text string) corev1.Container {
	t.Helper()
	_, text, _ = strings.Cut(text, "---\n")
	var deployment appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(text), &deployment); err != nil {
		t.Fatal(err)
	}
	return deployment.Spec.Template.Spec.Containers[0]
}

func TestMake_RoleGrantsAllRights(t *testing.T) {
	for name, text := range map[string]string{
		"nothing but the Lease": "kind: Role\nrules:\n# the Lease\n- apiGroups: [coordination.k8s.io]\n  resources: [leases]\n  verbs: [get]\n",
		"resourceNames":         "kind: Role\nrules:\n- apiGroups: [coordination.k8s.io]\n  resources: [leases]\n  resourceNames: [my-lease]\n  verbs: [get]\n",
		"two resources":         "kind: Role\nrules:\n- apiGroups: [coordination.k8s.io]\n  resources: [leases, others]\n  verbs:\n  - get\n",
		"in one line":           "kind: Role\nrules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get]}]\n",
		"indented lists":        "kind: Role\nrules:\n  - apiGroups:\n      - coordination.k8s.io\n    resources:\n      - leases\n    verbs:\n      - get",
		"as JSON":               `{"kind": "Role", "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]}]}`,
		"Windows":               "kind: Role\r\nrules:\r\n- apiGroups: [coordination.k8s.io]\r\n  resources: [leases]\r\n  verbs:\r\n  - get\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := scaffold{}.write(t)
			const file = "config/rbac/leader_election_role.yaml"
			writeFiles(t, dir, map[string]string{file: text})
			after := adopted(t, dir)[file]
			var role rbacv1.Role
			if err := yaml.UnmarshalStrict([]byte(after), &role); err != nil {
				t.Fatalf("%v in\n%s", err, after)
			}
			for _, right := range (rights.Uses{Events: true, PodEvents: true}).Rights() {
				if !slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
					return slices.Contains(r.APIGroups, right.Group) && slices.Contains(r.Resources, right.Resource) && slices.Contains(r.Verbs, right.Verb) &&
						(right.Verb != "create" || len(r.ResourceNames) == 0)
				}) {
					t.Errorf("the Role does not grant %s:\n%s", right, after)
				}
			}
			for _, r := range role.Rules {
				if slices.Contains(r.Resources, "others") && len(r.Verbs) > 1 {
					t.Errorf("the Role grants more rights to others:\n%s", after)
				}
			}
			if strings.Contains(text, "\r\n") && strings.Count(after, "\n") != strings.Count(after, "\r\n") {
				t.Errorf("the line breaks are mixed: %q", after)
			}
		})
	}
}

func TestMake_AddsProbesOnlyIfTheProgramServesThem(t *testing.T) {
	dir := scaffold{}.write(t)
	const file = "config/manager/manager.yaml"
	before, rest, _ := strings.Cut(managerWithout(t, dir), "        livenessProbe:")
	_, rest, _ = strings.Cut(rest, "        # More info")
	writeFiles(t, dir, map[string]string{file: before + "        # More info" + rest})
	container := containerOf(t, adopted(t, dir)[file])
	same(t, "/healthz 8081 /readyz 8081", fmt.Sprint(container.LivenessProbe.HTTPGet.Path, " ", container.LivenessProbe.HTTPGet.Port.String(), " ",
		container.ReadinessProbe.HTTPGet.Path, " ", container.ReadinessProbe.HTTPGet.Port.String()))

	writeFiles(t, dir, map[string]string{
		file:          before + "        # More info" + rest,
		"cmd/main.go": "package main\n\nimport ctrl \"sigs.k8s.io/controller-runtime\"\n\nfunc main() {\n\t_, _ = ctrl.NewManager(nil, ctrl.Options{})\n}\n",
	})
	notes := strings.Join(plan(t, dir).Notes, "\n")
	container = containerOf(t, adopted(t, dir)[file])
	if container.LivenessProbe != nil || container.ReadinessProbe != nil {
		t.Error("the Deployment has a probe that the program does not serve")
	}
	for _, want := range []string{"has no livenessProbe", "has no readinessProbe", "has no readiness check"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note contains %q:\n%s", want, notes)
		}
	}
}

func managerWithout(t *testing.T, dir string) string {
	t.Helper()
	return readFiles(t, dir)["config/manager/manager.yaml"]
}

func TestMake_KeepsOtherSourcesOfVariables(t *testing.T) {
	for name, env := range map[string]string{
		"block": "        env:\n        - name: POD_NAME\n          value: mine\n",
		"flow":  "        env: [{name: POD_NAME, value: mine}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := scaffold{}.write(t)
			const file = "config/manager/manager.yaml"
			writeFiles(t, dir, map[string]string{file: strings.Replace(managerWithout(t, dir), "        ports:\n", env+"        ports:\n", 1)})
			notes := strings.Join(plan(t, dir).Notes, "\n")
			if !strings.Contains(notes, "sets POD_NAME from another source than metadata.name") {
				t.Errorf("no note about POD_NAME:\n%s", notes)
			}
			names := map[string]string{}
			for _, v := range containerOf(t, adopted(t, dir)[file]).Env {
				names[v.Name] += v.Value + "."
			}
			same(t, map[string]string{"POD_NAME": "mine.", "POD_NAMESPACE": ".", "POD_UID": "."}, names)
		})
	}
}

// Each main.go keeps everything but the call that creates the Manager.
func TestMake_ChangesUnusualPrograms(t *testing.T) {
	for name, program := range map[string]struct{ before, want string }{
		"another name of the package": {
			"import cr \"sigs.k8s.io/controller-runtime\"\n\nfunc main() { _, _ = cr.NewManager(nil, cr.Options{}) }\n",
			"import \"github.com/haproxy-template-ic/incumbent/manager\"\nimport cr \"sigs.k8s.io/controller-runtime\"\n\nfunc main() { _, _ = manager.New(nil, cr.Options{}) }\n",
		},
		"no name of the package": {
			"import (\n\t\"sigs.k8s.io/controller-runtime\"\n)\n\nfunc main() { _, _ = controllerruntime.NewManager(nil, controllerruntime.Options{}) }\n",
			"import (\n\t\"github.com/haproxy-template-ic/incumbent/manager\"\n\t\"sigs.k8s.io/controller-runtime\"\n)\n\nfunc main() { _, _ = manager.New(nil, controllerruntime.Options{}) }\n",
		},
		"package manager of controller-runtime": {
			"import (\n\t\"sigs.k8s.io/controller-runtime/pkg/manager\"\n)\n\nfunc main() { _, _ = manager.New(nil, manager.Options{}) }\n",
			"import (\n\tincumbentmanager \"github.com/haproxy-template-ic/incumbent/manager\"\n\t\"sigs.k8s.io/controller-runtime/pkg/manager\"\n)\n\nfunc main() { _, _ = incumbentmanager.New(nil, manager.Options{}) }\n",
		},
		"a variable with the name manager": {
			"import (\n\tctrl \"sigs.k8s.io/controller-runtime\"\n)\n\nfunc main() {\n\tmanager, _ := ctrl.NewManager(nil, ctrl.Options{})\n\t_ = manager\n}\n",
			"import (\n\tincumbentmanager \"github.com/haproxy-template-ic/incumbent/manager\"\n\tctrl \"sigs.k8s.io/controller-runtime\"\n)\n\nfunc main() {\n\tmanager, _ := incumbentmanager.New(nil, ctrl.Options{})\n\t_ = manager\n}\n",
		},
		"controller-runtime is not used any more": {
			"import (\n\tctrl \"sigs.k8s.io/controller-runtime\"\n)\n\nfunc main() { _, _ = ctrl.NewManager(config, options) }\n",
			"import (\n\t\"github.com/haproxy-template-ic/incumbent/manager\"\n)\n\nfunc main() { _, _ = manager.New(config, options) }\n",
		},
		"healthz is used elsewhere, and the format is not gofmt's": {
			"import (\n  ctrl \"sigs.k8s.io/controller-runtime\"\n  \"sigs.k8s.io/controller-runtime/pkg/healthz\"\n)\nvar other = healthz.Ping\nfunc main() {\n  m,_ := ctrl.NewManager(nil,ctrl.Options{})\n  m.AddReadyzCheck(\"x\",healthz.Ping); x.AddReadyzCheck(\"x\",healthz.Ping)\n}\n",
			"import (\n\t\"github.com/haproxy-template-ic/incumbent/manager\"\n  ctrl \"sigs.k8s.io/controller-runtime\"\n  \"sigs.k8s.io/controller-runtime/pkg/healthz\"\n)\nvar other = healthz.Ping\nfunc main() {\n  m,_ := manager.New(nil,ctrl.Options{})\n  m.AddReadyzCheck(\"x\",manager.Ready(m)); x.AddReadyzCheck(\"x\",healthz.Ping)\n}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := scaffold{}.write(t)
			writeFiles(t, dir, map[string]string{"cmd/main.go": "package main\n\n" + program.before})
			same(t, "package main\n\n"+program.want, adopted(t, dir)["cmd/main.go"])
			if again := plan(t, dir); len(again.Changes) > 0 {
				t.Errorf("the second run changes\n%s", again.Diff())
			}
		})
	}
}

func TestMake_RefusesBadInput(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	writeFiles(t, elsewhere, map[string]string{"main.go": mainGo, "manager.yaml": managerYAML})
	link := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			file := filepath.Join(dir, name)
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			target := elsewhere
			if filepath.Ext(name) != "" {
				target = filepath.Join(elsewhere, filepath.Base(name))
			}
			if err := os.Symlink(target, file); err != nil {
				t.Fatal(err)
			}
		}
	}
	content := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); writeFiles(t, dir, map[string]string{name: text}) }
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const role, manager = "config/rbac/leader_election_role.yaml", "config/manager/manager.yaml"
	for name, c := range map[string]struct {
		spoil func(*testing.T, string)
		want  string
	}{
		"no main.go":                  {remove("cmd/main.go"), "no main.go found: name the folder of an operator"},
		"no call":                     {content("cmd/main.go", "package main\n\nfunc main() {}\n"), "cmd/main.go does not call ctrl.NewManager: replace the call"},
		"a value, not a call":         {content("cmd/main.go", "package main\n\nimport ctrl \"sigs.k8s.io/controller-runtime\"\n\nvar f = ctrl.NewManager\n"), "does not call ctrl.NewManager"},
		"invalid Go":                  {content("cmd/main.go", "package main\n\nfunc main() {\n"), "cmd/main.go cannot be parsed: cmd/main.go:3:"},
		"invalid main.go":             {content("cmd/main.go", "{{ .Package }}\n"), "cmd/main.go cannot be parsed:"},
		"two programs":                {content("other/run.go", mainGo), "several programs create a Manager: cmd/main.go and other/run.go, choose one with --main"},
		"a lock of its own":           {content("cmd/main.go", "package main\n\nimport ctrl \"sigs.k8s.io/controller-runtime\"\n\nvar _, _ = ctrl.NewManager(nil, ctrl.Options{LeaderElectionResourceLockInterface: lock})\n"), "cmd/main.go:5:46 sets LeaderElectionResourceLockInterface"},
		"no free name":                {content("cmd/main.go", "package main\n\nimport ctrl \"sigs.k8s.io/controller-runtime\"\n\nvar manager, incumbentmanager = ctrl.NewManager(nil, ctrl.Options{})\n"), "rename one of them"},
		"invalid YAML of the Role":    {content(role, "kind: [\n"), role + " cannot be parsed: yaml:"},
		"invalid YAML of the manager": {content(manager, "kind: Deployment\n\tspec: {}\n"), manager + " cannot be parsed: yaml:"},
		"a shared list": {content(manager, "common: &env []\nkind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - name: manager\n        env: *env\n"),
			manager + ":8: env has an unusual form"},
		"a container in one line":     {content(manager, "kind: Deployment\nspec: {template: {spec: {containers: [{name: manager}]}}}\n"), "has an unusual form"},
		"a name in two lines":         {content(manager, "kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n          b\n"), "has an unusual form"},
		"a key twice":                 {content(manager, "kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n        image: b\n        image: c\n"), "has an unusual form"},
		"no go.mod":                   {remove("go.mod"), "go.mod cannot be read: no such file"},
		"main.go is elsewhere":        {link("cmd/main.go"), "cmd/main.go is a symbolic link that leads out of the folder"},
		"the Deployment is elsewhere": {link(manager), manager + " is a symbolic link that leads out of the folder"},
		"config/rbac is elsewhere":    {link("config/rbac"), "config/rbac is a symbolic link that leads out of the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := scaffold{}.write(t)
			c.spoil(t, dir)
			before := readFiles(t, dir)
			_, err := adopt.Make(open(t, dir), "")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			same(t, before, readFiles(t, dir))
		})
	}
	same(t, map[string]string{"main.go": mainGo, "manager.yaml": managerYAML}, readFiles(t, elsewhere))
}

func TestMake_IgnoresOtherPrograms(t *testing.T) {
	dir := scaffold{}.write(t)
	writeFiles(t, dir, map[string]string{
		"vendor/a/main.go": mainGo, "testdata/main.go": mainGo, ".hidden/main.go": mainGo, "_old/main.go": mainGo,
		"nested/go.mod": "module nested\n", "nested/main.go": mainGo,
		"cmd/main_test.go": mainGo, "tool/main.go": "package main\n\nfunc main() {}\n", "template.go": "{{ .Package }}\n",
	})
	if p := plan(t, dir); len(p.Changes) != 3 {
		t.Errorf("%d changes, want 3:\n%s", len(p.Changes), p.Diff())
	}
	writeFiles(t, dir, map[string]string{"other/main.go": mainGo})
	p, err := adopt.Make(open(t, dir), "./other/main.go")
	if err != nil || !slices.ContainsFunc(p.Changes, func(c adopt.Change) bool { return c.Path == "other/main.go" }) {
		t.Errorf("error %v, want a change of other/main.go", err)
	}
	if _, err := adopt.Make(open(t, dir), "cmd/absent.go"); err == nil || !strings.Contains(err.Error(), `--main ("cmd/absent.go")`) {
		t.Errorf("error %v, want that the file does not exist", err)
	}
}

func TestMake_NamesWhatIsMissing(t *testing.T) {
	dir := scaffold{}.write(t)
	if err := os.RemoveAll(filepath.Join(dir, "config")); err != nil {
		t.Fatal(err)
	}
	p := plan(t, dir)
	notes := strings.Join(p.Notes, "\n")
	for _, want := range []string{"config/rbac has no Role for Leases", "config/manager has no Deployment"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note contains %q:\n%s", want, notes)
		}
	}
	if p.Required {
		t.Error("go.mod requires the module")
	}
	writeFiles(t, dir, map[string]string{"go.mod": "module x\n\nrequire (\n\t" + adopt.Module + " v0.1.0\n)\n"})
	if !plan(t, dir).Required {
		t.Error("go.mod does not require the module")
	}
}

func TestWrite_ChangesNoFileIfOneCannotBeWritten(t *testing.T) {
	dir := scaffold{}.write(t)
	p := plan(t, dir)
	before := readFiles(t, dir)
	p.Changes = append(p.Changes, adopt.Change{Path: "absent.yaml", New: []byte("a")})
	err := p.Write(open(t, dir))
	if err == nil || !strings.Contains(err.Error(), "absent.yaml cannot be written") || !strings.Contains(err.Error(), "no file was changed") {
		t.Errorf("error %v, want that absent.yaml cannot be written", err)
	}
	same(t, before, readFiles(t, dir))
}

// git must accept the diff, and its result must be what Write writes.
func TestDiff_IsAPatch(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	for name, s := range scaffolds {
		t.Run(name, func(t *testing.T) {
			dir := s.write(t)
			const role = "config/rbac/leader_election_role.yaml"
			writeFiles(t, dir, map[string]string{role: "kind: Role\nrules:\n- apiGroups: [coordination.k8s.io]\n  resources: [leases]\n  verbs:\n  - get"})
			diff := plan(t, dir).Diff()
			cmd := exec.CommandContext(t.Context(), git, "apply", "-")
			cmd.Dir, cmd.Stdin = dir, strings.NewReader(diff)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s\n%s", err, out, diff)
			}
			patched := readFiles(t, dir)
			dir = s.write(t)
			writeFiles(t, dir, map[string]string{role: "kind: Role\nrules:\n- apiGroups: [coordination.k8s.io]\n  resources: [leases]\n  verbs:\n  - get"})
			same(t, adopted(t, dir), patched)
		})
	}
}

// The adopted program must compile against this module.
func TestMake_AdoptedProgramsCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles programs")
	}
	module, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range scaffolds {
		t.Run(name, func(t *testing.T) {
			dir := s.write(t)
			adopted(t, dir)
			for _, file := range []string{"go.mod", "go.sum"} {
				text, err := os.ReadFile(filepath.Join(module, file))
				if err != nil {
					t.Fatal(err)
				}
				changed := strings.Replace(string(text), "module "+adopt.Module, "module example.com/operator", 1)
				if file == "go.mod" {
					changed += "\nrequire " + adopt.Module + " v0.0.0\n\nreplace " + adopt.Module + " => " + module + "\n"
				}
				writeFiles(t, dir, map[string]string{file: changed})
			}
			cmd := exec.CommandContext(t.Context(), "go", "vet", "./cmd")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func same[T any](t *testing.T, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
