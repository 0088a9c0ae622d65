// Package migration is the code of the page README.md, which says how to come here
// from client-go, controller-runtime and operator-lib. Every block of code on the
// page is part of this package, and is compiled or run by its tests.
package migration
