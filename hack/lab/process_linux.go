package lab

import "syscall"

// ownProcessGroup puts the process into a process group of its own, so that a ^C in
// the terminal does not reach it: its starter stops it. The kernel kills the process
// when its starter dies, also while the process is frozen.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
