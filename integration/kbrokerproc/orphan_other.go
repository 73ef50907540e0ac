//go:build !linux

package kbrokerproc

import "syscall"

// dieWithParent is Linux only; elsewhere a killed test process leaves its kbroker behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
