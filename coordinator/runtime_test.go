package coordinator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log/record"
)

// TestReload: what is acknowledged is there after a power cut, in every codec, and what was parked is not.
func TestReload(t *testing.T) {
	for codec := range record.Zstd + 1 {
		inBubble(t, func(t *testing.T) {
			disk := simfs.New()
			n := startNode(t, disk, 1)
			n.codec = codec
			for i := range 3000 { // a few reads of the log
				n.put(fmt.Sprint("k", i%1000), strings.Repeat("v", 200)+fmt.Sprint(i))
			}
			n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) { e.Append([]byte("k0"), nil) }, func(error) {})
			n.put("last", "x").is(t, "put", nil)
			crashed := disk.CrashWorst()
			n.stop()
			again := startNode(t, crashed, 1)
			defer again.stop()
			again.want("k999", strings.Repeat("v", 200)+"2999")
			again.want("k0", "")
			again.want("last", "x")
		})
	}
}

// TestReplyWaitsForTheDisk: a reply is held back until its records are synced, and so is a read that saw them.
func TestReplyWaitsForTheDisk(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.put("a", "1").is(t, "put", nil) // makes the files
		held := make(chan struct{})
		n.disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Times: 1, Before: func() { <-held }})
		put, soft, read := n.put("a", "2"), &answer{}, &answer{}
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) { e.AnswerNow(soft.reply) }, soft.reply)
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) { e.Answer(read.reply) }, read.reply)
		soft.is(t, "a soft reply", nil)
		if len(put.got)+len(read.got) > 0 {
			t.Error("answered before the records were synced")
		}
		close(held)
		put.is(t, "put", nil)
		read.is(t, "read", nil)
	})
}

// TestOneFlush: decisions that are queued share a write and a sync.
func TestOneFlush(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.put("a", "1").is(t, "put", nil)
		held, writes := make(chan struct{}), 0
		n.disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Times: 1, Before: func() { <-held }})
		first := n.put("first", "1")
		synctest.Wait()
		n.disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*.log", Before: func() { writes++ }})
		n.runtime.mu.RLock()
		s := n.runtime.shards[0]
		n.runtime.mu.RUnlock()
		s.mu.Lock() // the shard cannot take what is queued
		var answers []*answer
		var tasks []task[*store]
		for i := range 100 {
			a := &answer{}
			answers = append(answers, a)
			tasks = append(tasks, task[*store]{func(_ *store, _ time.Time, e *Effects) {
				e.Append(fmt.Append(nil, "k", i), []byte("v"))
				e.Answer(a.reply)
			}, a.reply})
		}
		s.queue = append(s.queue, tasks...)
		s.startLocked()
		s.mu.Unlock()
		synctest.Wait()
		if writes != 1 {
			t.Errorf("%d writes for decisions that were queued together", writes)
		}
		close(held)
		first.is(t, "first", nil)
		for _, a := range answers {
			a.is(t, "queued", nil)
		}
		if len(s.queue) > 0 || s.running || s.work != nil {
			t.Error("an idle shard keeps a goroutine or its memory")
		}
	})
}

// TestFailedWrite: a write that fails takes the machine with it: whoever waits is told, and the machine is what the log
// says.
func TestFailedWrite(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.put("a", "1").is(t, "put", nil)
		parked := n.park("b")
		n.disk.Inject(simfs.Rule{Ops: simfs.OpWrite, Pattern: "*.log", Times: 1, Err: syscall.ENOSPC, Partial: 30})
		n.put("a", "2").is(t, "a failed put", kerr.NotCoordinator)
		parked.is(t, "what was parked", kerr.NotCoordinator)
		n.want("a", "1")
		n.put("a", "3").is(t, "put", nil)
		n.want("a", "3")
	})
}

// TestFailedSync: after a failed sync nothing is served, and nothing hangs.
func TestFailedSync(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.put("a", "1").is(t, "put", nil)
		n.disk.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Err: syscall.EIO})
		n.put("a", "2").is(t, "a put that is not synced", kerr.NotCoordinator)
		n.put("a", "3").is(t, "a later put", kerr.NotCoordinator)
	})
}

// TestFullDisk: the reserve pays for coordinators while clients are refused.
func TestFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := simfs.New()
		disk.SetCapacity(16 << 20)
		n := startNode(t, disk, 1)
		defer n.stop()
		n.put("a", "0").is(t, "put", nil)
		time.Sleep(5 * time.Second) // the reserve is made
		fill, err := disk.OpenFile("/data/other", syscall.O_CREAT|syscall.O_RDWR, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		for at, chunk := int64(0), make([]byte, 64<<10); ; at += int64(len(chunk)) {
			if _, err := fill.WriteAt(chunk, at); err != nil {
				break
			}
		}
		refused := 0
		for i := range 50 {
			a := n.put("a", fmt.Sprint(i))
			synctest.Wait()
			time.Sleep(time.Second) // the directory notices, and gives the reserve up
			if len(a.got) != 1 {
				t.Fatalf("put %d was answered %v", i, a.got)
			}
			if a.got[0] != nil {
				refused++
			}
		}
		if refused == 0 || refused > 5 {
			t.Errorf("%d of 50 were refused on a full disk", refused)
		}
		n.want("a", "49")
	})
}

