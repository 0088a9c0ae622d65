// Package tokens has no code, only a test: a real database runs the statements that
// the examples of package fencing show. It is a module of its own, for the database
// is large.
package tokens
