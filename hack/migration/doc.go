// Package migration is the code of the page README.md, which says how to come here
// from client-go, controller-runtime and operator-lib. Every block of code on the
// page is part of this package or of its folder forlife, and is run by their tests.
package migration
