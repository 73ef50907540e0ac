package handler

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
)

// chaos is a node with clients that hang up at any time, topics that come and go and durability that changes. The bubble
// that it runs in fails if a goroutine is left at the end.
type chaos struct {
	*served
	id   metadata.UUID // of topic "t"
	stop chan struct{} // ends all clients

	mu    sync.Mutex // guards acked
	acked map[int32]map[int64]string
}

const chaosPartitions = 2

// rest waits up to a few milliseconds, and reports false when the clients are to end.
func (x *chaos) rest(rng *rand.Rand) bool {
	select {
	case <-x.stop:
		return false
	case <-time.After(time.Duration(rng.IntN(5000)) * time.Microsecond):
		return true
	}
}

// produce pipelines a few batches per connection and notes what is acknowledged: in the order of sending, where it says.
func (x *chaos) produce(rng *rand.Rand, host string) {
	for n := 0; x.rest(rng); n++ {
		c, err := x.tryDial(host)
		if err != nil {
			continue // the server has stopped
		}
		partition := rng.Int32N(chaosPartitions)
		var reqs []kmsg.Request
		var values []string
		for i := range 1 + rng.IntN(5) {
			value := fmt.Sprintf("%s/%d/%d", host, n, i)
			b := record.NewBuilder(x.deps.Codecs, record.BuilderOptions{})
			b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte(value)})
			bytes, err := b.Build()
			if err != nil {
				x.t.Error(err)
			}
			reqs = append(reqs, produceTo(9, "t", x.id, partition, []int16{-1, 1}[rng.IntN(2)], bytes))
			values = append(values, value)
		}
		if c.send(reqs...) != nil {
			c.Close()
			continue
		}
		if rng.IntN(3) == 0 { // not waiting for all answers, or for any
			reqs = reqs[:rng.IntN(len(reqs))]
		}
		last := int64(-1)
		for i, q := range reqs {
			resp, err := c.receive(q)
			if err != nil {
				break
			}
			row := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			if row.ErrorCode != 0 || row.BaseOffset <= last {
				x.t.Errorf("%s: code %d, offset %d after %d", values[i], row.ErrorCode, row.BaseOffset, last)
			}
			last = row.BaseOffset
			x.mu.Lock()
			x.acked[partition][row.BaseOffset] = values[i]
			x.mu.Unlock()
		}
		c.Close()
	}
}

// consume polls a session, pipelining now and then, also of the topic that comes and goes, and hangs up.
func (x *chaos) consume(rng *rand.Rand, host string) {
	for x.rest(rng) {
		c, err := x.tryDial(host)
		if err != nil {
			continue // the server has stopped
		}
		open := fetchFrom(12, "t", x.id, chaosPartitions, 0)
		open.Topics = append(open.Topics, fetchFrom(12, "gone", x.id, 1, 0).Topics...)
		open.SessionEpoch = 0
		var resp kmsg.Response
		if err = c.send(open); err == nil {
			resp, err = c.receive(open)
		}
		epoch := int32(0)
		for err == nil && rng.IntN(8) > 0 && x.rest(rng) {
			var reqs []kmsg.Request
			for range 1 + rng.IntN(3) {
				epoch++
				q := poll(resp.(*kmsg.FetchResponse).SessionID, epoch)
				q.MaxWaitMillis, q.MinBytes = rng.Int32N(20), rng.Int32N(3)*1000
				reqs = append(reqs, q)
			}
			err = c.send(reqs...)
			for i := 0; err == nil && i < len(reqs); i++ {
				_, err = c.receive(reqs[i])
			}
		}
		c.Close()
	}
}

// unsettle deletes and makes a topic, and changes the durability of the other one.
func (x *chaos) unsettle(rng *rand.Rand) {
	gone := metadata.UUID{}
	for x.rest(rng) {
		if gone == (metadata.UUID{}) {
			gone = x.topic("gone", 1)
		} else {
			x.apply(&metadata.RemoveTopicRecord{ID: gone})
			gone = metadata.UUID{}
		}
		for i := range int32(chaosPartitions) {
			p := x.replicas.LookupName("t", i)
			c := *p.Log().Config()
			c.Durability = log.Durability(rng.IntN(2))
			p.Log().SetConfig(&c)
			p.Configure(p.Settings())
		}
	}
}

// TestChaos: whatever clients do, what was acknowledged is in the log where the answer said, in order, and at the end
// nothing is left of them: no goroutine, no session in use, no watch.
func TestChaos(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runChaos(t, seed) })
		})
	}
}

func runChaos(t *testing.T, seed uint64) {
	fsys := simfs.New()
	fsys.Inject(simfs.Rule{Ops: simfs.OpSync, Pattern: "*.log", Before: func() { time.Sleep(time.Millisecond) }})
	x := &chaos{served: serveOn(t, fsys, log.Fsync), stop: make(chan struct{}), acked: map[int32]map[int64]string{0: {}, 1: {}}}
	x.id = x.topic("t", chaosPartitions)
	var wg sync.WaitGroup
	run := func(fn func(*rand.Rand, string), host string, n uint64) {
		x.net.SetLatency(host, "broker", time.Duration(n)*50*time.Microsecond)
		wg.Go(func() { fn(rand.New(rand.NewPCG(seed, n)), host) })
	}
	for i := range uint64(3) {
		run(x.produce, fmt.Sprintf("p%d", i), i)
		run(x.consume, fmt.Sprintf("c%d", i), 10+i)
	}
	wg.Go(func() { x.unsettle(rand.New(rand.NewPCG(seed, 20))) })
	time.Sleep(300 * time.Millisecond)
	if seed%2 == 0 { // the server stops under its clients
		x.served.stop()
	}
	close(x.stop)
	wg.Wait()
	x.served.stop()
	x.check()
}

// check reads everything back.
func (x *chaos) check() {
	c := x.connect()
	total := 0
	for partition, acked := range x.acked {
		f := fetchFrom(12, "t", x.id, chaosPartitions, 0)
		f.Topics[0].Partitions = f.Topics[0].Partitions[partition : partition+1]
		f.Topics[0].Partitions[0].PartitionMaxBytes = 1 << 30
		data := c.ask(f).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
		found := map[int64]string{}
		for len(data) > 0 {
			b := record.Batch(data)[:record.Batch(data).Size()]
			for r, err := range b.Records(x.deps.Codecs) {
				if err != nil {
					x.t.Fatal(err)
				}
				found[b.BaseOffset()] = string(r.Value)
			}
			data = data[len(b):]
		}
		for offset, value := range acked {
			if found[offset] != value {
				x.t.Errorf("partition %d offset %d was acknowledged as %q and is %q", partition, offset, value, found[offset])
			}
		}
		total += len(acked)
	}
	if total < 50 {
		x.t.Errorf("only %d acknowledgements", total)
	}
	for _, s := range x.service.sessions.byID {
		if !s.tryAcquire() {
			x.t.Errorf("session %d is still used", s.id)
			continue
		}
		s.end()
	}
	for i := range int32(chaosPartitions) {
		if n := x.replicas.LookupName("t", i).Watchers(); n != 0 {
			x.t.Errorf("partition %d is watched by %d, without a session", i, n)
		}
	}
}
