package check

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codePattern    = regexp.MustCompile("`([^`]+)`")
	filePattern    = regexp.MustCompile(`^(\.{1,2}/)*[\w.-]+(/[\w.-]+)*/?$`)
	headingPattern = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	goTestPattern  = regexp.MustCompile(`go test (?:-[\w.]+ )*(\./[\w./-]*?)(?:\.\.\.)?(?: -[^ ]+)*? -run '?([\w|^$./]+)'?`)
	goRunPattern   = regexp.MustCompile(`go (?:run|test|build) (?:-[\w.]+ )*(\./[\w./-]+)`)
	makePattern    = regexp.MustCompile("(?m)(?:^|[`(]|&& )make ([a-z-]+)")
	targetPattern  = regexp.MustCompile(`(?m)^([a-z-]+):`)
	testPattern    = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
)

// documentation checks whether the links, files and commands in Markdown exist.
type documentation struct {
	root    string
	targets string // the text of the Makefile
}

func TestLinks_LeadSomewhere(t *testing.T) {
	pages, err := files(".md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	d := documentation{root: root, targets: string(makefile)}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		report(t, d.check(page, string(text)))
	}
}

// check checks one Markdown file. page is the path of the file, and text
// is the content of the file. check returns a finding for each relative link, file name
// and command whose target does not exist. It also returns a finding for each
// placeholder "AFTER:", which stands for a missing number.
func (d documentation) check(page, text string) []finding {
	var found []finding
	n, fenced := 0, false
	for line := range strings.Lines(text) {
		n++
		note := func(format string, args ...any) {
			found = append(found, finding{path: page, line: n, text: fmt.Sprintf(format, args...)})
		}
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			for _, m := range linkPattern.FindAllStringSubmatch(line, -1) {
				if problem := d.link(page, m[1], text); problem != "" {
					note("the link to %s: %s", m[1], problem)
				}
			}
		}
		if strings.Contains(line, "AFTER:") {
			note("a figure is missing")
		}
		if strings.HasPrefix(line, "|") {
			for _, m := range codePattern.FindAllStringSubmatch(line, -1) {
				if looksLikeFile(m[1]) && !d.exists(".", m[1]) && !d.exists(path.Dir(page), m[1]) && !d.exists(core, m[1]) {
					note("no file %s", m[1])
				}
			}
		}
		for _, m := range goTestPattern.FindAllStringSubmatch(line, -1) {
			if !d.hasTest(m[1], m[2]) {
				note("no test in %s matches %s", m[1], m[2])
			}
		}
		for _, m := range goRunPattern.FindAllStringSubmatch(line, -1) {
			if !d.exists(".", strings.TrimSuffix(m[1], "...")) {
				note("no package %s", m[1])
			}
		}
		for _, m := range makePattern.FindAllStringSubmatch(line, -1) {
			if !contains(targetPattern, d.targets, m[1]) {
				note("the Makefile has no target %s", m[1])
			}
		}
	}
	return found
}

// link checks the target of a link in a Markdown file. page is the
// path of the file, and text is the content of the file. link returns a description
// of the problem, or "" if the target exists.
func (d documentation) link(page, target, text string) string {
	if strings.Contains(target, ":") {
		return "" // a link to another site is not checked
	}
	file, anchor, _ := strings.Cut(target, "#")
	if file != "" {
		if !d.exists(path.Dir(page), file) {
			return "no such file"
		}
		if anchor == "" || path.Ext(file) != ".md" {
			return ""
		}
		other, err := os.ReadFile(filepath.Join(d.root, path.Dir(page), file))
		if err != nil {
			return err.Error()
		}
		text = string(other)
	}
	if anchor == "" {
		return ""
	}
	for _, m := range headingPattern.FindAllStringSubmatch(text, -1) {
		if slug(m[1]) == anchor {
			return ""
		}
	}
	return "no such heading"
}

// slug returns the anchor that GitHub generates for a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func (d documentation) exists(dir, file string) bool {
	_, err := os.Stat(filepath.Join(d.root, dir, file))
	return err == nil
}

// looksLikeFile reports whether the string code has the form of a path to a file or
// folder of this repository.
func looksLikeFile(code string) bool {
	if !filePattern.MatchString(code) {
		return false
	}
	switch path.Ext(code) {
	case ".go", ".md", ".yaml", ".json", ".txt", ".svg":
		return true
	}
	return strings.HasSuffix(code, "/") || strings.HasPrefix(code, "./")
}

// hasTest reports whether the folder dir contains a test that "go test -run pattern"
// selects. Subfolders are ignored.
func (d documentation) hasTest(dir, pattern string) bool {
	run, err := regexp.Compile(pattern)
	if err != nil {
		return false
	}
	paths, err := filepath.Glob(filepath.Join(d.root, dir, "*_test.go"))
	if err != nil {
		return false
	}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			return false
		}
		for _, m := range testPattern.FindAllStringSubmatch(string(text), -1) {
			if run.MatchString(m[1]) {
				return true
			}
		}
	}
	return false
}

// contains reports whether any match of pattern in text has want as its first capture
// group.
func contains(pattern *regexp.Regexp, text, want string) bool {
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		if m[1] == want {
			return true
		}
	}
	return false
}

// CONTRIBUTING.md must state the subject of every file of package leaderelection,
// because new contributors need an overview of the files.
func TestLinks_ContributingNamesEveryFileOfTheCore(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, ".github/CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range in(code(t), core) {
		if !strings.Contains(string(text), "`"+s.base()+"`") {
			t.Errorf("%s: CONTRIBUTING.md does not state its subject", s.path)
		}
	}
}

func TestLinks_CanLeadNowhere(t *testing.T) {
	d := documentation{root: "testdata/links", targets: "test: ## Tests\n"}
	text, err := os.ReadFile("testdata/links/page.md")
	if err != nil {
		t.Fatal(err)
	}
	got := d.check("page.md", string(text))
	want := []string{
		"page.md:4: the link to missing.md: no such file",
		"page.md:5: the link to #no-heading: no such heading",
		"page.md:5: the link to other.md#nothing: no such heading",
		"page.md:6: no test in ./pkg matches Unknown",
		"page.md:7: no package ./missing",
		"page.md:8: the Makefile has no target tset",
		"page.md:13: a figure is missing",
		"page.md:17: no file missing.go",
		"page.md:17: no file lost/",
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("no finding %q", want[i])
		case i >= len(want):
			t.Errorf("unexpected finding %q", got[i])
		case got[i].String() != want[i]:
			t.Errorf("finding %q, want %q", got[i], want[i])
		}
	}
}
