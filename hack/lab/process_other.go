//go:build !linux

package lab

import "syscall"

// ownProcessGroup puts the process into a process group of its own, so that a ^C in
// the terminal does not reach it: its starter stops it. When the starter dies, the
// process reads the end of its standard input.
func ownProcessGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
