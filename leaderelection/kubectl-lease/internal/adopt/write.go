package adopt

import (
	"errors"
	"fmt"
	"os"
)

// Write writes all changed files. If one file cannot be written, Write restores the
// others and returns an error. Owner and permissions of the files remain.
func (p *Plan) Write(root *os.Root) error {
	files := make([]*os.File, len(p.Changes))
	defer func() {
		for _, f := range files {
			if f != nil {
				_ = f.Close() // overwrite has checked the last write
			}
		}
	}()
	for i, c := range p.Changes { // no file is changed before all are open
		f, err := root.OpenFile(c.Path, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("%w; no file was changed", explainWrite(c.Path, err))
		}
		files[i] = f
	}
	for i, c := range p.Changes {
		err := overwrite(files[i], c.New)
		if err == nil {
			continue
		}
		errs := []error{explainWrite(c.Path, err)}
		for j := i; j >= 0; j-- {
			if err := overwrite(files[j], p.Changes[j].Old); err != nil {
				errs = append(errs, fmt.Errorf("%s cannot be restored: %w", p.Changes[j].Path, err))
			}
		}
		return errors.Join(errs...)
	}
	return nil
}

// overwrite replaces the content of an open file.
func overwrite(f *os.File, content []byte) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(content, 0)
	return errors.Join(err, f.Sync())
}

func explainWrite(file string, err error) error {
	return fmt.Errorf("%s cannot be written: %w", file, err)
}
