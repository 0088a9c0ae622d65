// Package tokens contains only tests. The tests run the SQL statements from the examples
// of package fencing on a real database. The package is a module of its own, because the
// database library has many dependencies.
package tokens
