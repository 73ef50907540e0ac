package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The tools that are no part of the module are pinned here.
const (
	staticcheckVersion = "v0.8.2"
	govulncheckVersion = "v1.9.0"
)

// command runs a program with extra environment variables and returns what it printed.
func command(env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	return cmd.CombinedOutput()
}

func runSetup(r *report) {
	scripts, err := filepath.Glob("integration/*/setup.sh")
	if err == nil && len(scripts) == 0 {
		err = errors.New("no integration/*/setup.sh: run this at the top of the repository")
	}
	if err != nil {
		r.check("setup", err, nil)
		return
	}
	for _, script := range scripts {
		out, err := command(nil, "bash", script)
		r.check(script, err, out)
	}
}

func runFormat(r *report) {
	out, err := command(nil, "git", "ls-files", "-z", "*.go")
	if err != nil {
		r.check("git ls-files", err, out)
		return
	}
	files := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	files = slices.DeleteFunc(files, func(name string) bool { // deleted, not yet committed
		_, err := os.Stat(name)
		return err != nil
	})
	out, err = command(nil, "gofmt", append([]string{"-l"}, files...)...)
	if err == nil && len(out) > 0 {
		err = errors.New("these files need gofmt -w")
	}
	r.check("gofmt", err, out)
}

func runVet(r *report) {
	for _, system := range []string{"linux", "darwin", "windows"} {
		out, err := command([]string{"GOOS=" + system, "CGO_ENABLED=0"}, "go", "vet", "./...")
		r.check("go vet for "+system, err, out)
	}
	out, err := command(nil, "go", "vet", "-tags", "negativecontrol", "./...")
	r.check("go vet with the tag negativecontrol", err, out)
}

func runStaticcheck(r *report) {
	out, err := command(nil, "go", "run", "honnef.co/go/tools/cmd/staticcheck@"+staticcheckVersion, "./...")
	r.check("staticcheck", err, out)
}

// runGovulncheck fails on findings. Its database is a web site: where that can't be reached, it says so and counts
// nothing, since a missing network is no property of the code.
func runGovulncheck(r *report) {
	program, err := installGovulncheck()
	if err != nil {
		r.check("govulncheck", err, nil)
		return
	}
	out, err := command(nil, program, "./...")
	if bytes.Contains(out, []byte("fetching vulnerabilities:")) {
		fmt.Fprintf(r.out, "NOT CHECKED  govulncheck: its vulnerability database can't be reached from here\n%s", out)
		return
	}
	r.check("govulncheck", err, out)
}

// installGovulncheck builds the program into the user's cache and returns its path. `go run` would not do: it hides
// the exit code, and downloads the sources again when the module cache is gone.
func installGovulncheck() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kbroker-tools", "govulncheck-"+govulncheckVersion)
	program := filepath.Join(dir, "govulncheck")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	out, err := command([]string{"GOBIN=" + dir}, "go", "install", "golang.org/x/vuln/cmd/govulncheck@"+govulncheckVersion)
	if err != nil {
		return "", fmt.Errorf("installing: %w\n%s", err, out)
	}
	return program, nil
}
