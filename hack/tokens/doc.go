// Package tokens contains only tests. They run the SQL statements in the examples of
// package fencing on a real database. The package is a module of its own, because the
// database has many dependencies.
package tokens
