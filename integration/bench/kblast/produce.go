//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// openLoopQueue is how many requests an open loop may have in flight per connection: a bound that is never met while
// the broker keeps up at all.
const openLoopQueue = 100_000

// producer drives one produce measurement over several connections.
type producer struct {
	meter
	lat      latencies
	wg       sync.WaitGroup
	perReq   int64 // payload bytes of a request
	records  int64 // records of a request
	interval time.Duration
	start    time.Time
	sent     atomic.Int64 // payload bytes handed to the connections
}

func produce(o *options) {
	batch, records := newBatch(o.batchBytes, o.recordBytes)
	p := &producer{
		meter:   meter{o: o},
		perReq:  int64(len(batch) * o.perRequest),
		records: int64(records * o.perRequest),
		start:   time.Now(),
	}
	switch {
	case o.requestsPerSec > 0:
		p.interval = time.Duration(float64(time.Second) * float64(o.conns) / o.requestsPerSec)
	case o.megabytesPerSecond > 0:
		p.interval = time.Duration(float64(time.Second) * float64(o.conns) * float64(p.perReq) / (o.megabytesPerSecond * 1e6))
	}
	for i := range o.conns {
		p.connect(i, batch)
	}
	from, to := p.measure()
	fmt.Printf("%s produce acks=%d conns=%d depth=%d parts=%d batch=%d recs/batch=%d %s %s\n",
		o.label, o.acks, o.conns, o.depth, o.partitions, len(batch), records, rates(from, to), &p.lat)
}

// measure waits for the end of the measurement. When the volume ends it, the last acknowledgement counts.
func (p *producer) measure() (from, to reading) {
	const look = 5 * time.Millisecond
	for t := time.Now(); time.Since(t) < p.o.warmup && !p.stop.Load(); {
		time.Sleep(look)
	}
	if p.stop.Load() && p.o.warmup > 0 {
		fail(fmt.Errorf("-maxmb %d was spent in the warm-up of %v: raise it or shorten -warm", p.o.maxMegabytes, p.o.warmup))
	}
	p.measuring.Store(true)
	from = p.read()
	for time.Since(from.at) < p.o.duration && !p.stop.Load() {
		time.Sleep(look)
	}
	if p.stop.Load() {
		p.wg.Wait()
	}
	to = p.read()
	p.measuring.Store(false)
	p.stop.Store(true)
	p.wg.Wait()
	return from, to
}

// connect starts the sender and the receiver of connection i. Both end when stop is set and what was sent is
// acknowledged.
func (p *producer) connect(i int, batch []byte) {
	c := dial(p.o)
	var partitions []int
	for n := i % p.o.partitions; n < p.o.partitions; n += p.o.conns {
		partitions = append(partitions, n)
	}
	var frames [][]byte
	for k := 0; k < len(partitions); k += p.o.perRequest {
		frames = append(frames, produceRequest(p.o, partitions[k:min(k+p.o.perRequest, len(partitions))], batch))
	}
	depth := p.o.depth
	if p.interval > 0 {
		depth = openLoopQueue
	}
	inFlight := make(chan int64, depth) // when each was sent
	first := p.start.Add(p.interval * time.Duration(i) / time.Duration(p.o.conns))
	p.wg.Add(2)
	go p.send(c, frames, first, inFlight)
	go p.receive(c, inFlight)
}

func (p *producer) send(c net.Conn, frames [][]byte, next time.Time, inFlight chan<- int64) {
	defer p.wg.Done()
	defer close(inFlight)
	if p.interval > 0 {
		lockForPreciseSleep()
	}
	for k := 0; !p.stop.Load(); k++ {
		f := frames[k%len(frames)]
		be.PutUint32(f[frameCorrelationID:], uint32(k))
		if p.interval > 0 {
			inFlight <- preciseSleep(next).UnixNano()
			next = next.Add(p.interval)
		} else {
			inFlight <- time.Now().UnixNano()
		}
		_, err := c.Write(f)
		must(err)
		if p.o.maxMegabytes > 0 && p.sent.Add(p.perReq) > p.o.maxMegabytes*1e6 {
			p.stop.Store(true)
		}
	}
}

func (p *producer) receive(c net.Conn, inFlight <-chan int64) {
	defer p.wg.Done()
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	var lat []int64
	var body, buf []byte
	for sent := range inFlight {
		if p.o.acks != 0 {
			body, buf = readBody(r, buf)
			must(produceError(body))
		}
		p.bytes.Add(p.perReq)
		p.meter.records.Add(p.records)
		p.requests.Add(1)
		if p.measuring.Load() {
			lat = append(lat, time.Now().UnixNano()-sent)
		}
	}
	p.lat.add(lat)
}
