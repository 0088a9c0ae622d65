package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// columns are the contenders in the order of the table.
var columns = []string{limitName, clientGo, runtimeName, incumbent, incumbentMgr}

// table renders the figures, each group under a heading of its own.
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
			cell = number(v)
		}
		row = append(row, cell)
	}
	if f.Target == nil {
		return append(row, "", "")
	}
	verdict := "met"
	if !f.Target.Met {
		verdict = "MISSED"
	}
	return append(row, f.Target.Relation+" "+number(f.Target.Value), verdict)
}

// line puts the first and the last cell to the left of their columns, the others
// to the right.
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

// number shows three digits that count, and whole numbers as such.
func number(v float64) string {
	switch abs := max(v, -v); {
	case v == float64(int64(v)):
		return fmt.Sprintf("%d", int64(v))
	case abs >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case abs >= 9.995:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
