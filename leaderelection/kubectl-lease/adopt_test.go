package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// operator creates a folder with a small operator. Package adopt has tests with complete
// operators.
func operator(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/operator\n",
		"main.go": "package main\n\nimport ctrl \"sigs.k8s.io/controller-runtime\"\n\nfunc main() { _, _ = ctrl.NewManager(nil, ctrl.Options{}) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func readMain(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAdopt_WritesOnlyWithWrite(t *testing.T) {
	dir := operator(t)
	before := readMain(t, dir)
	code, out, errOut := call(t, "adopt "+dir)
	if code != 0 || !strings.HasPrefix(out, "--- a/main.go\n+++ b/main.go\n@@ -1,5 +1,6 @@\n") {
		t.Errorf("exit code %d, printed %s", code, out)
	}
	for _, want := range []string{"note: nothing was written: add --write", "note: go.mod does not require the module: run 'go get github.com/haproxy-template-ic/incumbent@latest && go mod tidy'"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("%q is missing in %s", want, errOut)
		}
	}
	same(t, before, readMain(t, dir))

	code, written, errOut := call(t, "adopt --write "+dir)
	if code != 0 || written != out || strings.Contains(errOut, "nothing was written") {
		t.Errorf("exit code %d, printed %s, %s", code, written, errOut)
	}
	if !strings.Contains(readMain(t, dir), "manager.New(nil, ctrl.Options{})") {
		t.Errorf("main.go is not changed:\n%s", readMain(t, dir))
	}

	adopted := readMain(t, dir)
	code, out, _ = call(t, "adopt --write "+dir)
	if code != 0 || !strings.HasPrefix(out, "nothing to do: ") {
		t.Errorf("the second run: exit code %d, printed %s", code, out)
	}
	same(t, adopted, readMain(t, dir))
}

func TestAdopt_RefusesWithExitCodeOne(t *testing.T) {
	empty := t.TempDir()
	for args, want := range map[string]string{
		"adopt --write " + empty:                                "error: no main.go found: name the folder of an operator",
		"adopt --write " + filepath.Join(empty, "absent"):       "absent\" cannot be opened: ",
		"adopt --write --main other.go " + operator(t):          `error: --main ("other.go") is not a Go file of package main`,
		"adopt --write " + filepath.Join(operator(t), "go.mod"): "cannot be opened: ",
	} {
		if code, out, errOut := call(t, args); code != exitRefused || out != "" || !strings.Contains(errOut, want) {
			t.Errorf("%s: exit code %d, printed %q and %q, want %q", args, code, out, errOut, want)
		}
	}
	refuses(t, "adopt", "one folder is expected, not []: kubectl lease adopt DIR")
}
