package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// A pattern is Go code with wildcards. The name of a wildcard can be any Go name, such as
// x. Wildcards with the same name must match the same code.
//
//	$x    matches any expression; as a statement by itself, $x matches any statement
//	$*x   matches any number of arguments, elements, operands or statements
//	$_    matches like $x, but each $_ may match different code
//	$*_   matches like $*x, but each $*_ may match different code
//
// The pattern is compared with a syntax tree, so formatting, comments and parentheses do
// not matter. The pattern a && b also matches a part of the expression
// x && a && b && y. The operators +, *, | and || work like && in this respect.
type pattern struct {
	text     string
	expr     ast.Expr     // nil if the pattern consists of statements
	readings [][]ast.Stmt // all ways to parse the statements, because a clause may belong to a switch or to a select
}

const (
	oneWildcard  = "wildcard1_" // replaces the "$" in $x, because Go's parser does not accept "$"
	manyWildcard = "wildcardN_" // replaces the "$*" in $*x
)

var wildcardForm = regexp.MustCompile(`\$(\*?)([A-Za-z_]\w*)`)

// parseable replaces the wildcards in text by Go identifiers.
func parseable(text string) string {
	return wildcardForm.ReplaceAllStringFunc(text, func(w string) string {
		if name, many := strings.CutPrefix(w, "$*"); many {
			return manyWildcard + name
		}
		return oneWildcard + strings.TrimPrefix(w, "$")
	})
}

func parseExpression(text string) (pattern, error) {
	expr, err := parser.ParseExpr(parseable(text))
	if err != nil {
		return pattern{}, fmt.Errorf("the pattern is not an expression: %w", err)
	}
	return pattern{text: text, expr: expr}, nil
}

// parseStatements parses one or more statements, or clauses of a switch or a select.
func parseStatements(text string) (pattern, error) {
	p := pattern{text: text}
	var failure error
	for _, around := range []string{"%s", "switch {\n%s\n}", "select {\n%s\n}"} {
		code := "package p; func _() {\n" + fmt.Sprintf(around, parseable(text)) + "\n}"
		file, err := parser.ParseFile(token.NewFileSet(), "", code, parser.SkipObjectResolution)
		if err != nil {
			if failure == nil {
				failure = fmt.Errorf("the pattern is not a statement: %w", err)
			}
			continue
		}
		list := file.Decls[0].(*ast.FuncDecl).Body.List
		switch {
		case strings.HasPrefix(around, "switch"):
			list = list[0].(*ast.SwitchStmt).Body.List
		case strings.HasPrefix(around, "select"):
			list = list[0].(*ast.SelectStmt).Body.List
		}
		if len(list) > 0 {
			p.readings = append(p.readings, list)
		}
	}
	if len(p.readings) == 0 {
		return pattern{}, failure
	}
	return p, nil
}

// matchesAll reports whether the pattern is a single wildcard, which matches any code.
func (p pattern) matchesAll() bool {
	nodes := []ast.Node{p.expr}
	if p.expr == nil {
		nodes = asNodes(p.readings[0])
	}
	_, _, ok := wildcardIn(nodes[0])
	return ok && len(nodes) == 1
}

// A match is the code that a pattern matches at one place.
type match struct {
	first, last ast.Node   // the first and the last node of the code; often the same node
	around      []ast.Node // the nodes that enclose the match, outermost first
	bound       bindings   // the code that each wildcard of the pattern matches
}

// find returns all matches of the pattern in the node root.
func (p pattern) find(root ast.Node) []match {
	var found []match
	find := func(want, nodes []ast.Node, around []ast.Node) {
		for from := range nodes {
			for to := from + 1; to <= len(nodes); to++ {
				m := match{first: nodes[from], last: nodes[to-1], around: slices.Clone(around), bound: bindings{}}
				if !m.bound.matchList(want, nodes[from:to]) {
					continue
				}
				if !slices.ContainsFunc(found, m.sameAs) {
					found = append(found, m)
				}
				break
			}
		}
	}
	ast.PreorderStack(root, nil, func(n ast.Node, around []ast.Node) bool {
		if e, ok := n.(ast.Expr); ok && p.expr != nil && !isParen(e) && !isFieldName(e, around) {
			want, operands := []ast.Node{p.expr}, []ast.Node{e}
			if op := chainOf(p.expr); op != token.ILLEGAL && op == chainOf(e) {
				want, operands = operandsOf(p.expr, op), operandsOf(e, op)
			}
			find(want, operands, around)
		}
		for _, want := range p.readings {
			find(asNodes(want), statementsIn(n), slices.Concat(around, []ast.Node{n}))
		}
		return true
	})
	return found
}

func (m match) sameAs(other match) bool {
	return m.first.Pos() == other.first.Pos() && m.last.End() == other.last.End()
}

func isParen(e ast.Expr) bool { _, ok := e.(*ast.ParenExpr); return ok }

// isFieldName reports whether e is only the name of a field or method, such as b in a.b
// or in T{b: 1}. Such a name is not an expression. The parameter around lists the nodes
// that enclose e, outermost first.
func isFieldName(e ast.Expr, around []ast.Node) bool {
	if len(around) == 0 {
		return false
	}
	switch parent := around[len(around)-1].(type) {
	case *ast.SelectorExpr:
		return parent.Sel == e
	case *ast.KeyValueExpr:
		_, name := e.(*ast.Ident)
		return name && parent.Key == e
	}
	return false
}

// statementsIn returns the statements or clauses that are direct children of the node n.
func statementsIn(n ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.BlockStmt:
		return asNodes(n.List)
	case *ast.CaseClause:
		return asNodes(n.Body)
	case *ast.CommClause:
		return asNodes(n.Body)
	}
	return nil
}

func asNodes[N ast.Node](list []N) []ast.Node {
	nodes := make([]ast.Node, len(list))
	for i, n := range list {
		nodes[i] = n
	}
	return nodes
}
