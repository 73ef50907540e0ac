// Package kafkapeer runs a real Apache Kafka beside kbroker: a broker to compare answers with and to measure against, and
// any of Kafka's command line tools.
//
// The version is pinned in pom.xml. Its jars come from Maven Central through mvn and are kept in the user's cache
// directory, so they are fetched once per machine. Where KAFKA_HOME names an unpacked Kafka, its jars are used as they
// are and nothing is fetched. What the package starts listens on loopback only and does not outlive the test process.
package kafkapeer

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

//go:embed pom.xml
var pom []byte

// Jars is a directory with Kafka's jars, ready to run.
type Jars struct{ dir string }

// Version is the Kafka version that pom.xml pins, such as "4.3.1".
func Version() string {
	return string(regexp.MustCompile(`<kafka\.version>(.*)</kafka\.version>`).FindSubmatch(pom)[1])
}

// Install returns Kafka's jars, and fetches them with mvn if this machine has not got them yet. Several processes may
// call it at once: one fetches, the others wait for it. KAFKA_HOME, when set, must hold the jars in libs/ (as Kafka's
// distribution does) or lib/.
func Install(ctx context.Context) (Jars, error) {
	if home := os.Getenv("KAFKA_HOME"); home != "" {
		for _, sub := range []string{"libs", "lib"} {
			if jars, _ := filepath.Glob(filepath.Join(home, sub, "kafka-clients-*.jar")); len(jars) > 0 {
				return Jars{filepath.Join(home, sub)}, nil
			}
		}
		return Jars{}, fmt.Errorf("kafkapeer: KAFKA_HOME=%s has no kafka-clients jar in libs/ or lib/: point it at an unpacked Kafka or unset it", home)
	}
	return install(ctx, Version(), pom)
}

// InstallFrom is Install for the jars that another pom.xml pins, such as those of Kafka Connect.
func InstallFrom(ctx context.Context, pom []byte) (Jars, error) {
	return install(ctx, fmt.Sprintf("%x", sha256.Sum256(pom))[:16], pom)
}

// install returns the jars of a pom, which are kept under a name.
func install(ctx context.Context, name string, pom []byte) (Jars, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Jars{}, fmt.Errorf("kafkapeer: finding a cache directory (set KAFKA_HOME to do without one): %w", err)
	}
	home := filepath.Join(cache, "kbroker-kafkapeer")
	jars := filepath.Join(home, name)
	if exists(jars) {
		return Jars{jars}, nil
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return Jars{}, fmt.Errorf("kafkapeer: %w", err)
	}
	unlock, err := lockFile(filepath.Join(home, "install.lock"))
	if err != nil {
		return Jars{}, fmt.Errorf("kafkapeer: waiting for another install: %w", err)
	}
	defer unlock()
	if exists(jars) {
		return Jars{jars}, nil
	}
	return Jars{jars}, fetch(ctx, home, jars, pom)
}

// fetch lets mvn copy the jars beside their place and then renames them into it, so that an interrupted download never
// looks like a complete one.
func fetch(ctx context.Context, home, jars string, pom []byte) error {
	tmp, err := os.MkdirTemp(home, "fetch-")
	if err != nil {
		return fmt.Errorf("kafkapeer: %w", err)
	}
	defer os.RemoveAll(tmp)
	pomFile := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(pomFile, pom, 0o644); err != nil {
		return fmt.Errorf("kafkapeer: %w", err)
	}
	lib := filepath.Join(tmp, "lib")
	cmd := exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pomFile, "dependency:copy-dependencies", "-DoutputDirectory="+lib)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kafkapeer: fetching %s with mvn (install maven, or set KAFKA_HOME): %w\n%s", jars, err, out)
	}
	if err := os.Rename(lib, jars); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("kafkapeer: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Command prepares a run of a main class of Kafka's, such as org.apache.kafka.tools.TopicCommand or
// kafka.tools.DumpLogSegments (see the tool's own documentation for the arguments).
func (j Jars) Command(ctx context.Context, class string, args ...string) *exec.Cmd {
	all := append([]string{"-Xmx512M", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=ERROR", "-cp", j.ClassPath(), class}, args...)
	return exec.CommandContext(ctx, "java", all...)
}

// ClassPath is the class path of a Java program that uses Kafka's jars.
func (j Jars) ClassPath() string { return filepath.Join(j.dir, "*") }
