//go:build !linux

package process

import "syscall"

// dieWithParent is Linux only; elsewhere a killed test process leaves its children behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
