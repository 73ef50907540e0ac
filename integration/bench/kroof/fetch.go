//go:build linux

package main

import "time"

// fetch answers at once when there is data, else when the first of its partitions gets some or max_wait_ms is over.
func (c *conn) fetch(d *decoder, version int16, e *encoder, r *response) {
	d.i32() // replica
	deadline := time.Now().Add(time.Duration(d.i32()) * time.Millisecond)
	d.i32() // min bytes: 1 is assumed
	limit := int64(d.i32())
	d.i8() // isolation level
	if version >= 7 {
		d.i32() // session
		d.i32()
	}
	body, mark := *d, len(*e)
	for {
		*d, *e, r.sections = body, (*e)[:mark], r.sections[:0]
		got, wake := c.fetchOnce(d, version, e, r, limit)
		left := time.Until(deadline)
		if got > 0 || left <= 0 || wake == nil {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// fetchOnce encodes what is there now and returns its size and, if a partition had nothing, what wakes it.
func (c *conn) fetchOnce(d *decoder, version int16, e *encoder, r *response, limit int64) (got int64, wake chan struct{}) {
	e.i32(0) // throttle time
	if version >= 7 {
		e.i16(errNone)
		e.i32(0) // session
	}
	for i, p := range c.eachPartition(d, e) {
		if version >= 9 {
			d.i32() // leader epoch
		}
		offset := d.i64()
		if version >= 5 {
			d.i64() // log start offset
		}
		atMost := min(int64(d.i32()), max(limit-got, 0))
		pos, size, end, w := p.find(offset, atMost)
		if w != nil {
			wake = w
		}
		if got > 0 && got+size > limit {
			size = 0
		}
		encodePartition(e, version, i, end, size)
		if size > 0 {
			r.sections = append(r.sections, section{len(*e), p, pos, size})
		}
		got += size
	}
	return got, wake
}

func encodePartition(e *encoder, version int16, index int32, end, size int64) {
	e.i32(index)
	e.i16(errNone)
	e.i64(end) // high watermark
	e.i64(end) // last stable offset
	if version >= 5 {
		e.i64(0) // log start offset
	}
	e.i32(-1) // no aborted transactions
	if version >= 11 {
		e.i32(-1) // no preferred replica
	}
	e.i32(int32(size))
}
