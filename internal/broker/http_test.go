package broker

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log"
)

var update = flag.Bool("update", false, "write golden files anew")

// startTest starts a node on a disk in memory and free ports of loopback.
func startTest(t *testing.T, options ...string) *Broker {
	t.Helper()
	return startOn(t, simfs.New(), options...)
}

// startOn is startTest on a disk that was used before, perhaps.
func startOn(t *testing.T, fsys *simfs.FS, options ...string) *Broker {
	t.Helper()
	settings, err := config.Load(config.Sources{Options: append([]string{"node.id=1", "log.dirs=/data",
		"listeners=PLAINTEXT://127.0.0.1:0", "kbroker.http.listeners=127.0.0.1:0"}, options...)})
	if err != nil {
		t.Fatal(err)
	}
	store, err := config.NewStore(settings)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := Start(t.Context(), Options{Config: store, FS: fsys, Listen: net.Listen,
		Loggers: config.NewLoggers(logger.Handler(), slog.LevelInfo), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

// get asks the node's HTTP listener.
func get(t *testing.T, b *Broker, path string) (code int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + b.HTTPAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// TestHTTP: health while the node serves, and while it does not.
func TestHTTP(t *testing.T) {
	b := startTest(t)
	for path, want := range map[string]string{
		"/livez": "ok\n", "/readyz": `{"ready":true,"phase":"ready"}` + "\n", "/healthz": `{"ready":true,"phase":"ready"}` + "\n",
	} {
		if code, body := get(t, b, path); code != http.StatusOK || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if code, body := get(t, b, "/debug/pprof/goroutine?debug=1"); code != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("profiles on loopback: %d", code)
	}
	if code, body := get(t, b, "/"); code != http.StatusOK || !strings.Contains(body, "/readyz") || !strings.Contains(body, "/debug/pprof/") {
		t.Errorf("the index: %d %s", code, body)
	}
	if code, _ := get(t, b, "/nothing"); code != http.StatusNotFound {
		t.Errorf("what is not there: %d", code)
	}
	b.health.enter("recover the logs")
	b.health.progress(log.Progress{Logs: 80, LogsDone: 12, Bytes: 2048, BytesDone: 1024})
	if code, body := get(t, b, "/readyz"); code != http.StatusServiceUnavailable ||
		body != `{"ready":false,"phase":"recover the logs","done":12,"total":80,"bytes_done":1024,"bytes_total":2048}`+"\n" {
		t.Errorf("during recovery: %d %s", code, body)
	}
	if code, _ := get(t, b, "/livez"); code != http.StatusOK {
		t.Errorf("during recovery it is not alive: %d", code)
	}
	if code, body := get(t, b, "/metrics"); code != http.StatusOK || !strings.Contains(body, "kbroker_ready 0\n") {
		t.Errorf("metrics during recovery: %d", code)
	}
}

// TestHTTPOff: an empty value turns it off.
func TestHTTPOff(t *testing.T) {
	if b := startTest(t, "kbroker.http.listeners="); b.HTTPAddr() != nil {
		t.Errorf("it listens on %s", b.HTTPAddr())
	}
}

// TestProfilesStayOnLoopback: what shows the memory of the process is not for everybody.
func TestProfilesStayOnLoopback(t *testing.T) {
	s := &httpServer{b: &Broker{}}
	for _, profiles := range []bool{true, false} {
		w := httptest.NewRecorder()
		s.routes(http.NotFoundHandler(), profiles).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/pprof/cmdline", nil))
		if (w.Code == http.StatusOK) != profiles {
			t.Errorf("profiles are %v, and answered with %d", profiles, w.Code)
		}
		w = httptest.NewRecorder()
		s.routes(http.NotFoundHandler(), profiles).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if strings.Contains(w.Body.String(), "pprof") != profiles {
			t.Errorf("profiles are %v, and the index says %s", profiles, w.Body)
		}
	}
	for address, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "192.0.2.1:1": false} {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if isLoopback(a) != want {
			t.Errorf("%s is loopback: %v", address, !want)
		}
	}
}
