package handler

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/wire"
)

// BenchmarkOffsetCommit measures commits of one partition each, by many connections with a group each or one group for
// all; "fsync" waits for the disk.
func BenchmarkOffsetCommit(b *testing.B) {
	for _, durability := range []log.Durability{log.Replicated, log.Fsync} {
		for _, groups := range []int{1, 100} {
			b.Run(fmt.Sprintf("%v/groups=%d", durability, groups), func(b *testing.B) { benchmarkCommit(b, durability, groups) })
		}
	}
}

func benchmarkCommit(b *testing.B, durability log.Durability, groups int) {
	n := newDataNodeOn(b, vfs.OS(), b.TempDir(), durability)
	id := n.groupTopics()
	n.await()
	var number atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		me := number.Add(1)
		c := n.connect()
		q := commitOf(8, id, fmt.Sprint("group-", me%int64(groups)), me, 0)
		h, body := &wire.Header{Key: q.Key(), Version: 8, Flexible: true}, q.AppendTo(nil)
		var out wire.Out
		for pb.Next() {
			r := startReused(b, c, h, body)
			if !r.Done() {
				r.Wait(nil)
			}
			r.Append(&out)
			r.Release()
			if code := out.B[len(out.B)-5 : len(out.B)-3]; code[0]|code[1] != 0 {
				b.Fatalf("error %d", code)
			}
			out.B = out.B[:0]
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}
