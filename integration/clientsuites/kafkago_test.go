package clientsuites

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/kbroker/kbroker/integration/process"
)

// kafkaGoPort is the port that kafka-go's tests have written in them.
const kafkaGoPort = "9092"

var kafkaGo = module{"kafka-go", "github.com/segmentio/kafka-go"}

// TestKafkaGo runs the tests of segmentio/kafka-go.
func TestKafkaGo(t *testing.T) {
	t.Parallel()
	port := process.FreePort(2)
	// What the library's own compose file sets. The tests need the default of group.initial.rebalance.delay.ms, too: with
	// no delay a group forms before its topic is there, or its second member.
	startBroker(t, port, "advertised.listeners=PLAINTEXT://localhost:"+strconv.Itoa(port), "message.max.bytes=200000000",
		"group.initial.rebalance.delay.ms=3000")
	env := []string{"KAFKA_VERSION=4.3.1"}
	for pkg, list := range map[string]string{kafkaGo.path: "kafka-go.txt", kafkaGo.path + "/topics": "kafka-go-topics.txt"} {
		s := compileKafkaGo(t, pkg, port)
		s.readLeftOut(t, list)
		s.run(t, options{env: env, timeout: "10m"})
	}
}

// compileKafkaGo compiles the tests of a package for a broker on a port, from a copy of the module in which the port is
// replaced and nothing else. Asking for port 9092 instead would fail wherever a broker runs.
func compileKafkaGo(t *testing.T, pkg string, port int) *suite {
	t.Helper()
	source, copied := kafkaGo.dir(t), t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(copied, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if err := os.Chmod(path, 0o644); err != nil {
			return err
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.ReplaceAll(text, []byte(kafkaGoPort), []byte(strconv.Itoa(port))), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	modfile := filepath.Join(t.TempDir(), "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("modules", kafkaGo.name, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "go.mod" {
			text = fmt.Appendf(text, "\nreplace %s => %s\n", kafkaGo.path, filepath.ToSlash(copied))
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(modfile), name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(copied, strings.TrimPrefix(pkg, kafkaGo.path))
	return kafkaGo.compileAt(t, pkg, dir, "-modfile", modfile, "-trimpath")
}
