package envtest

import "syscall"

// dieWithParent makes the kernel kill the child when this process ends. The child
// gets a process group of its own, so that ^C in the terminal reaches only this
// process.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
