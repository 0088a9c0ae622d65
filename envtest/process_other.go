//go:build !linux

package envtest

import "syscall"

// dieWithParent leaves the child in our process group, so that at least a ^C in
// the terminal reaches it.
func dieWithParent() *syscall.SysProcAttr { return nil }
