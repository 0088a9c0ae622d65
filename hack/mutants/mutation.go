package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"strings"
)

// A mutation describes one fault that the command puts into the code, and the tests that
// must detect the fault. At least one of these tests must fail.
type mutation struct {
	name string // what is wrong in the mutated code
	in   string // "folder of the package: declaration", or the path of a file without Go code
	edit edit
	test tests
}

// An edit changes one place in a declaration, or in a file without Go code.
type edit struct {
	how        func(p place, replacement string) ([]change, error) // nil if old is text in a file without Go code
	old, new   string
	statements bool // true if old consists of statements, false if old is an expression
	nth        int  // the number of the place to change, counted from 1; 0 if old must match exactly one place
}

// replace returns an edit that replaces the code that matches the pattern old. If one of
// the two parameters is not an expression, both are parsed as statements. The replacement
// may contain the wildcards of the pattern.
func replace(old, replacement string) edit {
	_, errOld := parseExpression(old)
	_, errNew := parseExpression(replacement)
	return edit{how: replacePlace, old: old, new: replacement, statements: errOld != nil || errNew != nil}
}

// remove returns an edit that removes the statements that match the pattern old.
func remove(old string) edit { return edit{how: replacePlace, old: old, statements: true} }

// before returns an edit that inserts code before the statements that
// match the pattern old.
func before(old, inserted string) edit {
	return edit{how: insertBefore, old: old, new: inserted, statements: true}
}

// The function after returns an edit that inserts code after the statements that match
// the pattern old.
func after(old, inserted string) edit {
	return edit{how: insertAfter, old: old, new: inserted, statements: true}
}

// forceFalse returns an edit that makes the condition of an if or a case always false.
// The body of this if or case contains the statements that match the pattern old.
func forceFalse(old string) edit {
	return edit{how: force, old: old, new: "false &&", statements: true}
}

// forceTrue returns an edit that makes the condition of an if or a case always true.
// The body of this if or case contains the statements that match the pattern old.
func forceTrue(old string) edit { return edit{how: force, old: old, new: "true ||", statements: true} }

// text returns an edit that replaces the string old in a file without Go
// code.
func text(old, replacement string) edit { return edit{old: old, new: replacement} }

// at returns a copy of the edit. The copy changes only the nth place that matches,
// counted from 1.
func (e edit) at(nth int) edit {
	e.nth = nth
	return e
}

// A mutant is a file to which a mutation has been applied.
type mutant struct {
	mutation
	file         string // relative to the root
	before, code []byte // the content of the file before and after the mutation
}

// apply applies the mutation to the code and returns the mutant. If the mutation does not
// fit the code, apply returns an error with the reason and the most similar places.
func (m mutation) apply(t *tree) (mutant, error) {
	dir, name, isGo := strings.Cut(m.in, ": ")
	if !isGo {
		return m.applyText(t)
	}
	p, err := m.edit.pattern()
	if err != nil {
		return mutant{}, err
	}
	d, err := t.find(dir, name)
	if err != nil {
		return mutant{}, errors.Join(err, t.similarNames(p, dir, name))
	}
	matches := p.find(d.body)
	switch n := len(matches); {
	case n == 0:
		return mutant{}, errors.Join(fmt.Errorf("%s has no %s", name, p.text), t.similarCode(p, d))
	case m.edit.nth > n || m.edit.nth == 0 && n > 1:
		places := make([]error, n)
		for i, match := range matches {
			places[i] = t.mention(d, match)
		}
		return mutant{}, errors.Join(fmt.Errorf("%s has %d places that match %s", name, n, p.text), errors.Join(places...))
	}
	code, err := m.edit.mutate(t, d, matches[max(0, m.edit.nth-1)])
	if err != nil {
		return mutant{}, err
	}
	return mutant{m, d.source.path, d.source.text, code}, nil
}

