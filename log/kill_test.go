package log

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/vfs"
)

// killDirEnv names the data directory to which a process writes that is about to be killed, killBytesEnv how much.
const (
	killDirEnv   = "KBROKER_TEST_KILL_DIR"
	killBytesEnv = "KBROKER_TEST_KILL_BYTES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killPartitions is how many logs the process that is killed writes to.
const killPartitions = 8

// writeUntilKilled appends batches of 1 KiB to 1 MiB, tells when it has written what is wanted, and goes on.
func writeUntilKilled(dir string) error {
	want, err := strconv.ParseInt(os.Getenv(killBytesEnv), 10, 64)
	if err != nil {
		return err
	}
	cfg := DefaultConfig()
	cfg.SegmentBytes = int32(max(want/32, 4<<20)) // a few segments each
	m, err := tryOpenManager(vfs.OS(), cfg, dir)
	if err != nil {
		return err
	}
	var logs []*Log
	for p := range int32(killPartitions) {
		l, err := m.Create(TopicPartition{"t", p}, testTopicID, &cfg)
		if err != nil {
			return err
		}
		logs = append(logs, l)
	}
	var appends []*Append
	for size := 1 << 10; size <= 1<<20; size *= 4 {
		appends = append(appends, newAppend(makeBatch(batchSpec{n: 1, value: size - 100, timestamp: 1}), 0))
	}
	var written int64
	for i := 0; ; i++ {
		a, l := appends[i%len(appends)], logs[i/len(appends)%len(logs)]
		if err := errors.Join(l.Stage(a), l.Flush(), a.Err); err != nil {
			return err
		}
		if before := written; before < want {
			written += int64(a.Info.Size)
			switch {
			case before < want/2 && written >= want/2: // sooner than the keeper, which lets 64 MiB pass
				m.Checkpoint()
			case written >= want:
				fmt.Println("written")
			}
		}
	}
}

// TestRecoveryReadsAfterKill kills a process that writes to real files, and counts the bytes of log files that the next
// start reads: no more than lie above the recovery points, and one index interval per log. It writes 64 MiB, or as
// much as is asked for: KBROKER_TEST_KILL_BYTES=2147483648 go test -run RecoveryReadsAfterKill -v ./log
func TestRecoveryReadsAfterKill(t *testing.T) {
	size := os.Getenv(killBytesEnv)
	if size == "" {
		size = strconv.Itoa(64 << 20)
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killDirEnv+"="+dir, killBytesEnv+"="+size)
	child.Stderr = t.Output()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "written\n" {
		t.Error("the process says", line, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = child.Wait() // it was killed
	if t.Failed() {
		return
	}
	above, total := bytesAboveRecoveryPoints(t, vfs.OS(), dir, killPartitions)
	counting := vfs.Counting(vfs.OS())
	cfg := DefaultConfig()
	began := time.Now()
	m := openManager(t, counting, cfg, dir)
	took := time.Since(began)
	read := counting.Suffix(logSuffix).BytesRead
	limit := above + killPartitions*int64(cfg.IndexIntervalBytes)
	t.Logf("%d bytes of log, %d above the recovery points, %d read in %v", total, above, read, took.Round(time.Millisecond))
	if read > limit || m.Len() != killPartitions {
		t.Errorf("%d bytes were read for %d logs, %d may be", read, m.Len(), limit)
	}
	for l := range m.Logs() {
		if l.Loss() != nil {
			t.Error(l.Loss())
		}
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	counting.Reset()
	m = openManager(t, counting, cfg, dir)
	if read := counting.Suffix(logSuffix).BytesRead; read != 0 {
		t.Errorf("a clean start read %d bytes", read)
	}
	m.kill()
}

// bytesAboveRecoveryPoints adds up what the log files hold above the recovery points that the durable marks say, and all
// that they hold.
func bytesAboveRecoveryPoints(t *testing.T, fsys vfs.FS, dir string, partitions int32) (above, total int64) {
	t.Helper()
	marks, err := openDurableMarks(fsys, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer marks.close()
	for p := range partitions {
		v, _ := marks.read(MarkKey{TopicID: testTopicID, Partition: p}) // without one, all of it is to be read
		files, err := fsys.ReadDir(path.Join(dir, TopicPartition{"t", p}.String()))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			digits, ok := strings.CutSuffix(f.Name(), logSuffix)
			if !ok {
				continue
			}
			base, err := parseSegmentBase(digits)
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
			switch {
			case base == v.recovery.SegmentBase:
				above += info.Size() - v.recovery.Bytes
			case base > v.recovery.SegmentBase:
				above += info.Size()
			}
		}
	}
	return above, total
}
