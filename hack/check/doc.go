// Package check has no code, only tests: the conventions of this repository
// that a machine can check. "make verify" runs them, and so does "make test".
package check
