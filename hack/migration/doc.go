// Package migration contains the code of the migration guide, README.md, for programs
// that use client-go, controller-runtime or operator-lib. Every block of code in the
// guide is part of this package or of the module leaderforlife. The tests of both run
// this code.
package migration
