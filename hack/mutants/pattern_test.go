package main

import (
	"go/parser"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// elected is the source code of a package. The tests apply mutations to this package.
const elected = `package p

import (
	"strconv"
	"time"
)

type Elector struct {
	until time.Time
	term  func() (int, bool)
}

const limit = 3

func (e *Elector) IsLeader() bool {
	return e != nil && time.Until(e.until) > 0 && limit > 0
}

func (e *Elector) Stop(done, lost chan struct{}) string {
	if e.until.IsZero() {
		return "idle"
	}
	e.until = time.Time{} // a comment
	select {
	case <-done:
		e.stop()
	case <-lost:
		return "lost"
	}
	switch n, ok := e.term(); {
	case !ok:
		return "none"
	case n == 1, n == 2:
		n++
		return strconv.Itoa(n)
	}
	return add("a", ("b")) + "c" + ` + "`d`" + `
}

func (e *Elector) stop() { e.until = time.Time{} }

func add(all ...string) string { return all[0] }
`

func TestMutation_ChangesOnePlace(t *testing.T) {
	tests := map[string]struct {
		in       string
		edit     edit
		old, new string // the part of the constant elected that must change, and the replacement
	}{
		"an expression":             {"Elector.IsLeader", replace("time.Until($x.until) > 0", "true"), "time.Until(e.until) > 0", "true"},
		"the middle of a chain":     {"Elector.IsLeader", replace("$e != nil && time.Until($_) > 0", "$e == nil"), "e != nil && time.Until(e.until) > 0", "(e == nil)"},
		"a comparison, in brackets": {"Elector.IsLeader", replace("limit > 0", "1 > 0"), "limit > 0", "(1 > 0)"},
		"a constant":                {"limit", replace("3", "1 << 30"), "limit = 3", "limit = (1 << 30)"},
		"arguments, in brackets":    {"Elector.Stop", replace(`add($*_, "b")`, `""`), `add("a", ("b"))`, `""`},
		"all arguments":             {"Elector.Stop", replace("add($*all)", "add($*all, `d`)"), `add("a", ("b"))`, "add(\"a\", (\"b\"), `d`)"},
		"text of another form":      {"Elector.Stop", replace("`c`+\"d\"", `"e"`), "\"c\" + `d`", `"e"`},
		"a type":                    {"Elector", replace("time.Time", "time.Duration"), "until time.Time", "until time.Duration"},
		"a statement":               {"Elector.Stop", remove("$e.stop()"), "e.stop()\n\tcase", "\n\tcase"},
		"a statement and a comment": {"Elector.Stop", remove("$e.until = $_"), "e.until = time.Time{} // a", " // a"},
		"two statements":            {"Elector.Stop", replace("$n++; return $_", `return ""`), "n++\n\t\treturn strconv.Itoa(n)", `return ""`},
		"an expression by a statement": {"Elector.Stop", replace("$e.stop()", "_ = $e"), "e.stop()\n\tcase",
			"_ = e\n\tcase"},
		"before a statement": {"Elector.Stop", before("$n++", "$n = 0"), "n++", "n = 0\nn++"},
		"after a clause":     {"Elector.Stop", after("case <-$lost: return $_", "default:"), `return "lost"`, "return \"lost\"\ndefault:"},
		"after a clause with any statements": {"Elector.Stop", after("case <-lost: $*_", "default:"),
			`return "lost"`, "return \"lost\"\ndefault:"},
		"an if that is never true": {"Elector.Stop", forceFalse(`return "idle"`), "if e.until.IsZero()", "if false && (e.until.IsZero())"},
		"a case that is always true": {"Elector.Stop", forceTrue("$n++"), "case n == 1, n == 2:",
			"case true || (n == 1), true || (n == 2):"},
		"the second of two places":  {"Elector.Stop", replace("$n == $_", "$n == 3").at(2), "n == 2", "(n == 3)"},
		"an import that is unused":  {"Elector.Stop", replace("strconv.Itoa($_)", `""`), "strconv.Itoa(n)", `""`},
		"a method on a pointer":     {"Elector.stop", remove("$_ = time.Time{}"), "{ e.until = time.Time{} }", "{  }"},
		"the same wildcard twice":   {"Elector.Stop", replace("$x == 1", "$x == $x"), "n == 1", "(n == n)"},
		"a wildcard for an operand": {"Elector.IsLeader", replace("$e != nil && $_ && $_", "true"), "e != nil && time.Until(e.until) > 0 && limit > 0", "true"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tree := testTree(t, elected)
			m, err := mutation{in: "p: " + test.in, edit: test.edit}.apply(tree)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(elected, test.old); n != 1 {
				t.Fatalf("bug: the code has the text %d times", n)
			}
			if diff := cmp.Diff(strings.Replace(elected, test.old, test.new, 1), string(m.code)); diff != "" {
				t.Errorf("the mutation changes other code (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMutation_ThatDoesNotFitIsReportedWithSimilarCode(t *testing.T) {
	tests := map[string]struct {
		in     string
		edit   edit
		report []string // parts of the error
	}{
		"no such package":     {"q: Elector.IsLeader", remove("$e.stop()"), []string{"no package q", "p/p.go:15 (p: Elector.IsLeader)", "(p: Elector.Stop): e.stop()"}},
		"no such function":    {"p: Elector.IsLead", remove("foo()"), []string{"package p has no Elector.IsLead", "(p: Elector.IsLeader)"}},
		"in another function": {"p: Elector.IsLeader", remove("$e.stop()"), []string{"Elector.IsLeader has no $e.stop()", "p/p.go:26 (p: Elector.Stop): e.stop()"}},
		"similar code":        {"p: Elector.IsLeader", replace("time.Since($e.until) > 0", "true"), []string{"has no time.Since", "time.Until(e.until) > 0"}},
		"two places":          {"p: Elector.Stop", replace("$n == $_", "false"), []string{"has 2 places that match", ": n == 1\n", ": n == 2"}},
		"too few places":      {"p: Elector.Stop", replace("$n == $_", "false").at(3), []string{"has 2 places that match"}},
		"different code for one wildcard": {"p: Elector.IsLeader", replace("$x > $x", "true"),
			[]string{"has no $x > $x"}},
		"a wildcard alone":    {"p: Elector.Stop", replace("$x", "nil"), []string{"$x matches everything"}},
		"an unknown wildcard": {"p: Elector.Stop", replace("$e.stop()", "$f.stop()"), []string{"the pattern has no wildcard $f"}},
		"no condition":        {"p: Elector.Stop", forceFalse("$e.stop()"), []string{"stand neither in an if nor in a case"}},
		"no Go":               {"p: Elector.Stop", replace("1 +", "2"), []string{"the pattern is not a statement"}},
		"no change":           {"p: Elector.Stop", replace("$e.stop()", "$e.stop()"), []string{"changes nothing"}},
		"text in Go":          {"p: Elector.Stop", text("stop", "start"), []string{"text is for files that are not Go"}},
		"code in no function": {"p.yaml", remove("$e.stop()"), []string{`"p.yaml" is not "folder: declaration"`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := mutation{in: test.in, edit: test.edit}.apply(testTree(t, elected))
			for _, part := range test.report {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("the error has no %q: %v", part, err)
				}
			}
		})
	}
}

// testTree returns a tree that contains only package p, which has one file.
func testTree(t *testing.T, code string) *tree {
	t.Helper()
	tree := newTree(t.TempDir())
	file, err := parser.ParseFile(tree.fset, "p/p.go", code, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	tree.packages["p"] = &pkg{dir: "p", files: []*source{{path: "p/p.go", text: []byte(code), file: file}}}
	return tree
}
