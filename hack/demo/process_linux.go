package main

import "syscall"

// ownGroup keeps a ^C in the terminal from the replicas, for the director stops
// them in order, and has the kernel kill them when the director dies, also those
// that are frozen.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