func (m mutation) applyText(t *tree) (mutant, error) {
	if m.edit.how != nil {
		return mutant{}, fmt.Errorf("%q is not \"folder: declaration\"", m.in)
	}
	whole, err := os.ReadFile(filepath.Join(t.root, m.in))
	if err != nil {
		return mutant{}, errors.Join(err, t.otherFiles(m.edit.old))
	}
	if n := bytes.Count(whole, []byte(m.edit.old)); n != 1 {
		return mutant{}, errors.Join(fmt.Errorf("%s has this text %d times: %s", m.in, n, m.edit.old), t.otherFiles(m.edit.old))
	}
	code := bytes.Replace(whole, []byte(m.edit.old), []byte(m.edit.new), 1)
	if bytes.Equal(whole, code) {
		return mutant{}, errors.New("the mutation changes nothing")
	}
	return mutant{m, m.in, whole, code}, nil
}

func (e edit) pattern() (p pattern, err error) {
	switch {
	case e.how == nil:
		return p, errors.New("text is for files that are not Go")
	case e.statements:
		p, err = parseStatements(e.old)
	default:
		p, err = parseExpression(e.old)
	}
	if err == nil && p.matchesAll() {
		err = fmt.Errorf("%s matches everything", e.old)
	}
	return p, err
}

// A place is a match of a pattern, together with a function that returns source code.
type place struct {
	match
	code func(from, to ast.Node) string // returns the source code from the start of one node to the end of another node
}

// A change replaces a part of the source code. from is the first node of this
// part, and the field to is the last node. text is the new code.
type change struct {
	from, to ast.Node
	text     string
}

// mutate applies the edit to the match m in the declaration d. It returns the new content
// of the file that contains d.
func (e edit) mutate(t *tree, d decl, m match) ([]byte, error) {
	code := t.code(d.source)
	replacement, err := m.bound.expand(e.new, code)
	if err != nil {
		return nil, err
	}
	changes, err := e.how(place{m, code}, replacement)
	if err != nil {
		return nil, err
	}
	file, from := []byte(nil), 0
	for _, c := range changes {
		file = append(file, d.source.text[from:t.offset(c.from.Pos())]...)
		file = append(file, c.text...)
		from = t.offset(c.to.End())
	}
	file = append(file, d.source.text[from:]...)
	if bytes.Equal(file, d.source.text) {
		return nil, errors.New("the mutation changes nothing")
	}
	return file, nil
}

func replacePlace(p place, replacement string) ([]change, error) {
	if expr, err := parseExpression(replacement); err == nil {
		if _, binary := expr.expr.(*ast.BinaryExpr); binary {
			replacement = "(" + replacement + ")"
		}
	}
	return []change{{p.first, p.last, replacement}}, nil
}

func insertBefore(p place, statements string) ([]change, error) {
	return []change{{p.first, p.last, statements + "\n" + p.code(p.first, p.last)}}, nil
}

func insertAfter(p place, statements string) ([]change, error) {
	return []change{{p.first, p.last, p.code(p.first, p.last) + "\n" + statements}}, nil
}

// force inserts a constant, such as "false &&", before each condition of the if or case
// that contains the place p. The conditions stay in the code. Without them, a variable
// or an import could become unused, and the code would not compile.
func force(p place, constant string) ([]change, error) {
	conditions, err := conditionsOf(p.around)
	if err != nil {
		return nil, err
	}
	changes := make([]change, len(conditions))
	for i, c := range conditions {
		changes[i] = change{c, c, constant + " (" + p.code(c, c) + ")"}
	}
	return changes, nil
}

// conditionsOf returns the conditions of the if or case whose body contains certain
// statements. The parameter around lists the nodes that enclose these statements,
// outermost first. conditionsOf returns an error if the statements are not in the body of
// an if or of a case with a condition.
func conditionsOf(around []ast.Node) ([]ast.Expr, error) {
	parents := append([]ast.Node{nil, nil, nil}, around...)
	switch n := len(parents); inner := parents[n-1].(type) {
	case *ast.BlockStmt:
		if outer, ok := parents[n-2].(*ast.IfStmt); ok && outer.Body == inner {
			return []ast.Expr{outer.Cond}, nil
		}
	case *ast.CaseClause:
		if outer, ok := parents[n-3].(*ast.SwitchStmt); ok && outer.Tag == nil && len(inner.List) > 0 {
			return inner.List, nil
		}
	}
	return nil, errors.New("these statements stand neither in an if nor in a case that has a condition")
}
