package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func tables() map[string]*Table {
	return map[string]*Table{"broker": BrokerKeys, "topic": TopicKeys, "group": GroupKeys, "client-metrics": ClientMetricsKeys}
}

func TestGeneratedIsUpToDate(t *testing.T) {
	if out, err := exec.Command("go", "run", "./gen", "-check").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestTables: every default is a value that its key allows, and every key is there once.
func TestTables(t *testing.T) {
	for scope, table := range tables() {
		if len(table.byName) != len(table.Keys) {
			t.Errorf("the %s table has a key twice", scope)
		}
		for _, k := range table.Keys {
			if _, err := k.Parse(k.Default); err != nil && !k.Null {
				t.Errorf("the default of the %s key: %v", scope, err)
			}
			for _, syn := range k.Synonyms {
				if BrokerKeys.Key(syn.Name) == nil {
					t.Errorf("%s key %s has the synonym %s, which is no setting of the broker", scope, k.Name, syn.Name)
				}
			}
		}
	}
}

// readTogether are keys of the broker without a setter of their own: they are read together with others.
var readTogether = []string{
	"listeners", "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name",
	"security.inter.broker.protocol", "controller.listener.names", "controller.quorum.voters", "controller.quorum.bootstrap.servers", "process.roles", "broker.id",
	"log.dir", "internal.segment.bytes",
}

// TestWorkingKeysAreRead: a key is said to work if and only if something reads it. Keys of later releases are read
// already, and still said to be without effect.
func TestWorkingKeysAreRead(t *testing.T) {
	read := map[string]bool{}
	for name := range brokerSetters {
		read[name] = true
	}
	for name := range topicSetters {
		for _, syn := range TopicKeys.Key(name).Synonyms {
			read[syn.Name] = true
		}
	}
	for _, k := range BrokerKeys.Keys {
		if k.Class == Works && !read[k.Name] && !slices.Contains(readTogether, k.Name) {
			t.Errorf("the broker key %s is said to work, and nothing reads it", k.Name)
		}
	}
	for _, k := range TopicKeys.Keys {
		if k.Class == Works && topicSetters[k.Name] == nil && !slices.Contains(readTogether, k.Name) {
			t.Errorf("the topic key %s is said to work, and nothing reads it", k.Name)
		}
	}
	for name := range brokerSetters {
		if BrokerKeys.Key(name) == nil {
			t.Errorf("%s is read, and is no key", name)
		}
	}
}

// TestWorkingKeysAreTested: the test that a working key names, as PACKAGE.TEST, exists.
func TestWorkingKeysAreTested(t *testing.T) {
	exists := map[string]bool{}
	for scope, table := range tables() {
		for _, k := range table.Keys {
			if k.Class != Works || exists[k.Note] {
				continue
			}
			dir, name, _ := strings.Cut(k.Note, ".Test")
			if !hasTest(t, filepath.Join("../..", dir), "Test"+name) {
				t.Errorf("the %s key %s names the test %s, which does not exist", scope, k.Name, k.Note)
			}
			exists[k.Note] = true
		}
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(data), "\nfunc "+name+"(")
	})
}

func TestJavaDouble(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0", 0.5: "0.5", 1: "1.0", 1e6: "1000000.0", 1e7: "1.0E7", 2147483647: "2.147483647E9",
		1.7976931348623157e308: "1.7976931348623157E308", 0.001: "0.001", 0.0001: "1.0E-4", -0.25: "-0.25",
	} {
		if got := javaDouble(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}
