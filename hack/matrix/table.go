package main

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// A row is one line of the table: a combination with the result of its tests.
type row struct{ kubernetes, controllerRuntime, server, tests, date, result string }

func (r row) String() string {
	return "| " + strings.Join([]string{r.kubernetes, r.controllerRuntime, r.server, r.tests, r.date, r.result}, " | ") + " |"
}

// combination returns a text that is the same for two rows of one combination. Versions
// are compared without the patch version, so that a newer patch replaces an older one.
func (r row) combination() string {
	return minor(r.kubernetes) + " " + minor(r.server)
}

// minor returns a version without its patch version.
func minor(version string) string {
	return version[:max(0, strings.LastIndex(version, "."))]
}

const head = `# Compatibility

` + "`make test-matrix`" + ` writes this table. Each row is one run of the tests with one version of the Kubernetes modules, one
version of controller-runtime and one version of kube-apiserver. The tests named fencing are the only ones that run against
the oldest API server that a Fence needs.

| Kubernetes modules | controller-runtime | kube-apiserver | tests | date | result |
| --- | --- | --- | --- | --- | --- |
`

// record writes the row r into the table in the file path. r replaces the row of the same
// combination. Rows of other combinations are kept.
func record(path string, r row) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(withRow(string(text), r)), 0o644)
}

// withRow returns the text of the page with the row r.
func withRow(page string, r row) string {
	rows := slices.DeleteFunc(parseRows(page), func(old row) bool { return old.combination() == r.combination() })
	rows = append(rows, r)
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.combination(), b.combination()) })
	var out strings.Builder
	out.WriteString(head)
	for _, r := range rows {
		out.WriteString(r.String() + "\n")
	}
	return out.String()
}

// parseRows returns the rows of the table in a page. It ignores lines that are no rows.
func parseRows(page string) []row {
	var rows []row
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 8 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "v") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, row{cells[1], cells[2], cells[3], cells[4], cells[5], cells[6]})
	}
	return rows
}
