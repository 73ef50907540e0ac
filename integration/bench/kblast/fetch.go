//go:build linux

package main

import (
	"fmt"
	"sync"
	"time"
)

// reader drives one fetch measurement over several connections.
type reader struct {
	meter
	lat latencies
	wg  sync.WaitGroup
}

func fetch(o *options) {
	r := &reader{meter: meter{o: o}}
	for i := range o.conns {
		r.wg.Add(1)
		go r.read1(i)
	}
	time.Sleep(o.warmup)
	r.measuring.Store(true)
	from := r.read()
	time.Sleep(o.duration)
	to := r.read()
	r.stop.Store(true)
	r.wg.Wait()
	fmt.Printf("%s fetch conns=%d parts=%d fmax=%d %s %s\n", o.label, o.conns, o.partitions, o.fetchBytes, rates(from, to), &r.lat)
}

// read1 reads the partitions of connection i round and round, one request in flight, until stop is set.
func (r *reader) read1(i int) {
	defer r.wg.Done()
	c := dial(r.o)
	defer c.Close()
	var partitions []int
	at := map[int]int{}
	for p := i % r.o.partitions; p < r.o.partitions; p += r.o.conns {
		at[p] = len(partitions)
		partitions = append(partitions, p)
	}
	offsets := make([]int64, len(partitions))
	buf := make([]byte, r.o.fetchBytes+1<<20)
	var body []byte
	var lat []int64
	for !r.stop.Load() {
		t := time.Now()
		_, err := c.Write(fetchRequest(r.o, partitions, offsets))
		must(err)
		body, buf = readBody(c, buf)
		forPartitions(body, func(p int, high int64, records []byte) {
			r.bytes.Add(int64(len(records)))
			next := &offsets[at[p]]
			forBatches(records, func(_ []byte, end int64) {
				r.records.Add(end - *next)
				*next = end
			})
			if *next >= high {
				*next = 0
			}
		})
		r.requests.Add(1)
		if r.measuring.Load() {
			lat = append(lat, int64(time.Since(t)))
		}
	}
	r.lat.add(lat)
}
