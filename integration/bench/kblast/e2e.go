//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"time"
)

// tail is an end-to-end measurement: one connection sends batches of one record, with the time of sending in the
// record, at a fixed rate; another reads the end of the same partition.
type tail struct {
	meter
	batch             []byte
	timeAt            int // where the time of sending stands in batch
	acked, delivered  latencies
	wg                sync.WaitGroup
	producer, fetcher net.Conn
}

// defaultRate is the requests/s of e2e when -rps is not given.
const defaultRate = 1000

func endToEnd(o *options) {
	if o.requestsPerSec == 0 {
		o.requestsPerSec = defaultRate
	}
	valueBytes := max(o.recordBytes, 8)
	batch, _ := newBatch(0, valueBytes)
	t := &tail{meter: meter{o: o}, batch: batch, timeAt: len(batch) - 1 - valueBytes, producer: dial(o), fetcher: dial(o)}
	var end int64
	if _, code := listOffsets(o, t.fetcher, func(partition int, offset int64) {
		if partition == 0 {
			end = offset
		}
	}); code != 0 {
		fail(fmt.Errorf("ask for the end of the topic %s: error code %d", o.topic, code))
	}
	inFlight := make(chan int64, 1<<20)
	t.wg.Add(3)
	go t.send(inFlight)
	go t.receive(inFlight)
	go t.follow(end)
	time.Sleep(o.warmup)
	t.measuring.Store(true)
	from := t.read()
	time.Sleep(o.duration)
	to := t.read()
	t.measuring.Store(false)
	t.stop.Store(true)
	t.wg.Wait()
	perRecord := (to.brokerCPU - from.brokerCPU) * 1e6 / (o.requestsPerSec * to.at.Sub(from.at).Seconds())
	fmt.Printf("%s e2e_consume rps=%.0f rec=%d n=%d broker_cpu_us/rec=%.1f broker_rss_MB=%d %s\n",
		o.label, o.requestsPerSec, o.recordBytes, len(t.delivered.all), perRecord, to.brokerRSS, &t.delivered)
	fmt.Printf("%s e2e_ack rps=%.0f rec=%d n=%d %s\n", o.label, o.requestsPerSec, o.recordBytes, len(t.acked.all), &t.acked)
}

// send ends when stop is set.
func (t *tail) send(inFlight chan<- int64) {
	defer t.wg.Done()
	defer close(inFlight)
	lockForPreciseSleep()
	next := time.Now()
	interval := time.Duration(float64(time.Second) / t.o.requestsPerSec)
	for !t.stop.Load() {
		from := preciseSleep(next).UnixNano()
		be.PutUint64(t.batch[t.timeAt:], uint64(from))
		sealBatch(t.batch)
		_, err := t.producer.Write(produceRequest(t.o, []int{0}, t.batch))
		must(err)
		inFlight <- from
		next = next.Add(interval)
	}
}

// receive ends when send has ended and everything is acknowledged.
func (t *tail) receive(inFlight <-chan int64) {
	defer t.wg.Done()
	r := bufio.NewReader(t.producer)
	var lat []int64
	var body, buf []byte
	for sent := range inFlight {
		body, buf = readBody(r, buf)
		must(produceError(body))
		if t.measuring.Load() {
			lat = append(lat, time.Now().UnixNano()-sent)
		}
	}
	t.acked.add(lat)
}

// follow reads from the given offset until stop is set.
func (t *tail) follow(offset int64) {
	defer t.wg.Done()
	var lat []int64
	buf := make([]byte, t.o.fetchBytes+1<<20)
	var body []byte
	for !t.stop.Load() {
		_, err := t.fetcher.Write(fetchRequest(t.o, []int{0}, []int64{offset}))
		must(err)
		body, buf = readBody(t.fetcher, buf)
		now := time.Now().UnixNano()
		forPartitions(body, func(_ int, _ int64, records []byte) {
			forBatches(records, func(b []byte, end int64) {
				offset = end
				if t.measuring.Load() && len(b) == len(t.batch) {
					lat = append(lat, now-int64(be.Uint64(b[t.timeAt:])))
				}
			})
		})
	}
	t.delivered.add(lat)
}
