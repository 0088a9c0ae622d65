//go:build !linux

package lab

import "syscall"

// ownProcessGroup returns attributes that put a child process into a separate process
// group. Therefore the child receives no SIGINT if the user presses ^C in the terminal.
// The parent process stops the child instead. If the parent process dies, the child
// reads the end of its standard input and stops.
func ownProcessGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
