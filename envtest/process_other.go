//go:build !linux

package envtest

import "syscall"

// dieWithParent leaves the child in the process group of this process, so that at
// least ^C in the terminal reaches it.
func dieWithParent() *syscall.SysProcAttr { return nil }
