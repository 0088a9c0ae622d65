package lab

import "syscall"

// ownProcessGroup returns attributes that put a child process into a separate process
// group. Therefore the child receives no SIGINT if the user presses ^C in the terminal.
// The parent process stops the child instead. If the parent process dies, the kernel
// kills the child, even if the child is frozen.
func ownProcessGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
