package lab

import "syscall"

// ownProcessGroup returns attributes that put a child process into its own process
// group. Therefore ^C in the terminal does not send SIGINT to the child. If the parent
// process dies, the kernel kills the child.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