// TestPanics: a fault of the machine costs its caller an error and the others a reload.
func TestPanics(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.put("a", "1").is(t, "put", nil)
		parked := n.park("b")
		a := &answer{}
		n.runtime.Do(0, func(*store, time.Time, *Effects) { panic("a fault") }, a.reply)
		synctest.Wait()
		if len(a.got) != 1 || a.got[0] == nil {
			t.Errorf("the caller is told %v", a.got)
		}
		parked.is(t, "what was parked", kerr.NotCoordinator)
		n.want("a", "1")
	})
}

// noise is bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// TestLargeIsCompressed: a decision that must be one batch is compressed when it is too large for one otherwise, and what is
// written after it is not.
func TestLargeIsCompressed(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		a, takenBack := &answer{}, false
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			for i := range 30_000 {
				e.Append(fmt.Appendf(nil, "member-%06d", i), []byte("what a member says, which most others say too"))
			}
			e.Answer(a.reply)
			e.Refused = func(error, *Effects) { takenBack = true }
		}, a.reply)
		a.is(t, "records of 2 MiB that are much alike", nil)
		if takenBack {
			t.Error("they were taken back")
		}
		n.put("last", string(noise(900<<10))).is(t, "a put that fits", nil)
		codecs := []record.Codec{}
		l := n.replicas.LookupName(testTopic, 0).Log()
		slice, err := l.Read(0, 8<<20, true, l.End())
		if err != nil {
			t.Fatal(err)
		}
		rest, err := readSlice(&slice, nil)
		for len(rest) > 0 && err == nil {
			var b record.Batch
			b, rest, err = record.Next(rest)
			codecs = append(codecs, b.Codec())
		}
		if err != nil || !slices.Equal(codecs, []record.Codec{record.Zstd, record.None}) {
			t.Errorf("batches of codecs %v (%v)", codecs, err)
		}
		n.elect(1)
		n.want("member-029999", "what a member says, which most others say too")
		over := &answer{}
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			for i := range 20 {
				e.Append(fmt.Append(nil, i), make([]byte, 1<<20))
			}
			e.Answer(over.reply)
			e.Refused = func(error, *Effects) { takenBack = true }
		}, over.reply)
		over.is(t, "more than what is compressed", kerr.MessageTooLarge)
		if !takenBack {
			t.Error("it is not taken back")
		}
	})
}

// TestSmallSegments: a batch that no segment has room for is refused like one that is larger than the topic allows, before
// anything of its decision is written.
func TestSmallSegments(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.put("a", "1").is(t, "put", nil)
		config := n.config
		config.SegmentBytes = 64 << 10
		n.replicas.LookupName(testTopic, 0).Log().SetConfig(&config)
		a, takenBack := &answer{}, false
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			e.Append([]byte("small"), noise(60<<10))
			e.Cut()
			e.Append([]byte("large"), noise(1000<<10))
			e.Answer(a.reply)
			e.Refused = func(error, *Effects) { takenBack = true }
		}, a.reply)
		synctest.Wait()
		if len(a.got) != 1 || !TooLarge(a.got[0]) || !takenBack {
			t.Errorf("answered %v, taken back: %v", a.got, takenBack)
		}
		n.want("small", "")
	})
}

// TestTooLarge: records that no batch can hold are refused; the machine is kept when it can take back what it changed.
func TestTooLarge(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		parked := n.park("b")
		large, a, takenBack := noise(2<<20), &answer{}, false
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			e.Append([]byte("large"), large)
			e.Answer(a.reply)
			e.Refused = func(error, *Effects) { takenBack = true }
		}, a.reply)
		synctest.Wait()
		if len(a.got) != 1 || !TooLarge(a.got[0]) || !takenBack || len(parked.got) > 0 {
			t.Errorf("answered %v, taken back: %v, parked: %v", a.got, takenBack, parked.got)
		}
		many := &answer{}
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			for i := range 100 {
				e.Append(fmt.Append(nil, i), large[:100<<10])
				e.Cut()
			}
			e.Answer(many.reply)
		}, many.reply)
		many.is(t, "many records that need not be one batch", nil)
		part, takenBack := &answer{}, false
		n.runtime.Do(0, func(_ *store, _ time.Time, e *Effects) {
			e.Append([]byte("small"), nil)
			e.Cut()
			e.Append([]byte("large"), large)
			e.Answer(part.reply)
			e.Refused = func(error, *Effects) { takenBack = true }
		}, part.reply)
		part.is(t, "records of which a part fits", kerr.MessageTooLarge)
		if !takenBack {
			t.Error("what was written in part is not taken back")
		}
		n.put("large", string(large)).is(t, "without taking back", kerr.MessageTooLarge)
		parked.is(t, "what was parked", kerr.NotCoordinator)
		if refused := n.runtime.TooLarge(); refused != 3 {
			t.Errorf("%d decisions were too large", refused)
		}
		n.want("99", string(large[:100<<10]))
	})
}
