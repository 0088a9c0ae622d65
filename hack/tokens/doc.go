// Package tokens contains only a test. A real database runs the SQL statements that the
// examples of package fencing show. It is a module of its own, because the database has
// many dependencies.
package tokens
