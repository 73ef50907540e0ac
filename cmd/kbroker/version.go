package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// protocolVersion is the Kafka whose protocol, settings and files this version serves.
const protocolVersion = "4.3.1"

// versionInfo is what the build recorded.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a tree that differs from Revision
	Date     string `json:"date,omitempty"`     // of Revision
	Kafka    string `json:"kafka"`
	Go       string `json:"go"`
	System   string `json:"system"`
}

func readVersion() versionInfo {
	v := versionInfo{Version: "devel", Kafka: protocolVersion, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Date = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// softwareVersion is the version as ApiVersions takes it: letters, digits, dots and dashes (rule 1.4.3).
func softwareVersion() string {
	out := []byte(readVersion().Version)
	for i, c := range out {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.':
		default:
			out[i] = '-'
		}
	}
	return string(out)
}

// versionCommand is `kbroker version`.
func versionCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			v := readVersion()
			rows := [][]string{{"kbroker", v.Version}, {"kafka", v.Kafka}, {"go", v.Go + " " + v.System}}
			if v.Revision != "" {
				rows = append(rows, []string{"revision", fmt.Sprintf("%s %s", v.Revision, v.Date)})
			}
			return o.print(cmd.OutOrStdout(), v, nil, rows)
		},
	}
	o.add(cmd)
	return cmd
}
