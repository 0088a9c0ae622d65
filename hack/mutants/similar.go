package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/scanner"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// most is the maximum number of similar places that an error message lists.
const most = 4

// mention returns an error whose text describes the match m in the declaration d.
func (t *tree) mention(d decl, m match) error {
	return fmt.Errorf("  %s (%s): %s", t.at(m.first), d, firstLine(t.code(d.source)(m.first, m.last)))
}

// similarNames returns an error that lists declarations with names similar to name. First
// it lists the declarations with the same name, in all packages. Then it lists the most
// similar names in the package in the folder dir. Finally it lists the places where the
// pattern p matches.
func (t *tree) similarNames(p pattern, dir, name string) error {
	var same, others []decl
	for d := range t.allDecls {
		switch {
		case lastName(d.name) == lastName(name):
			same = append(same, d)
		case d.pkg.dir == dir:
			others = append(others, d)
		}
	}
	score := func(d decl) float64 { return similarity(letters(name), letters(d.name)) }
	slices.SortStableFunc(others, func(a, b decl) int { return cmp.Compare(score(b), score(a)) })
	var errs []error
	for _, d := range append(same, others[:min(len(others), most)]...) {
		errs = append(errs, fmt.Errorf("  %s (%s)", t.at(d.body), d))
	}
	return errors.Join(errors.Join(errs...), t.otherMatches(p))
}

func lastName(name string) string { return name[strings.LastIndex(name, ".")+1:] }

// similarCode returns an error that lists all places where the pattern p matches, in all
// packages. If p matches nowhere, the error lists the code in the declaration d that is
// most similar to p.
func (t *tree) similarCode(p pattern, d decl) error {
	if err := t.otherMatches(p); err != nil {
		return err
	}
	type candidate struct {
		match
		score float64
	}
	var candidates []candidate
	want := tokens(wildcardForm.ReplaceAllString(p.text, ""))
	ast.Inspect(d.body, func(n ast.Node) bool {
		if n != nil && p.isLike(n) {
			m := match{first: n, last: n}
			candidates = append(candidates, candidate{m, similarity(want, tokens(t.code(d.source)(n, n)))})
		}
		return true
	})
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	var errs []error
	for _, c := range candidates[:min(len(candidates), most)] {
		if c.score > 0 {
			errs = append(errs, t.mention(d, c.match))
		}
	}
	return errors.Join(errs...)
}

// isLike reports whether the syntax node n has the same type as the expression of the
// pattern, or as the first statement of the pattern.
func (p pattern) isLike(n ast.Node) bool {
	if p.expr != nil {
		return reflect.TypeOf(n) == reflect.TypeOf(p.expr)
	}
	return slices.ContainsFunc(p.readings, func(list []ast.Stmt) bool {
		return reflect.TypeOf(n) == reflect.TypeOf(list[0])
	})
}

// otherMatches returns an error that lists all places where the pattern p matches, in all
// packages. It returns nil if p matches nowhere.
func (t *tree) otherMatches(p pattern) error {
	var errs []error
	for d := range t.allDecls {
		for _, m := range p.find(d.body) {
			errs = append(errs, t.mention(d, m))
		}
	}
	if n := len(errs); n > most {
		errs = append(errs[:most], fmt.Errorf("  and %d more places", n-most))
	}
	return errors.Join(errs...)
}

// otherFiles returns an error that lists the files that contain the string text. It
// ignores Go files.
func (t *tree) otherFiles(text string) error {
	var errs []error
	for _, path := range t.texts {
		if whole, err := os.ReadFile(filepath.Join(t.root, path)); err == nil && strings.Contains(string(whole), text) {
			errs = append(errs, fmt.Errorf("  %s", path))
		}
	}
	return errors.Join(errs...)
}

// allDecls yields the declarations of all packages.
func (t *tree) allDecls(yield func(decl) bool) {
	for _, dir := range slices.Sorted(maps.Keys(t.packages)) {
		for _, d := range t.packages[dir].decls() {
			if !yield(d) {
				return
			}
		}
	}
}

// similarity returns a number between 0 and 1 that states how similar two lists are. The
// result is 1 if both lists contain the same elements, in any order. The result is 0 if
// no element is in both lists.
func similarity(a, b []string) float64 {
	counts := map[string]int{}
	for _, x := range a {
		counts[x]++
	}
	common := 0
	for _, x := range b {
		if counts[x] > 0 {
			counts[x]--
			common++
		}
	}
	return 2 * float64(common) / float64(max(1, len(a)+len(b)))
}

// letters returns each pair of adjacent letters in name, in lower case. For the name Run,
// it returns "ru" and "un".
func letters(name string) []string {
	name = strings.ToLower(name)
	var pairs []string
	for i := range len(name) - 1 {
		pairs = append(pairs, name[i:i+2])
	}
	return pairs
}

func tokens(code string) []string {
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(code))
	s.Init(file, []byte(code), nil, 0)
	var all []string
	for {
		_, tok, literal := s.Scan()
		switch tok {
		case token.EOF:
			return all
		case token.SEMICOLON:
		default:
			all = append(all, tok.String()+literal)
		}
	}
}
