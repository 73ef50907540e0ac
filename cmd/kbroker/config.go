package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kbroker/kbroker/internal/config"
)

// configCommand is `kbroker config`.
func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at the settings that a node would start with"}
	cmd.AddCommand(configShowCommand(), configCheckCommand())
	return cmd
}

func configShowCommand() *cobra.Command {
	var flags settingFlags
	var all bool
	cmd := &cobra.Command{
		Use: "show [server.properties]", Short: "Print settings, and where they come from", Args: arguments(0, 1, "one file at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := loadConfig(flags.sources(args))
			if err != nil {
				return err
			}
			origins := map[string]string{}
			for _, s := range store.Settings().All() {
				origins[s.Name] = s.Origin
			}
			var rows [][]string
			entries := store.DescribeBroker(nil)
			slices.SortFunc(entries, func(a, b config.Entry) int { return cmp.Compare(a.Name, b.Name) })
			for _, e := range entries {
				origin, set := origins[e.Name]
				if !set {
					origin = "Kafka's default"
				}
				if origin == "default" {
					origin = "kbroker's default"
				}
				if set || all {
					rows = append(rows, []string{e.Name, shown(e), origin, class(e.Name)})
				}
			}
			return printTable(cmd.OutOrStdout(), []string{"NAME", "VALUE", "FROM", "CLASS"}, rows)
		},
	}
	flags.add(cmd)
	flags.addData(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "print all settings, not only those that are set")
	return cmd
}

// shown is the value of a setting as it may be printed.
func shown(e config.Entry) string {
	switch {
	case e.Sensitive:
		return "(hidden)"
	case e.Value == nil:
		return "(none)"
	}
	return *e.Value
}

func class(name string) string {
	if k := config.BrokerKeys.Key(name); k != nil {
		return k.Class.String()
	}
	return "unknown"
}

func configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check server.properties", Short: "Say what kbroker makes of a file of settings", Args: arguments(1, 1, "one file"),
		Long: `Sort the settings of a file, such as that of a Kafka broker, into those that work, those that are accepted without
effect and why, and those that nobody knows. The exit code is 78 if kbroker would not start with it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := config.Load(config.Sources{Defaults: nodeDefaults, File: args[0]})
			if settings == nil {
				return &exitError{exitConfig, err}
			}
			printClasses(cmd, settings)
			if err == nil {
				_, err = config.NewStore(settings)
			}
			if err != nil {
				return &exitError{exitConfig, err}
			}
			return nil
		},
	}
}

// printClasses prints the settings of a file by what becomes of them. What is wrong is in the error of their loading.
func printClasses(cmd *cobra.Command, settings *config.Settings) {
	out := cmd.OutOrStdout()
	list := func(title string, all []config.Setting, note func(config.Setting) string) {
		first := true
		for _, s := range all {
			if s.Origin == "default" {
				continue
			}
			if first {
				fmt.Fprintf(out, "%s:\n", title)
				first = false
			}
			fmt.Fprintf(out, "  %s\n", strings.TrimSpace(s.Name+"  "+note(s)))
		}
	}
	none := func(config.Setting) string { return "" }
	list("works", settings.Working(), none)
	list("refused", settings.Refused(), func(s config.Setting) string { return s.Key.Note })
	list("accepted without effect", settings.WithoutEffect(), func(s config.Setting) string { return s.Key.Note })
	list("unknown", settings.Unknown(), none)
	for _, w := range settings.Warnings {
		fmt.Fprintf(out, "note: %s\n", w)
	}
}
