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

// A mutation describes one fault that the command puts into the code. At least one of the
// tests must then fail.
type mutation struct {
	name string // what is wrong in the mutated code
	in   string // "folder of the package: declaration", or the path of a file without Go code
	edit edit
	test tests
}

// An edit changes one place in a declaration, or in a file without Go code.
type edit struct {
	how        func(p place, replacement string) ([]change, error) // nil if old is plain text
	old, new   string
	statements bool // true if old is one or more statements, false if it is an expression
	nth        int  // which of the matching places, counted from 1; 0 if only one place may match
}

// replace returns an edit that replaces the code that matches old. Old and replacement
// are both expressions, or both statements. The replacement may contain the wildcards of
// old.
func replace(old, replacement string) edit {
	_, errOld := parseExpression(old)
	_, errNew := parseExpression(replacement)
	return edit{how: replacePlace, old: old, new: replacement, statements: errOld != nil || errNew != nil}
}

// remove returns an edit that removes the statements that match old.
func remove(old string) edit { return edit{how: replacePlace, old: old, statements: true} }

// before returns an edit that inserts code before the statements that match old.
func before(old, inserted string) edit {
	return edit{how: insertBefore, old: old, new: inserted, statements: true}
}

// after returns an edit that inserts code after the statements that match old.
func after(old, inserted string) edit {
	return edit{how: insertAfter, old: old, new: inserted, statements: true}
}

// never returns an edit that finds the if or case around the statements old, and makes
// its condition always false.
func never(old string) edit { return edit{how: force, old: old, new: "false &&", statements: true} }

// always returns an edit that finds the if or case around the statements old, and makes
// its condition always true.
func always(old string) edit { return edit{how: force, old: old, new: "true ||", statements: true} }

// text returns an edit that replaces text in a file without Go code.
func text(old, replacement string) edit { return edit{old: old, new: replacement} }

// at returns an edit that changes the nth of several matching places, counted from 1.
func (e edit) at(nth int) edit {
	e.nth = nth
	return e
}

// A mutant is a file to which a mutation has been applied.
type mutant struct {
	mutation
	file         string // relative to the root
	before, code []byte
}

// apply returns the mutant that results from the mutation. If the mutation does not fit
// the code, apply returns an error with the reason and the most similar places.
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

// A place is the match that an edit changes.
type place struct {
	match
	code func(from, to ast.Node) string // returns the source code from one node to another
}

// A change replaces the source code from the start of node from to the end of node to.
type change struct {
	from, to ast.Node
	text     string
}

// mutate returns the content of d's file after the edit at match m.
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

// force puts constant, such as "false &&", before the conditions around a place. The old
// conditions stay in the code. Otherwise a variable or an import that only they use would
// be unused, which Go does not permit.
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

// conditionsOf returns the conditions of the if or case whose body is the innermost node
// in around. It returns an error if there is no such condition.
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
