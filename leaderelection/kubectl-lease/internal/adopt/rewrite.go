package adopt

import (
	"fmt"
	"go/ast"
	"strconv"
)

// checks maps the methods that add a check to the functions of package manager that
// return the check.
var checks = map[string]string{"AddHealthzCheck": "Live", "AddReadyzCheck": "Ready"}

// edits returns the edits of the program. It returns none if the program is adopted.
func (p *program) edits() ([]edit, error) {
	pings := p.pings()
	if len(p.old) == 0 && len(pings) == 0 {
		return nil, nil
	}
	name, edits, err := p.importManager()
	if err != nil {
		return nil, err
	}
	var replaced []ast.Node
	for _, call := range p.old {
		replaced = append(replaced, call.Fun)
		edits = append(edits, p.replace(call.Fun, name+".New"))
	}
	for _, call := range pings {
		method := call.Fun.(*ast.SelectorExpr)
		replaced = append(replaced, call.Args[1])
		edits = append(edits, p.replace(call.Args[1], fmt.Sprintf("%s.%s(%s)", name, checks[method.Sel.Name], method.X.(*ast.Ident).Name)))
	}
	for _, imported := range []string{runtimePath, crmanagerPath, healthzPath} {
		if s := p.importOf(imported); s != nil && p.unusedWithout(importName(s), replaced) {
			edits = append(edits, p.removeImport(s))
		}
	}
	return edits, nil
}

// pings returns the calls that add healthz.Ping as a check to a Manager of the program.
func (p *program) pings() []*ast.CallExpr {
	managers := map[string]bool{}
	for _, name := range p.names {
		managers[name] = true
	}
	var calls []*ast.CallExpr
	ast.Inspect(p.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 || !p.selects(call.Args[1], healthzPath, "Ping") {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || checks[method.Sel.Name] == "" {
			return true
		}
		if receiver, ok := method.X.(*ast.Ident); ok && managers[receiver.Name] {
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

// importManager returns the name of package manager in the file, and the edits that
// import the package if it is not imported yet.
func (p *program) importManager() (string, []edit, error) {
	if s := p.importOf(managerPath); s != nil {
		return importName(s), nil, nil
	}
	used := map[string]bool{}
	ast.Inspect(p.file, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			used[id.Name] = true
		}
		return true
	})
	for _, s := range p.file.Imports {
		used[importName(s)] = true
	}
	for _, name := range []string{"manager", "incumbentmanager"} {
		if used[name] || p.taken[name] {
			continue
		}
		spec := strconv.Quote(managerPath)
		if name != "manager" {
			spec = name + " " + spec
		}
		return name, []edit{p.insertImport(spec)}, nil
	}
	return "", nil, fmt.Errorf("%s uses the names manager and incumbentmanager, so package manager has no name there: rename one of them", p.path)
}

// insertImport returns an edit that inserts an import before that of controller-runtime.
func (p *program) insertImport(spec string) edit {
	beside := p.importOf(runtimePath)
	if beside == nil {
		beside = p.importOf(crmanagerPath)
	}
	decl := p.declarationOf(beside)
	if !decl.Lparen.IsValid() {
		return wholeLines(p.src, lineStart(p.src, p.offset(decl)), "import "+spec)
	}
	at := lineStart(p.src, p.offset(beside))
	if at <= p.fset.Position(decl.Lparen).Offset {
		return edit{p.offset(beside), p.offset(beside), spec + "; "} // the declaration has one line
	}
	return wholeLines(p.src, at, "\t"+spec)
}

// removeImport returns an edit that removes an import and its line.
func (p *program) removeImport(s *ast.ImportSpec) edit {
	var removed ast.Node = s
	if decl := p.declarationOf(s); !decl.Lparen.IsValid() {
		removed = decl
	}
	start, end := p.offset(removed), p.fset.Position(removed.End()).Offset
	return edit{lineStart(p.src, start), lineEnd(p.src, end), ""}
}

// declarationOf returns the declaration that contains an import.
func (p *program) declarationOf(s *ast.ImportSpec) *ast.GenDecl {
	for _, d := range p.file.Decls {
		if decl, ok := d.(*ast.GenDecl); ok && decl.Pos() <= s.Pos() && s.End() <= decl.End() {
			return decl
		}
	}
	panic("bug: an import is in no declaration")
}

// unusedWithout reports whether the file uses a package only in the given nodes.
func (p *program) unusedWithout(name string, replaced []ast.Node) bool {
	unused, some := true, false
	ast.Inspect(p.file, func(n ast.Node) bool {
		for _, r := range replaced {
			if n == r {
				if selector, ok := n.(*ast.SelectorExpr); ok {
					id, _ := selector.X.(*ast.Ident)
					some = some || id != nil && id.Name == name
				}
				return false
			}
		}
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := selector.X.(*ast.Ident); ok && id.Name == name {
				unused = false
			}
		}
		return true
	})
	return unused && some
}

func (p *program) offset(n ast.Node) int { return p.fset.Position(n.Pos()).Offset }

func (p *program) replace(n ast.Node, text string) edit {
	return edit{p.offset(n), p.fset.Position(n.End()).Offset, text}
}
