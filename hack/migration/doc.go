// Package migration contains the code of the migration guide, README.md. The guide is for
// programs that use client-go, controller-runtime or operator-lib. Every block of code in
// the guide is part of this package or of the package leaderforlife, and tests run this
// code.
package migration
