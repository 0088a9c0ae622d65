//go:build !linux

package envtest

import "syscall"

// dieWithParent returns nil, because this package can kill the child of a dead
// program only on Linux. The child stays in the process group of this process.
// Therefore ^C in the terminal also reaches the child.
func dieWithParent() *syscall.SysProcAttr { return nil }
