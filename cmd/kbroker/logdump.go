package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kbroker/kbroker/controller/raftwal"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log/dump"
)

// logCommand is `kbroker log`.
func logCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "Look into the files of a data directory"}
	var o output
	var options dump.Options
	command := &cobra.Command{
		Use: "dump FILE...", Short: "Print what files of a data directory hold", Args: arguments(1, 0, "at least one file"),
		Long: `Print what files of a data directory hold, written by kbroker or by Kafka: segments, indexes, snapshots, checkpoints
and the other small files. Nothing is changed, and a broker may be running.`,
		Example: "  kbroker log dump --records kbroker-data/demo-0/*.log",
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := o.check(); err != nil {
				return err
			}
			options.JSON = o.format == "json"
			var all []error
			for _, name := range files {
				all = append(all, dumpError(dumpFile(cmd.OutOrStdout(), name, options)))
			}
			return errors.Join(all...)
		},
	}
	o.add(command)
	command.Flags().BoolVar(&options.Records, "records", false, "print the records of each batch too")
	cmd.AddCommand(command)
	return cmd
}

// dumpFile prints one file. The files of the metadata log have names that dump.File knows, and would look damaged to it.
func dumpFile(w io.Writer, name string, options dump.Options) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return fmt.Errorf("dump: %w", err)
	case info.IsDir():
		return &exitError{exitUsage, fmt.Errorf("dump %s: a directory; name files in it, such as %s", name, filepath.Join(name, "*.log"))}
	}
	full, err := filepath.Abs(name) // a bare name may be one of a file in that directory
	if err != nil {
		return fmt.Errorf("dump %s: %w", name, err)
	}
	if filepath.Base(filepath.Dir(full)) == raftwal.DirName {
		return fmt.Errorf("dump %s: the cluster's metadata, which is not printed; kbroker topic describe shows what it says", name)
	}
	return dump.File(w, vfs.OS(), name, options)
}

func dumpError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &exitError{exitNotFound, err}
	}
	return err
}
