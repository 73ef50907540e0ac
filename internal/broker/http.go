package broker

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// httpServer answers health, metrics and, on loopback, profiles (kbroker.http.listeners). It is up before logs are
// recovered, so that probes see the progress.
type httpServer struct {
	b         *Broker
	listeners []net.Listener
	servers   []*http.Server
}

// httpTimeout bounds a request's header and an idle connection; scrapes are short.
const httpTimeout = 10 * time.Second

// bindHTTP starts the HTTP listeners. Stop closes them.
func (b *Broker) bindHTTP() error {
	addresses := b.o.Config.Broker().HTTP
	if len(addresses) == 0 {
		return nil
	}
	b.http = &httpServer{b: b}
	metrics := b.newMetricsHandler()
	for _, a := range addresses {
		l, err := b.o.Listen("tcp", a)
		if err != nil {
			return &PortError{Purpose: "HTTP (health and metrics)", Address: a, Err: err,
				Change: "kbroker.http.listeners (-o kbroker.http.listeners=127.0.0.1:8081, or with nothing behind the = to have none)"}
		}
		s := &http.Server{Handler: b.http.routes(metrics, isLoopback(l.Addr())), ReadHeaderTimeout: httpTimeout, IdleTimeout: httpTimeout,
			ErrorLog: slog.NewLogLogger(b.logger.Handler(), slog.LevelWarn)}
		b.http.listeners, b.http.servers = append(b.http.listeners, l), append(b.http.servers, s)
		go s.Serve(l) //nolint:errcheck // it ends when close closes it
	}
	return nil
}

func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || t.IP.IsLoopback()
}

func (s *httpServer) addr() net.Addr { return s.listeners[0].Addr() }

func (s *httpServer) close() {
	for _, x := range s.servers {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = x.Shutdown(ctx)
		cancel()
		_ = x.Close()
	}
}

// indexPage is what a person sees who looks at the listener in a browser, and indexProfiles what follows on loopback.
const (
	indexPage = `kbroker

/livez    the process is alive
/readyz   200 while clients are served, with the data directories that are full or have failed; else 503 and what
          the node is busy with; also /healthz
/metrics  metrics for Prometheus
`
	indexProfiles = "/debug/pprof/  profiles, on loopback only\n"
)

func (s *httpServer) routes(metrics http.Handler, profiles bool) http.Handler {
	mux := http.NewServeMux()
	index := indexPage
	if profiles {
		index += indexProfiles
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(index)) })
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /healthz", s.readyz)
	mux.Handle("GET /metrics", metrics)
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// readyz is 200 while clients are served, and 503 with what the node is busy with otherwise.
//
// A data directory that is full or has failed is named, and changes nothing about the code: who asks takes a node that is
// not ready away from its clients, and with it the fetches that still work, the deletes that make room again, and the
// partitions of the other directories. A produce that is refused says why, and kbroker_directory_full and
// kafka_log_logmanager_logdirectoryoffline are what to be woken up by. A node that has nothing left to serve ends: see
// Broker.Wait.
func (s *httpServer) readyz(w http.ResponseWriter, _ *http.Request) {
	h := s.b.health.now()
	w.Header().Set("Content-Type", "application/json")
	if h.Ready {
		h.Directories = s.b.impaired()
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(h)
}
