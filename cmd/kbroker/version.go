package main

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// protocolVersion is the Kafka whose protocol, settings and files this version serves.
const protocolVersion = "4.3.1"

// sourceVersion is the version that this source is on its way to. A build from anywhere, an archive without a repository
// too, so has a number; Revision tells builds apart.
const sourceVersion = "v0.1.0-dev"

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

// readVersion returns the version of this binary.
func readVersion() versionInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info)
}

// versionOf reads what a build recorded. That of a release, which go install was told or a tag says, wins over the
// source's own; before the first tag Go makes up v0.0.0 and the revision, which says less than the two apart.
func versionOf(info *debug.BuildInfo) versionInfo {
	v := versionInfo{Version: sourceVersion, Kafka: protocolVersion, Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if m := info.Main.Version; m != "" && m != "(devel)" && !strings.HasPrefix(m, "v0.0.0-") {
		v.Version = m
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
				revision := v.Revision + " " + v.Date
				if v.Modified {
					revision += ", with changes that are not in it"
				}
				rows = append(rows, []string{"revision", revision})
			}
			return o.print(cmd.OutOrStdout(), v, nil, rows)
		},
	}
	o.add(cmd)
	return cmd
}
