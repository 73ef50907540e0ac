// Command kbroker is a broker that Kafka clients take for Kafka, and the tools around it in the same binary.
//
// It guarantees its exit codes (exit.go), and that an error is one line on stderr that says what to change.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:])) }

// run executes the command line and returns the exit code. SIGINT and SIGTERM end the command in an orderly way; a
// second one ends the process at once.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // gives signals back their usual effect after the first
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	if code != exitInterrupted {
		// Several errors are several lines, each with the prefix that log collectors look for.
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(os.Stderr, "kbroker: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	return code
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "kbroker", Short: "A broker that Kafka clients take for Kafka",
		Long: `A broker that Kafka clients take for Kafka, and the tools around it.

  kbroker dev      starts a broker to try things with; nothing is kept
  kbroker start    starts a broker that keeps what it acknowledged`,
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
	}
	root.AddCommand(startCommand(), devCommand(), topicCommand(), groupCommand(), produceCommand(), consumeCommand(), healthCommand(),
		versionCommand(), logCommand(), configCommand())
	root.SetFlagErrorFunc(usageError)
	usageArgs(root)
	return root
}

// usageArgs makes wrong arguments of every command a usage error.
func usageArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError(c, err)
			}
			return nil
		}
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = noSubcommand
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

// noSubcommand answers a command that only groups others.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError(cmd, fmt.Errorf("there is no %s %s; did you mean %s?", cmd.CommandPath(), args[0], strings.Join(near, " or ")))
	}
	return usageError(cmd, fmt.Errorf("there is no %s %s", cmd.CommandPath(), args[0]))
}

// arguments wants from least to most arguments; most is 0 for any number. what they are is said to those who forget.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("name %s", what)
		case most > 0 && len(args) > most:
			return fmt.Errorf("%q is one argument too many: name %s", args[most], what)
		}
		return nil
	}
}

func usageError(cmd *cobra.Command, err error) error {
	return &exitError{exitUsage, fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
}
