package process

import "syscall"

// dieWithParent makes the kernel kill the child when the thread that started it ends. Process.run keeps that thread for as
// long as the child lives, so the child goes with the test process, even when that panics or is killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
