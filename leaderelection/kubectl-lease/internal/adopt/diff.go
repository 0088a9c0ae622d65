package adopt

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// context is the number of unchanged lines before and after a change in a diff.
const context = 3

// Diff returns all changes as a unified diff.
func (p *Plan) Diff() string {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "--- a/%s\n+++ b/%s\n", c.Path, c.Path)
		writeHunks(&b, compareLines(linesOf(c.Old), linesOf(c.New)))
	}
	return b.String()
}

// linesOf splits a text into lines with their line breaks.
func linesOf(text []byte) []string {
	var lines []string
	for line := range bytes.Lines(text) {
		lines = append(lines, string(line))
	}
	return lines
}

// A diffLine is one line of a diff. The kind is ' ', '-' or '+'.
type diffLine struct {
	kind byte
	text string
}

// compareLines returns a shortest diff of two texts. The lines that both texts have in
// common at the begin and at the end need no search.
func compareLines(before, after []string) []diffLine {
	var head, tail []diffLine
	for len(before) > 0 && len(after) > 0 && before[0] == after[0] {
		head, before, after = append(head, diffLine{' ', before[0]}), before[1:], after[1:]
	}
	for len(before) > 0 && len(after) > 0 && before[len(before)-1] == after[len(after)-1] {
		tail = append(tail, diffLine{' ', before[len(before)-1]})
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	slices.Reverse(tail)
	return slices.Concat(head, shortestDiff(before, after), tail)
}

func shortestDiff(before, after []string) []diffLine {
	// common[i][j] is the length of the longest common subsequence of before[i:] and
	// after[j:].
	common := make([][]int32, len(before)+1)
	for i := range common {
		common[i] = make([]int32, len(after)+1)
	}
	for i := len(before) - 1; i >= 0; i-- {
		for j := len(after) - 1; j >= 0; j-- {
			if before[i] == after[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var diff []diffLine
	for i, j := 0, 0; i < len(before) || j < len(after); {
		switch {
		case i < len(before) && j < len(after) && before[i] == after[j]:
			diff = append(diff, diffLine{' ', before[i]})
			i, j = i+1, j+1
		case j == len(after) || i < len(before) && common[i+1][j] >= common[i][j+1]:
			diff = append(diff, diffLine{'-', before[i]})
			i++
		default:
			diff = append(diff, diffLine{'+', after[j]})
			j++
		}
	}
	return diff
}

// writeHunks writes the changed lines of a diff with their context.
func writeHunks(b *strings.Builder, diff []diffLine) {
	before, after := 1, 1 // the numbers of the next lines
	for i := 0; i < len(diff); {
		end := hunkEnd(diff, i)
		if end == i { // line i belongs to no hunk
			before, after, i = before+1, after+1, i+1
			continue
		}
		removed, added := 0, 0
		for _, line := range diff[i:end] {
			if line.kind != '+' {
				removed++
			}
			if line.kind != '-' {
				added++
			}
		}
		fmt.Fprintf(b, "@@ -%d,%d +%d,%d @@\n", before, removed, after, added)
		for _, line := range diff[i:end] {
			b.WriteByte(line.kind)
			b.WriteString(line.text)
			if !strings.HasSuffix(line.text, "\n") {
				b.WriteString("\n\\ No newline at end of file\n")
			}
		}
		before, after, i = before+removed, after+added, end
	}
}

// hunkEnd returns the end of the hunk that begins at line i. It returns i if no hunk
// begins there, because no change follows within the context.
func hunkEnd(diff []diffLine, i int) int {
	end := i
	for j := i; j < len(diff) && j <= max(i+context, end+context); j++ {
		if diff[j].kind != ' ' {
			end = min(len(diff), j+1+context)
		}
	}
	return end
}
