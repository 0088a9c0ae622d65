//go:build !linux

package spawn

import "syscall"

// ownGroup keeps a ^C in the terminal from the process, for whoever started it
// stops it in order. When that one dies, the process sees its standard input end.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
