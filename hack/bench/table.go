package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// columns contains the names of the limit and of the implementations, in the order of
// the table's columns.
var columns = []string{limitName, clientGo, runtimeName, incumbent, incumbentMgr}

// table returns the figures as text, with the versions of what was compared.
func (r *report) table() string {
	text := table(r.Figures)
	for _, path := range slices.Sorted(maps.Keys(r.Modules)) {
		text += fmt.Sprintf("\n%s %s", path, r.Modules[path])
	}
	return text + fmt.Sprintf("\nkube-apiserver %s, %s, %d CPUs, %s\n", r.Kubernetes, r.Go, r.CPUs, r.Date.Format(time.DateOnly))
}

// table returns the figures as a text table. Each group of figures has a heading.
func table(figures []figure) string {
	rows := [][]string{append(append([]string{""}, columns...), "target", "")}
	headings := map[int]string{}
	group := ""
	for _, f := range figures {
		if f.Group != group {
			group = f.Group
			headings[len(rows)] = group
		}
		rows = append(rows, cells(f))
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for i, row := range rows {
		if heading := headings[i]; heading != "" {
			fmt.Fprintf(&b, "\n%s\n", heading)
		}
		b.WriteString(strings.TrimRight(line(row, widths), " ") + "\n")
	}
	return b.String()
}

func cells(f figure) []string {
	name := "  " + f.Name
	if f.Unit != "" {
		name += ", " + f.Unit
	}
	row := []string{name}
	for _, column := range columns {
		cell := ""
		if v, ok := f.Values[column]; ok {
			cell = lab.Number(v)
		} else if _, missing := f.NotMeasured[column]; missing {
			cell = "?"
		}
		row = append(row, cell)
	}
	return append(row, f.Target.String(), f.outcome())
}

// String returns the relation and the value of the target. It returns an empty string
// if t is nil.
func (t *target) String() string {
	if t == nil {
		return ""
	}
	return t.Relation + " " + lab.Number(t.Value)
}

// outcome returns the text for the last column of the table. The text states whether
// the target was met, and why values were not measured.
func (f figure) outcome() string {
	var texts []string
	if t := f.Target; t != nil {
		switch {
		case t.NotMeasured != "":
			texts = append(texts, "not measured: "+t.NotMeasured)
		case t.Met:
			texts = append(texts, "met")
		default:
			texts = append(texts, "MISSED")
		}
	}
	for _, column := range columns {
		if reason, missing := f.NotMeasured[column]; missing && (f.Target == nil || f.Target.NotMeasured != reason) {
			texts = append(texts, column+" not measured: "+reason)
		}
	}
	return strings.Join(texts, "; ")
}

// line returns one row of the table. The first and the last cell are aligned to the
// left, and the other cells to the right.
func line(row []string, widths []int) string {
	var b strings.Builder
	for i, cell := range row {
		padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		switch {
		case i == 0:
			b.WriteString(cell + padding)
		case i == len(row)-1:
			b.WriteString("  " + cell)
		default:
			b.WriteString("  " + padding + cell)
		}
	}
	return b.String()
}
