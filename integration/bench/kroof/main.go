//go:build linux

// Command kroof is the limit to which a broker is compared: a server, not a broker, that speaks just enough of the
// Kafka protocol (ApiVersions v0, Metadata v1 to v4, Produce v3 to v7, Fetch v4 to v11, ListOffsets v1, CreateTopics
// v2, DeleteTopics v1, InitProducerId v0 and v1; of groups FindCoordinator v3, JoinGroup v9, SyncGroup v5, Heartbeat v4,
// LeaveGroup v5 and ConsumerGroupHeartbeat v1) to be driven by kblast, kgroup and simple clients, and does only the work that
// cannot be left out:
//
//   - Produce: read the frame once into a pooled buffer, check the CRC in place, patch base offset and leader epoch in
//     place, one pwrite to the partition's file, answer in order; with -sync, an fdatasync before the answer.
//   - Fetch: look the offset up in an in-memory index of batches, send a header and the range with sendfile.
//   - Groups: one read and one write per request, and between them a map of members.
//
// There is no recovery, no retention, no idempotence, no committed offset, hardly a check. What it reaches is a practical upper
// bound: a broker that does everything else as well cannot be expected to pass it, except where it joins appends.
//
// The files lie in -dir, are truncated at start and removed with their topic, or all of them on SIGTERM.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // -pprof
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
)

// options are the command line, read-only after the start.
type options struct {
	addr, dir, sync, congestion, pprof string

	partitions, parallelSyncs, readBuffer int
	coalesce, more                        bool
}

func parseOptions() *options {
	o := new(options)
	flag.StringVar(&o.addr, "addr", "127.0.0.1:21092", "address to listen on")
	flag.StringVar(&o.dir, "dir", ".", "folder for the partitions' files")
	flag.IntVar(&o.partitions, "parts", 1, "partitions of a topic that nobody created")
	flag.StringVar(&o.sync, "sync", "none", "none, group (one flusher syncs all files that changed) or each (after every append)")
	flag.IntVar(&o.parallelSyncs, "par", 8, "parallel fdatasyncs of the group flusher")
	flag.IntVar(&o.readBuffer, "rbuf", 4096, "read buffer of a connection; larger frames are read straight into the frame buffer")
	flag.BoolVar(&o.coalesce, "coalesce", false, "write responses only when no further request is buffered")
	flag.BoolVar(&o.more, "more", false, "send a Fetch header with MSG_MORE, so that it leaves in one segment with the data")
	flag.StringVar(&o.congestion, "cc", "", "TCP congestion control of accepted sockets, such as reno")
	flag.StringVar(&o.pprof, "pprof", "", "address for net/http/pprof")
	flag.Parse()
	return o
}

// server is the one server of the process.
type server struct {
	*options
	host   string
	port   int
	frames sync.Pool // *[]byte of frameBytes capacity, for request frames

	topicsMu sync.RWMutex // guards topics
	topics   map[string][]*partition

	groupsMu sync.Mutex // guards groups
	groups   map[string]*group

	kick    chan struct{} // wakes the flusher; holds one
	dirtyMu sync.Mutex    // guards dirty
	dirty   []*partition
}

// frameBytes holds a request with a batch of 1 MiB.
const frameBytes = 1<<20 + 4096

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "kroof:", err)
		os.Exit(1)
	}
}

func main() {
	o := parseOptions()
	must(os.MkdirAll(o.dir, 0o755))
	if o.pprof != "" {
		go func() { must(http.ListenAndServe(o.pprof, nil)) }()
	}
	// The heap is a few frames: letting it grow to five times that costs nothing and saves collections.
	debug.SetGCPercent(400)
	ln, err := net.Listen("tcp", o.addr)
	must(err)
	at := ln.Addr().(*net.TCPAddr)
	s := &server{
		options: o, host: at.IP.String(), port: at.Port,
		topics: map[string][]*partition{}, groups: map[string]*group{},
		kick: make(chan struct{}, 1),
	}
	s.frames.New = func() any { b := make([]byte, 0, frameBytes); return &b }
	go s.flush()
	go s.exitOnSignal()
	fmt.Println("listening", at)
	for {
		c, err := ln.Accept()
		must(err)
		tcp := c.(*net.TCPConn)
		if o.congestion != "" {
			must(setCongestion(tcp, o.congestion))
		}
		cn := &conn{server: s, tcp: tcp, r: bufio.NewReaderSize(c, o.readBuffer)}
		go cn.serve() // ends when the client closes
	}
}

// exitOnSignal removes the files and prints what the process used.
func (s *server) exitOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	var r syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	fmt.Printf("cpu_user=%.3f cpu_sys=%.3f maxrss_MB=%d\n", float64(r.Utime.Nano())/1e9, float64(r.Stime.Nano())/1e9, r.Maxrss/1024)
	s.topicsMu.Lock() // held until the end: no topic may come into being any more
	for _, ps := range s.topics {
		for _, p := range ps {
			_ = os.Remove(p.file.Name())
		}
	}
	os.Exit(0)
}
