//go:build !linux

package main

import "syscall"

// ownGroup keeps a ^C in the terminal from the replicas, for the director stops
// them in order. When the director dies they see their standard input end.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
