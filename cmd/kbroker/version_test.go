package main

import (
	"runtime/debug"
	"testing"
)

// TestVersionOf: a build has a version wherever it was made, and its revision where there was one.
func TestVersionOf(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "f00"}, {Key: "vcs.time", Value: "2026-11-25T00:00:00Z"}, {Key: "vcs.modified", Value: "true"}}
	for _, c := range []struct {
		module   string
		settings []debug.BuildSetting
		want     versionInfo
	}{
		{"", nil, versionInfo{Version: sourceVersion}}, // an archive, or a build without -buildvcs
		{"(devel)", vcs, versionInfo{Version: sourceVersion, Revision: "f00", Date: "2026-11-25T00:00:00Z", Modified: true}},
		{"v0.0.0-20261125000000-f00f00f00f00+dirty", vcs, versionInfo{Version: sourceVersion, Revision: "f00", Date: "2026-11-25T00:00:00Z", Modified: true}},
		{"v1.2.3", nil, versionInfo{Version: "v1.2.3"}},
		{"v1.2.4-0.20261125000000-f00f00f00f00", vcs[:1], versionInfo{Version: "v1.2.4-0.20261125000000-f00f00f00f00", Revision: "f00"}},
	} {
		got := versionOf(&debug.BuildInfo{Main: debug.Module{Version: c.module}, Settings: c.settings})
		got.Kafka, got.Go, got.System = "", "", ""
		if got != c.want {
			t.Errorf("%q: %+v, want %+v", c.module, got, c.want)
		}
	}
}
