package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"reflect"
	"strconv"
	"strings"
)

// chainOf returns the operator of e if e is an expression such as a && b && c, whose
// value does not depend on parentheses. It returns token.ILLEGAL for all other
// expressions.
func chainOf(e ast.Node) token.Token {
	if b, ok := e.(*ast.BinaryExpr); ok {
		switch b.Op {
		case token.ADD, token.MUL, token.OR, token.LAND, token.LOR:
			return b.Op
		}
	}
	return token.ILLEGAL
}

func operandsOf(e ast.Node, op token.Token) []ast.Node {
	if chainOf(e) != op {
		return []ast.Node{e}
	}
	b := e.(*ast.BinaryExpr)
	return append(operandsOf(b.X, op), b.Y)
}

// bindings maps the name of each wildcard to the code that the wildcard matched.
type bindings map[string][]ast.Node

// match reports whether code matches the pattern p. Both parameters are syntax nodes or
// parts of syntax nodes. For each wildcard in p, match adds the matching code to b.
func (b bindings) match(p, code reflect.Value) bool {
	p, code = unwrap(p), unwrap(code)
	if !p.IsValid() || !code.IsValid() {
		return p.IsValid() == code.IsValid()
	}
	if name, _, ok := wildcardIn(p.Interface()); ok {
		n, isNode := code.Interface().(ast.Node)
		return isNode && b.bind(name, []ast.Node{n})
	}
	if p.Type() != code.Type() {
		return false
	}
	switch want := p.Interface().(type) {
	case token.Pos, *ast.CommentGroup:
		return true
	case *ast.BasicLit:
		return valueOf(want) == valueOf(code.Interface().(*ast.BasicLit))
	case *ast.BinaryExpr:
		if op := chainOf(want); op != token.ILLEGAL {
			return b.matchList(operandsOf(want, op), operandsOf(code.Interface().(ast.Node), op))
		}
	case *ast.CallExpr:
		if want.Ellipsis.IsValid() != code.Interface().(*ast.CallExpr).Ellipsis.IsValid() {
			return false
		}
	}
	switch p.Kind() {
	case reflect.Pointer:
		return b.match(p.Elem(), code.Elem())
	case reflect.Struct:
		for i := range p.NumField() {
			if !b.match(p.Field(i), code.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		return b.matchList(nodesIn(p), nodesIn(code))
	default:
		return p.Equal(code)
	}
}

// matchList reports whether the list code matches the list of patterns want. The wildcard
// $*x matches any number of nodes in the list code. If several matches are possible, the
// first wildcards in want match as few nodes as possible.
func (b bindings) matchList(want, code []ast.Node) bool {
	if len(want) == 0 {
		return len(code) == 0
	}
	name, many, _ := wildcardIn(want[0])
	lengths := []int{1}
	if many {
		lengths = nil
		for n := range len(code) + 1 {
			lengths = append(lengths, n)
		}
	}
	for _, n := range lengths {
		if n > len(code) {
			return false
		}
		trial := maps.Clone(b)
		fits := many && trial.bind(name, code[:n]) ||
			!many && trial.match(reflect.ValueOf(want[0]), reflect.ValueOf(code[0]))
		if fits && trial.matchList(want[1:], code[n:]) {
			maps.Copy(b, trial)
			return true
		}
	}
	return false
}

// bind records that the wildcard called name matches code. It returns false if a wildcard
// with the same name has already matched different code.
func (b bindings) bind(name string, code []ast.Node) bool {
	if name == "_" {
		return true
	}
	if before, ok := b[name]; ok {
		return bindings{}.matchList(before, code)
	}
	b[name] = code
	return true
}

// unwrap returns the value in v without the interfaces and parentheses around the
// value. It returns the zero Value if v is nil.
func unwrap(v reflect.Value) reflect.Value {
	for v.IsValid() {
		switch {
		case (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) && v.IsNil():
			return reflect.Value{}
		case v.Kind() == reflect.Interface:
			v = v.Elem()
		default:
			paren, ok := v.Interface().(*ast.ParenExpr)
			if !ok {
				return v
			}
			v = reflect.ValueOf(paren.X)
		}
	}
	return v
}

func nodesIn(slice reflect.Value) []ast.Node {
	nodes := make([]ast.Node, slice.Len())
	for i := range nodes {
		nodes[i] = slice.Index(i).Interface().(ast.Node)
	}
	return nodes
}

// wildcardIn returns the name of the wildcard n. many is true if the wildcard
// matches any number of nodes. ok is false if n is not a wildcard. If a
// statement consists only of a wildcard such as $x, the statement itself is a wildcard.
func wildcardIn(n any) (name string, many, ok bool) {
	switch n := n.(type) {
	case *ast.ExprStmt:
		return wildcardIn(n.X)
	case *ast.CaseClause, *ast.CommClause:
		return "", false, false
	case *ast.Ident:
		if name, ok = strings.CutPrefix(n.Name, manyWildcard); ok {
			return name, true, true
		}
		name, ok = strings.CutPrefix(n.Name, oneWildcard)
		return name, false, ok
	}
	return "", false, false
}

// valueOf returns a string that represents the value of a literal. The literals "a" and
// `a` have the same value.
func valueOf(l *ast.BasicLit) string {
	if text, err := strconv.Unquote(l.Value); err == nil && l.Kind == token.STRING {
		return "text " + text
	}
	return l.Value
}

// expand replaces each wildcard in the template by the code that the wildcard matched.
// text is a function that returns the source code from the start of one
// node to the end of another node.
func (b bindings) expand(template string, text func(from, to ast.Node) string) (string, error) {
	var failure error
	expanded := wildcardForm.ReplaceAllStringFunc(template, func(w string) string {
		code, ok := b[strings.TrimLeft(w, "$*")]
		switch {
		case !ok:
			failure = fmt.Errorf("the pattern has no wildcard %s", w)
			return w
		case len(code) == 0:
			return ""
		}
		if _, binary := code[0].(*ast.BinaryExpr); binary && len(code) == 1 {
			return "(" + text(code[0], code[0]) + ")"
		}
		return text(code[0], code[len(code)-1])
	})
	return expanded, failure
}
