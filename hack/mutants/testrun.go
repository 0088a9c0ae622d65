package main

import (
	"fmt"
	"regexp"
	"strings"
)

// tests are the tests that must catch a mutation: at least one of them must fail.
type tests struct {
	pkg   string   // the package argument of go test, such as ./manager or ./manager/...
	run   string   // the value of the flag -run; "" runs all tests
	flags []string // additional flags of go test
}

func (r tests) args() []string {
	args := []string{r.pkg}
	if r.run != "" {
		args = append(args, "-run", r.run)
	}
	return append(args, r.flags...)
}

// key returns the same string for all tests that can run in the same go test command.
func (r tests) key() string {
	if r.run == "" || len(r.flags) > 0 {
		return r.String()
	}
	return r.pkg
}

func (r tests) String() string { return "go test " + strings.Join(r.args(), " ") }

// exist returns an error if an alternative in the regular expression r.run matches no
// test. For example, the alternatives of TestA|TestB are TestA and TestB.
func (r tests) exist(t *tree) error {
	dir := strings.TrimPrefix(r.pkg, "./")
	prefix, deep := strings.CutSuffix(dir, "/...")
	var names []string
	for at, p := range t.packages {
		if at == dir || deep && (at == prefix || strings.HasPrefix(at, prefix+"/")) {
			names = append(names, p.tests...)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("there are no tests in %s", r.pkg)
	}
	for _, one := range alternatives(r.run) {
		name, _, _ := strings.Cut(one, "/") // the part after the slash selects subtests
		want, err := regexp.Compile(name)
		if err != nil {
			return fmt.Errorf("-run %s: %w", r.run, err)
		}
		if !matchesAny(want, names) {
			return fmt.Errorf("-run %s: no test in %s matches %s", r.run, r.pkg, name)
		}
	}
	return nil
}

func matchesAny(want *regexp.Regexp, names []string) bool {
	for _, name := range names {
		if want.MatchString(name) {
			return true
		}
	}
	return false
}

// alternatives returns all alternatives of a regular expression. For a(b|c)|d it returns
// ab, ac and d. It interprets only groups and the operator "|". It copies all other
// syntax unchanged.
func alternatives(expr string) []string {
	depth, from := 0, 0
	var parts []string
	for i, c := range expr + "|" {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			parts = append(parts, expr[from:i])
			from = i + 1
		}
	}
	if len(parts) > 1 {
		var all []string
		for _, part := range parts {
			all = append(all, alternatives(part)...)
		}
		return all
	}
	begin, end := strings.IndexByte(expr, '('), strings.IndexByte(expr, ')')
	if begin < 0 || end < begin || strings.Contains(expr[begin+1:end], "(") {
		return []string{expr}
	}
	var all []string
	for _, inner := range alternatives(expr[begin+1 : end]) {
		all = append(all, alternatives(expr[:begin]+inner+expr[end+1:])...)
	}
	return all
}
