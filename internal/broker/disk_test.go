package broker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/simfs"
)

const allWell = `{"ready":true,"phase":"ready"}` + "\n"

// seen checks what those see who watch a node with a directory that cannot be written to: it is ready, and says so.
func seen(t *testing.T, b *Broker, directory, state string) {
	t.Helper()
	want := `{"ready":true,"phase":"ready","directories":[{"path":"` + directory + `","state":"` + state + `"}]}` + "\n"
	if code, body := get(t, b, "/readyz"); code != http.StatusOK || body != want {
		t.Errorf("/readyz: %d %q, want 200 %q", code, body, want)
	}
	name := map[string]string{"full": "kbroker_directory_full{directory=", "failed": "kafka_log_logmanager_logdirectoryoffline{logdirectory="}[state]
	if v := scrapeSeries(t, b)[name+`"`+directory+`"}`]; v != "1" {
		t.Errorf("%s is %q", name, v)
	}
}

// awaitWell waits until /readyz has nothing to complain of.
func awaitWell(t *testing.T, b *Broker) {
	t.Helper()
	body := ""
	for range 600 {
		if _, body = get(t, b, "/readyz"); body == allWell {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("half a minute after there is room /readyz says %s", body)
}

// TestFullDirectory: with a full disk the node is ready, says what is full, refuses what is produced and serves what it
// has, until there is room.
func TestFullDirectory(t *testing.T) {
	fsys := simfs.New()
	fsys.SetCapacity(16 << 20)
	b := startOn(t, fsys)
	c, admin := connect(t, b, kgo.RecordRetries(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	produce := func(size int) error {
		return c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: make([]byte, size)}).FirstErr()
	}
	if err := produce(1); err != nil {
		t.Fatal(err)
	}
	var err error
	for i := 0; i < 400 && err == nil; i++ {
		err = produce(50_000)
	}
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("produce to a full disk: %v", err)
	}
	seen(t, b, "/data", "full")
	if code := b.partitionCode(t, c); code != 0 {
		t.Errorf("fetch: code %d", code)
	}
	fsys.SetCapacity(64 << 20)
	awaitWell(t, b)
	if err := produce(1); err != nil {
		t.Errorf("after there is room: %v", err)
	}
}

// TestNoRoomForMetadata: a change of the metadata that waits for room is seen as well, though nobody has produced.
func TestNoRoomForMetadata(t *testing.T) {
	fsys := simfs.New()
	b := startOn(t, fsys)
	_, admin := connect(t, b)
	fsys.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*.wal", Err: syscall.ENOSPC})
	created := make(chan error, 1)
	go func() {
		_, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t")
		created <- err
	}()
	for !b.controller.DiskFull() {
		time.Sleep(time.Millisecond)
	}
	seen(t, b, "/data", "full")
	fsys.ClearRules()
	awaitWell(t, b)
	if err := <-created; err != nil && !errors.Is(err, kerr.RequestTimedOut) {
		t.Error(err)
	}
}

// TestFailedDirectory: a directory that fails takes its partitions along. The node is ready, and goes on with the other.
func TestFailedDirectory(t *testing.T) {
	fsys := simfs.New()
	b := startOn(t, fsys, "log.dirs=/data,/more")
	_, admin := connect(t, b)
	if _, err := admin.CreateTopic(t.Context(), 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	fsys.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "/more/*/*.log", Err: syscall.EIO})
	producer, _ := connect(t, b, kgo.RecordRetries(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for partition := range int32(2) {
		err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: partition, Value: []byte("x")}).FirstErr()
		failed := b.replicas.LookupName("t", partition).Log().Dir().Path() == "/more"
		if failed && !errors.Is(err, kerr.KafkaStorageError) || !failed && err != nil {
			t.Errorf("produce to partition %d, whose directory has failed (%v): %v", partition, failed, err)
		}
	}
	seen(t, b, "/more", "failed")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.Wait(ctx); err != nil {
		t.Errorf("the node ends: %v", err)
	}
	if err := b.Stop(t.Context()); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("stop: %v", err)
	}
	b.stopErr = nil // as wanted
}

// TestMetadataDirectoryFailsAtStart: a node whose first directory fails while it recovers does not call itself ready.
func TestMetadataDirectoryFailsAtStart(t *testing.T) {
	fsys := simfs.New()
	b := startOn(t, fsys)
	c, admin := connect(t, b)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	killed := fsys.Kill()
	_ = b.Stop(t.Context())
	b.stopErr = nil // it has no disk any more
	killed.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "/data/t-0/*", Err: syscall.EIO})
	o := b.o
	o.FS = killed
	again, err := Start(t.Context(), o)
	if err == nil {
		_ = again.Stop(t.Context())
	}
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("start: %v", err)
	}
}

// TestMetadataIsFound: the order of log.dirs may change, and a directory come to it. Without the one that has the metadata
// nothing is begun anew, and no log set aside.
func TestMetadataIsFound(t *testing.T) {
	fsys := simfs.New()
	b := startOn(t, fsys, "log.dirs=/data,/more")
	c, admin := connect(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if _, err := admin.CreateTopic(t.Context(), 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	for partition := range int32(2) { // one in each directory
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: partition, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	b = startOn(t, fsys, "log.dirs=/new,/more,/data")
	c, _ = connect(t, b)
	if b.metadata.Load().Topic("t") == nil {
		t.Fatal("the metadata is another")
	}
	if code := b.partitionCode(t, c); code != 0 || b.replicas.LookupName("t", 0).HighWatermark() != 1 || b.replicas.LookupName("t", 1).HighWatermark() != 1 {
		t.Errorf("the records are gone: code %d", code)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for dirs, want := range map[string]string{"/more": "no data directory has the cluster's metadata", "/data,/other": "both /data and /other"} {
		if want[0] == 'b' {
			if err := fsys.MkdirAll("/other/kbroker-raft", 0o755); err != nil {
				t.Fatal(err)
			}
			f, err := fsys.OpenFile("/other/kbroker-raft/00000000000000000001.snapshot", os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		settings, err := config.Load(config.Sources{Options: []string{"node.id=1", "log.dirs=" + dirs, "listeners=PLAINTEXT://127.0.0.1:0", "kbroker.http.listeners="}})
		if err != nil {
			t.Fatal(err)
		}
		o := b.o
		if o.Config, err = config.NewStore(settings); err != nil {
			t.Fatal(err)
		}
		if again, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("log.dirs=%s: %v", dirs, err)
			if err == nil {
				_ = again.Stop(t.Context())
			}
		}
	}
	startOn(t, fsys, "log.dirs=/data,/more,/new")
}

// deadlineWriter notes the deadline that it is given.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	at time.Time
}

func (w *deadlineWriter) SetWriteDeadline(at time.Time) error {
	w.at = at
	return nil
}

// TestScrapesEnd: one who does not read what it asked for does not keep the place of others for ever.
func TestScrapesEnd(t *testing.T) {
	w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
	startTest(t).newMetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || w.at.IsZero() {
		t.Errorf("code %d, deadline %v", w.Code, w.at)
	}
}
