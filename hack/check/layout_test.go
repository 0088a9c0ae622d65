package check

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	maxCoreFiles   = 26 // the maximum number of files in package leaderelection, not counting tests
	maxMethodFiles = 3  // the maximum number of files that contain methods of the same type
)

// methodFiles lists types and, for each type, the files that may contain its
// methods. The limit maxMethodFiles does not apply to these types.
var methodFiles = map[string][]string{
	core + ".Config":  {"config.go", "flags.go", "client.go", "timing.go"},
	core + ".Elector": {"elector.go", "run.go", "lead.go", "writes.go", "observe.go", "nominate.go"},
}

// The top folder of the repository must contain only these files and folders.
func TestLayout_TopLevel(t *testing.T) {
	allowed := []string{"LICENSE", "Makefile", "README.md", "envtest", "go.mod", "go.sum", "hack", "leaderelection", "manager"}
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	found := map[string]bool{}
	for path := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(path), "/")
		if !found[top] && !strings.HasPrefix(top, ".") && !slices.Contains(allowed, top) {
			t.Errorf("%s is not part of the layout: %q", top, allowed)
		}
		found[top] = true
	}
}

func TestLayout_TheCoreHasFewFiles(t *testing.T) {
	report(t, tooManyFiles(code(t), core, maxCoreFiles))
}

func TestLayout_AFolderCanHaveTooManyFiles(t *testing.T) {
	all := example(t, "methods", core)
	if got := tooManyFiles(all, core, len(all)); len(got) != 0 {
		t.Errorf("%v, want no findings", got)
	}
	if got := tooManyFiles(all, core, len(all)-1); len(got) != 1 {
		t.Errorf("%v, want one finding", got)
	}
}

// tooManyFiles returns a finding if the number of files in the folder dir exceeds
// the limit.
func tooManyFiles(all []*source, dir string, limit int) []finding {
	if n := len(in(all, dir)); n > limit {
		return []finding{{path: dir, text: fmt.Sprintf("%d files without tests, at most %d", n, limit)}}
	}
	return nil
}

func TestLayout_MethodsOfATypeAreInFewFiles(t *testing.T) {
	report(t, scattered(slices.DeleteFunc(code(t), func(s *source) bool {
		return s.dir() != core && !under(s.dir(), []string{core + "/internal"})
	})))
}

func TestLayout_MethodsCanBeScattered(t *testing.T) {
	all := example(t, "methods", core)
	compare(t, all, scattered(all))
}

// scattered finds types whose methods are in too many files, or in files that the map
// methodFiles does not permit.
func scattered(all []*source) []finding {
	places := map[string]map[string]finding{} // a finding for each type and file, at the type's first method in the file
	for _, s := range all {
		for _, f := range functions(s) {
			if f.Recv == nil {
				continue
			}
			name := s.dir() + "." + receiver(f)
			if places[name] == nil {
				places[name] = map[string]finding{}
			}
			if _, found := places[name][s.base()]; !found {
				places[name][s.base()] = s.at(f, "method of %s", name)
			}
		}
	}
	var found []finding
	for _, name := range slices.Sorted(maps.Keys(places)) {
		used := slices.Sorted(maps.Keys(places[name]))
		allowed, listed := methodFiles[name]
		for _, file := range used {
			f := places[name][file]
			switch {
			case listed && !slices.Contains(allowed, file):
				f.text += fmt.Sprintf(": its methods belong in %q", allowed)
				found = append(found, f)
			case !listed && len(used) > maxMethodFiles:
				f.text += fmt.Sprintf(": its methods are in %d files, at most %d", len(used), maxMethodFiles)
				found = append(found, f)
			}
		}
	}
	return found
}
