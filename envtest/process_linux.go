package envtest

import "syscall"

// dieWithParent has the kernel kill the child when we die, however we die. The
// child gets a process group of its own, so that a ^C in the terminal is ours to
// handle first.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
