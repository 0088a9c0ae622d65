package spawn

import "syscall"

// ownGroup keeps a ^C in the terminal from the process, for whoever started it
// stops it in order, and has the kernel kill it when its starter dies, also while
// it is frozen.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
