package connect

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
	"github.com/kbroker/kbroker/integration/process"
)

//go:embed pom.xml
var pom []byte

var against = flag.String("against", "kbroker", "kbroker, or kafka for a real Kafka, to tell whose fault it is")

// startLimit is how long a JVM may take until it serves: it takes some seconds on an idle machine.
const startLimit = 3 * time.Minute

// startJVM runs a main class with a file of properties until the test ends. It is ready when it logs the line.
func startJVM(t *testing.T, class, ready string, properties []string) *process.Process {
	t.Helper()
	jars, err := kafkapeer.InstallFrom(t.Context(), pom)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "main.properties")
	const log4j = `<Configuration status="WARN">
  <Appenders><Console name="C"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="C"/></Root></Loggers>
</Configuration>
`
	logger := filepath.Join(dir, "log4j2.xml")
	for name, text := range map[string]string{file: strings.Join(properties, "\n") + "\n", logger: log4j} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := jars.Command(t.Context(), class, file)
	for i, arg := range cmd.Args {
		if strings.HasPrefix(arg, "-Dlog4j2.level=") {
			cmd.Args[i] = "-Dlog4j2.configurationFile=" + logger
		}
	}
	log := filepath.Join(dir, "log")
	p, err := process.Start(t.Context(), process.Options{Name: class, Command: cmd, Log: log, Ready: ready, Limit: startLimit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", class, process.Tail(log))
		}
		p.Kill()
	})
	return p
}

// startBroker starts what is tested and returns its address.
func startBroker(t *testing.T) string {
	t.Helper()
	if *against == "kafka" {
		return kafkapeer.StartForTest(t, kafkapeer.Config{}).Bootstrap()
	}
	return kbrokerproc.StartForTest(t, kbrokerproc.Config{}).Bootstrap()
}

// eventually tries something until it succeeds. The limit is far above what it takes.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	start := time.Now()
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Since(start) > startLimit {
			t.Fatalf("%s: %v after %v", what, err, startLimit)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// each are settings of this form for each of the names.
func each(names []string, value any) (properties []string) {
	for _, name := range names {
		properties = append(properties, fmt.Sprintf("%s=%v", name, value))
	}
	return properties
}
