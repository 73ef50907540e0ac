package main

import (
	"cmp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kbroker/kbroker/internal/config"
)

// configCommand is `kbroker config`.
func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at the settings that a node would start with"}
	cmd.AddCommand(configShowCommand(), configCheckCommand())
	return cmd
}

// shownSetting is a setting as show prints it.
type shownSetting struct {
	Name    string  `json:"name"`
	Value   *string `json:"value"` // null: none, or not to be shown
	Hidden  bool    `json:"hidden,omitempty"`
	Default *string `json:"default"` // Kafka's; null: none
	From    string  `json:"from"`
	Class   string  `json:"class"`
}

func configShowCommand() *cobra.Command {
	var flags settingFlags
	var all bool
	var o output
	cmd := &cobra.Command{
		Use: "show [server.properties]", Short: "Print settings, and where they come from", Args: arguments(0, 1, "one file at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.format = flags.takeFormat(o.format)
			if err := o.check(); err != nil {
				return err
			}
			from, err := flags.sources(args)
			if err != nil {
				return err
			}
			store, err := loadConfig(from)
			if err != nil {
				return err
			}
			list, rows := []shownSetting{}, [][]string{}
			for _, x := range settingsOf(store, all) {
				list = append(list, x)
				rows = append(rows, []string{x.Name, x.text(), x.From, x.Class})
			}
			return o.print(cmd.OutOrStdout(), list, []string{"NAME", "VALUE", "FROM", "CLASS"}, rows)
		},
	}
	flags.add(cmd)
	flags.addData(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "print all settings, not only those that are set")
	cmd.Flags().StringVar(&o.format, "output", "text", "text or json; -o json does it too")
	return cmd
}

// takeFormat takes text or json out of the values of -o, which are settings as KEY=VALUE otherwise, and returns the last
// one that there is.
func (f *settingFlags) takeFormat(format string) string {
	f.options = slices.DeleteFunc(f.options, func(o string) bool {
		if o != "text" && o != "json" {
			return false
		}
		format = o
		return true
	})
	return format
}

// settingsOf lists the settings that are set somewhere, or all, by name.
func settingsOf(store *config.Store, all bool) (list []shownSetting) {
	origins := map[string]string{}
	for _, s := range store.Settings().All() {
		origins[s.Name] = s.Origin
	}
	entries := store.DescribeBroker(nil)
	slices.SortFunc(entries, func(a, b config.Entry) int { return cmp.Compare(a.Name, b.Name) })
	for _, e := range entries {
		from, set := origins[e.Name]
		switch {
		case !set && !all:
			continue
		case !set:
			from = "Kafka's default"
		case from == "default":
			from = "kbroker's default"
		}
		x := shownSetting{Name: e.Name, Value: e.Value, Hidden: e.Sensitive, From: from, Class: class(e.Name)}
		if k := config.BrokerKeys.Key(e.Name); k != nil && !k.Null {
			x.Default = &k.Default
		}
		list = append(list, x)
	}
	return list
}

// text is the value as it may be printed.
func (x *shownSetting) text() string {
	switch {
	case x.Hidden:
		return "(hidden)"
	case x.Value == nil:
		return "(none)"
	}
	return *x.Value
}

func class(name string) string {
	if k := config.BrokerKeys.Key(name); k != nil {
		return k.Class.String()
	}
	return "unknown"
}
