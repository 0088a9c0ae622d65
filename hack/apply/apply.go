// Package apply is what the commands have in common that print objects for kubectl
// apply.
package apply

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
)

// Main runs a command: what is to be applied goes to the standard output, what
// people should read beside it to the other one.
func Main(name string, run func(args []string, out, notes io.Writer) error) {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	}
}

// Parse parses the arguments. Asked for help it prints the usage and the flags; a
// flag that is wrong is left to the caller to tell of, once.
func Parse(flags *flag.FlagSet, args []string, usage string, notes io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(notes)
		if _, err := io.WriteString(notes, usage); err != nil {
			return err
		}
		flags.PrintDefaults()
		return flag.ErrHelp
	case err != nil:
		return fmt.Errorf("%w (-h tells of all flags)", err)
	default:
		return nil
	}
}

// Write prints objects as YAML, one document each.
func Write(out io.Writer, objects ...runtime.Object) error {
	serializer := json.NewSerializerWithOptions(json.DefaultMetaFactory, nil, nil, json.SerializerOptions{Yaml: true})
	for i, object := range objects {
		if i > 0 {
			if _, err := io.WriteString(out, "---\n"); err != nil {
				return err
			}
		}
		if err := serializer.Encode(object, out); err != nil {
			return err
		}
	}
	return nil
}
