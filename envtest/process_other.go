//go:build !linux

package envtest

import "syscall"

// dieWithParent returns nil, because only Linux can kill the child when this
// process ends. The child stays in the process group of this process. Therefore
// ^C in the terminal also reaches the child.
func dieWithParent() *syscall.SysProcAttr { return nil }
