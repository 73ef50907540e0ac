package process

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// behave in the environment makes the test binary the child.
const behave = "PROCESS_TEST_BEHAVE"

func TestMain(m *testing.M) {
	switch os.Getenv(behave) {
	case "":
		os.Exit(m.Run())
	case "serve":
		fmt.Println("serving")
	case "die":
		fmt.Println("no disk")
		os.Exit(3)
	}
	bufio.NewReader(os.Stdin).ReadByte() // until it is killed
	select {}
}

func child(t *testing.T, behaviour, log string) Options {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), behave+"="+behaviour)
	return Options{Name: "child", Command: cmd, Log: log, Ready: "serving", Limit: time.Minute}
}

// TestProcess: a child that serves is stopped and killed, and its log outlives it.
func TestProcess(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for life := range 2 {
		p, err := Start(t.Context(), child(t, "serve", log))
		if err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			p.Kill()
		} else if exit, err := p.Stop(time.Minute); err != nil || exit == nil { // the signal ends it
			t.Errorf("it was stopped with %v, %v", exit, err)
		}
		<-p.Exited()
	}
	if got := strings.Count(Tail(log), "serving"); got != 2 {
		t.Errorf("the log has %d lives: %q", got, Tail(log))
	}
}

// TestFailedStarts: who ends, is late or cannot be started at all is an error that says so, and nothing is left running.
func TestFailedStarts(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	late := child(t, "hang", log)
	late.Limit = time.Millisecond
	none := child(t, "serve", log)
	none.Command = exec.Command(filepath.Join(t.TempDir(), "none"))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct {
		ctx  context.Context
		o    Options
		want string
	}{
		{t.Context(), child(t, "die", log), "child exited while starting (exit status 3):\nno disk\n"},
		{t.Context(), late, "child is not ready after 1ms:"},
		{t.Context(), none, "starting child: "},
		{stopped, child(t, "hang", log), "starting child: context canceled"},
		{t.Context(), child(t, "serve", filepath.Join(log, "no-directory")), "starting child: "},
	} {
		if _, err := Start(c.ctx, c.o); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
		if c.o.Command.ProcessState == nil && c.o.Command.Process != nil {
			t.Errorf("%s: it still runs", c.want)
		}
	}
}

func TestFreePort(t *testing.T) {
	if p := FreePort(3); p < firstPort || p+2 >= 32768 || !allFree(p, 3) {
		t.Errorf("port %d", p)
	}
}
