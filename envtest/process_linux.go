package envtest

import "syscall"

// dieWithParent returns attributes with which the kernel kills the child when
// this process ends. The child gets its own process group. Therefore ^C in the
// terminal reaches only this process.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
