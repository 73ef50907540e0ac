package config

import "testing"

func TestSuggest(t *testing.T) {
	for name, want := range map[string]string{
		"num.partition":       "num.partitions",
		"log.retention.hour":  "log.retention.hours",
		"NUM_PARTITIONS":      "num.partitions",
		"kbroker.durabillity": "kbroker.durability",
		"lsiteners":           "listeners",
		"retention.bytes":     "log.retention.bytes", // a topic's
		"zookeeper.connect":   "",
		"":                    "",
		"x":                   "",
	} {
		if got := Suggest(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	// A name that is right needs no mistake, and one that is too short or long needs at least the difference.
	for i := range BrokerKeys.Keys {
		name := BrokerKeys.Keys[i].Name
		if n := mistakes(name, name); n != 0 {
			t.Errorf("%s differs by %d from itself", name, n)
		}
		if n := mistakes(name[:len(name)-1], name); n != 1 {
			t.Errorf("%s without its last letter differs by %d", name, n)
		}
	}
}
