package main

import (
	"embed"
	"os"
	"path/filepath"
	"strings"
)

// The folder files contains the code that rewritten specs call. The names end in .txt,
// because the code belongs to other packages.
//
//go:embed files
var files embed.FS

// addFiles adds the code that the rewritten specs call to the folder of a suite. The
// parameter name is the name of the package of the specs.
func addFiles(folder, suite, name string) error {
	added := map[string]string{"other_test.go.txt": "incumbent_test.go"}
	if suite == "manager" {
		added = map[string]string{"manager_test.go.txt": "incumbent_test.go", "manager_external_test.go.txt": "incumbent_external_test.go"}
	}
	for from, to := range added {
		content, err := files.ReadFile("files/" + from)
		if err != nil {
			return err
		}
		code := strings.Replace(string(content), "package PACKAGE", "package "+name, 1)
		if err := replaceFile(filepath.Join(folder, to), []byte(code)); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file. Files that were copied from the module cache are read-only.
func replaceFile(name string, content []byte) error {
	if err := os.RemoveAll(name); err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o600)
}
