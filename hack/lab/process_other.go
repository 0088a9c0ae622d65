//go:build !linux

package lab

import "syscall"

// ownProcessGroup returns attributes that put a child process into a process group of
// its own. Therefore ^C in the terminal does not reach the child, and the parent stops
// the child instead. If the parent dies, the child reads the end of its standard input.
func ownProcessGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
