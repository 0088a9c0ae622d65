package adopt

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
)

// Module is the path of the module that the operator must require.
const Module = "github.com/haproxy-template-ic/incumbent"

// A Plan contains the changes of an operator.
type Plan struct {
	// Changes are the files that change, in the order of their paths.
	Changes []Change

	// Notes describe what the user has to do or should know. Each note is one sentence
	// that begins with the file.
	Notes []string

	// Required is true if go.mod requires this module.
	Required bool
}

// A Change is the change of one file.
type Change struct {
	Path     string // relative to the folder of the operator, with slashes
	Old, New []byte
}

// Make returns the changes of the operator in root. program is the path of the Go file
// that creates the Manager. If program is empty, Make searches for this file. If nothing
// has to change, the Plan has no Changes. Make returns an error if root contains no
// operator, if a file cannot be read or parsed, or if a file has a form that cannot be
// changed safely.
func Make(root *os.Root, program string) (*Plan, error) {
	main, err := findProgram(root, program)
	if err != nil {
		return nil, err
	}
	plan := &Plan{}
	source, err := main.adopt()
	if err != nil {
		return nil, err
	}
	plan.add(main.path, main.src, source)
	plan.Notes = append(plan.Notes, main.notes()...)
	if err := plan.changeYAML(root, "config/rbac", roles{}); err != nil {
		return nil, err
	}
	if err := plan.changeYAML(root, "config/manager", deployments{main.hasLive && main.hasReady}); err != nil {
		return nil, err
	}
	slices.SortFunc(plan.Changes, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	plan.Required, err = requires(root)
	return plan, err
}

// add adds a change to the Plan, unless both texts are equal.
func (p *Plan) add(file string, before, after []byte) {
	if !bytes.Equal(before, after) {
		p.Changes = append(p.Changes, Change{file, before, after})
	}
}

// An editor changes the documents of one kind in a YAML file.
type editor interface {
	// edit returns the edits of one file, and notes for the user. It reports whether the
	// file has a document of the editor's kind.
	edit(f *yamlFile) (edits []edit, notes []string, found bool, err error)

	// missing returns the note for a folder without a document of the editor's kind.
	missing(dir string) string
}

// changeYAML adds the changes of all YAML files in the folder dir to the Plan.
func (p *Plan) changeYAML(root *os.Root, dir string, e editor) error {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(dir, err)
	}
	anyFound := false
	for _, entry := range entries {
		if ext := path.Ext(entry.Name()); entry.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		file := path.Join(dir, entry.Name())
		text, err := root.ReadFile(file)
		if err != nil {
			return explain(file, err)
		}
		changed, notes, found, err := editYAML(file, text, e)
		if err != nil {
			return err
		}
		anyFound = anyFound || found
		p.add(file, text, changed)
		p.Notes = append(p.Notes, notes...)
	}
	if !anyFound {
		p.Notes = append(p.Notes, e.missing(dir))
	}
	return nil
}

// requirement matches a line of go.mod that requires this module.
var requirement = regexp.MustCompile(`(?m)^\s*(require\s+)?` + regexp.QuoteMeta(Module) + `\s+v`)

func requires(root *os.Root) (bool, error) {
	text, err := root.ReadFile("go.mod")
	if err != nil {
		return false, explain("go.mod", err)
	}
	return requirement.Match(text), nil
}

// explain returns an error that names the file and the remedy. err is the error of a
// function of os.Root.
func explain(file string, err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	if err.Error() == "path escapes from parent" { // package os does not export this error
		return fmt.Errorf("%s is a symbolic link that leads out of the folder: replace it by a file", file)
	}
	return fmt.Errorf("%s cannot be read: %w", file, err)
}
