package envtest

import "syscall"

// dieWithParent returns attributes for a child process. Linux kills the child
// when this process ends. The child has its own process group. Therefore ^C in
// the terminal does not reach the child.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
