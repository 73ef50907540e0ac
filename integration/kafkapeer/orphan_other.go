//go:build !linux

package kafkapeer

import "syscall"

// dieWithParent is Linux only; elsewhere a killed test process leaves its Kafka behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
