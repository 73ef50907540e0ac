// Command kbroker is a broker that Kafka clients take for Kafka, and the tools around it in the same binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes. They are part of the interface: scripts and service managers act on them.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitInternal = 70 // the broker itself is at fault
	exitIO       = 74 // a directory or disk can't be used
	exitTaken    = 75 // a port or a data directory belongs to another process
	exitConfig   = 78 // a setting is wrong
)

// exitError is an error with the exit code it ends the process with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() { os.Exit(run()) }

// run executes the command line and returns the exit code. Errors are one line that says what to change.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use: "kbroker", Short: "A broker that Kafka clients take for Kafka",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(startCommand(), devCommand())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(os.Stderr, "kbroker: %v\n", err)
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitFailed
}
