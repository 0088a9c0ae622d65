package exported

const Constant = 1

var Variable, variable = helper(), 2

type Struct struct{ Field int }

func (*Struct) Method() {}

func (Struct) method() {}

type Interface interface{ Method() }

type Embedded struct{ Struct }

type unexported struct{}

func (unexported) Method() {}

func Function(n int) error { return nil }

// helper is a helper.
func helper() int {
	return variable // a comment
}

func init() {}
