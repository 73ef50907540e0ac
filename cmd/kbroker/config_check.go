package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kbroker/kbroker/internal/config"
)

// verdict is what kbroker makes of some settings.
type verdict struct {
	Starts        bool     `json:"starts"` // a node would start with them
	Works         []judged `json:"works"`
	Unusable      []judged `json:"unusable"` // with that value
	Refused       []judged `json:"refused"`
	WithoutEffect []judged `json:"accepted_without_effect"`
	Unknown       []judged `json:"unknown"`
	Notes         []string `json:"notes"`
	Errors        []string `json:"errors"`
}

// judged is one setting of a verdict.
type judged struct {
	Name string `json:"name"`
	From string `json:"from"`          // such as server.properties:12
	Why  string `json:"why,omitempty"` // it is unusable, refused, without effect or unknown
}

func configCheckCommand() *cobra.Command {
	var o output
	var environment bool
	cmd := &cobra.Command{
		Use: "check [server.properties]", Short: "Say what kbroker makes of a file of settings, or of the environment",
		Args: arguments(0, 1, "one file at most"),
		Long: `Sort settings into those that work, those whose value kbroker cannot use, those that are refused and what to do instead, those
that are accepted without effect and why, and those that nobody knows. They come from a file, such as that of a Kafka broker, or from the variables
of the environment (KAFKA_LISTENERS and so on) when no file is named. The exit code is 78 if kbroker would not start with
them.`,
		Example: `  kbroker config check /etc/kafka/server.properties
  env -i KAFKA_LISTENERS=PLAINTEXT://:9092 kbroker config check`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			from := config.Sources{Defaults: nodeDefaults}
			if len(args) == 1 {
				from.File = args[0]
			}
			if environment || len(args) == 0 {
				from.Environ = os.Environ()
			}
			settings, err := config.Load(from)
			if settings == nil {
				return &exitError{exitConfig, err}
			}
			if err == nil {
				_, err = config.NewStore(settings)
			}
			v := judge(settings, err)
			if err := o.describe(cmd.OutOrStdout(), v, v.print); err != nil {
				return err
			}
			if err != nil {
				return &exitError{exitConfig, err}
			}
			return nil
		},
	}
	o.add(cmd)
	cmd.Flags().BoolVar(&environment, "environment", false, "judge the environment with the file, as a start would")
	return cmd
}

// judge sorts settings. err is why a node would not start with them.
func judge(settings *config.Settings, err error) *verdict {
	why := func(s config.Setting) string { return s.Key.Note }
	none := func(config.Setting) string { return "" }
	meant := func(s config.Setting) string {
		if near := config.Suggest(s.Name); near != "" {
			return "did you mean " + near + "?"
		}
		return ""
	}
	unusable := unusableSettings(err)
	list := func(all []config.Setting, why func(config.Setting) string) []judged {
		out := []judged{}
		for _, s := range all {
			if _, ok := unusable[s.Name]; s.Origin != "default" && !ok {
				out = append(out, judged{s.Name, s.Origin, why(s)})
			}
		}
		return out
	}
	v := &verdict{
		Starts: err == nil,
		Works:  list(settings.Working(), none), Unusable: []judged{}, Refused: list(settings.Refused(), why),
		WithoutEffect: list(settings.WithoutEffect(), why), Unknown: list(settings.Unknown(), meant),
		Notes: append([]string{}, settings.Warnings...), Errors: []string{},
	}
	for _, s := range settings.All() {
		if reason, ok := unusable[s.Name]; ok {
			v.Unusable = append(v.Unusable, judged{s.Name, s.Origin, reason})
		}
	}
	if err != nil {
		v.Errors = strings.Split(err.Error(), "\n")
	}
	return v
}

// unusableSettings returns the settings that err, which may be several, finds a fault with, and what that is. Those that are
// refused are not among them: their values are right.
func unusableSettings(err error) map[string]string {
	unusable := map[string]string{}
	all := []error{err}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		all = many.Unwrap()
	}
	for _, err := range all {
		var s *config.SettingError
		if errors.As(err, &s) && !s.Refused {
			unusable[s.Name] = strings.TrimPrefix(s.Err.Error(), s.Name+": ")
		}
	}
	return unusable
}

// print writes the reasons of each part in a column of their own.
func (v *verdict) print(w io.Writer) error {
	if len(v.Works)+len(v.Unusable)+len(v.Refused)+len(v.WithoutEffect)+len(v.Unknown) == 0 {
		fmt.Fprintln(w, "nothing is set")
	}
	for _, part := range []struct {
		title string
		all   []judged
	}{{"works", v.Works}, {"not usable as they are", v.Unusable}, {"refused", v.Refused}, {"accepted without effect", v.WithoutEffect}, {"unknown", v.Unknown}} {
		if len(part.all) > 0 {
			fmt.Fprintf(w, "%s:\n", part.title)
		}
		var rows [][]string
		for _, j := range part.all {
			rows = append(rows, []string{"  " + j.Name, j.Why})
		}
		if err := printTable(w, nil, rows); err != nil {
			return err
		}
	}
	for _, n := range v.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	return nil
}
