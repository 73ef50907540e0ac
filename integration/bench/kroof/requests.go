//go:build linux

package main

import (
	"iter"
	"time"
)

// decoder reads a request. A malformed one panics: kroof is for load generators, not for the world.
type decoder struct{ b []byte }

func (d *decoder) i8() int8   { v := int8(d.b[0]); d.b = d.b[1:]; return v }
func (d *decoder) i16() int16 { v := int16(be.Uint16(d.b)); d.b = d.b[2:]; return v }
func (d *decoder) i32() int32 { v := int32(be.Uint32(d.b)); d.b = d.b[4:]; return v }
func (d *decoder) i64() int64 { v := int64(be.Uint64(d.b)); d.b = d.b[8:]; return v }

func (d *decoder) bytes(n int32) []byte {
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) str() string {
	n := d.i16()
	return string(d.bytes(int32(max(n, 0))))
}

// encoder builds a response.
type encoder []byte

func (e *encoder) i8(v int8)    { *e = append(*e, byte(v)) }
func (e *encoder) i16(v int16)  { *e = be.AppendUint16(*e, uint16(v)) }
func (e *encoder) i32(v int32)  { *e = be.AppendUint32(*e, uint32(v)) }
func (e *encoder) i64(v int64)  { *e = be.AppendUint64(*e, uint64(v)) }
func (e *encoder) str(s string) { e.i16(int16(len(s))); *e = append(*e, s...) }

// handle answers one frame; false closes the connection.
func (c *conn) handle(frame []byte) (response, bool) {
	d := &decoder{frame}
	key, version, correlation := d.i16(), d.i16(), d.i32()
	d.str() // client id
	e := make(encoder, 4, 256)
	e.i32(correlation)
	var r response
	switch key {
	case 0:
		if acks := c.produce(d, version, &e, &r); acks == 0 {
			return response{}, true
		}
	case 1:
		c.fetch(d, version, &e, &r)
	case 2:
		c.listOffsets(d, &e)
	case 3:
		c.metadata(d, version, &e)
	case 10, 11, 12, 13, 14, 68:
		c.ofGroup(key, correlation, d)
		return response{}, true
	case 18:
		apiVersions(version, &e)
	case 19:
		c.createTopics(d, &e)
	case 20:
		c.deleteTopics(d, &e)
	case 22:
		e.i32(0)
		e.i16(errNone)
		e.i64(time.Now().UnixNano()) // as good a producer id as any
		e.i16(0)
	default:
		return response{}, false
	}
	size := int64(len(e) - 4)
	for _, s := range r.sections {
		size += s.n
	}
	be.PutUint32(e, uint32(size))
	r.buf = e
	return r, true
}

// apiVersions always answers with the body of version 0.
func apiVersions(version int16, e *encoder) {
	const unsupportedVersion = 35
	if version > 0 {
		e.i16(unsupportedVersion)
	} else {
		e.i16(errNone)
	}
	served := [][3]int16{{0, 3, 7}, {1, 4, 11}, {2, 1, 1}, {3, 1, 4}, {18, 0, 0}, {19, 2, 2}, {20, 1, 1}, {22, 0, 1}}
	e.i32(int32(len(served)))
	for _, k := range served {
		e.i16(k[0])
		e.i16(k[1])
		e.i16(k[2])
	}
}

// metadata creates the topics that it is asked for.
func (c *conn) metadata(d *decoder, version int16, e *encoder) {
	var names []string
	for range d.i32() {
		names = append(names, d.str())
	}
	if version >= 3 {
		e.i32(0) // throttle time
	}
	e.i32(1)
	e.i32(0) // node id
	e.str(c.host)
	e.i32(int32(c.port))
	e.i16(-1) // no rack
	if version >= 2 {
		e.str("kroof")
	}
	e.i32(0) // controller
	e.i32(int32(len(names)))
	for _, name := range names {
		ps := c.topic(name, 0)
		e.i16(errNone)
		e.str(name)
		e.i8(0) // not internal
		e.i32(int32(len(ps)))
		for i := range ps {
			e.i16(errNone)
			e.i32(int32(i))
			e.i32(0) // leader
			e.i32(1)
			e.i32(0) // replicas
			e.i32(1)
			e.i32(0) // in sync
		}
	}
}

func (c *conn) createTopics(d *decoder, e *encoder) {
	n := d.i32()
	e.i32(0)
	e.i32(n)
	for range n {
		name, partitions := d.str(), d.i32()
		d.i16()             // replication factor
		for range d.i32() { // assignments
			d.i32()
			for range d.i32() {
				d.i32()
			}
		}
		for range d.i32() { // configs
			d.str()
			d.str()
		}
		c.topic(name, int(partitions))
		e.str(name)
		e.i16(errNone)
		e.i16(-1)
	}
}

func (c *conn) deleteTopics(d *decoder, e *encoder) {
	n := d.i32()
	e.i32(0)
	e.i32(n)
	for range n {
		name := d.str()
		c.remove(name)
		e.str(name)
		e.i16(errNone)
	}
}

// eachPartition goes through the partitions that a request names, by index, topic by topic. It answers with what all
// answers begin with, the topics' names and how many partitions each has; whoever ranges over it reads the rest of each
// partition, and answers with its index and the rest.
func (c *conn) eachPartition(d *decoder, e *encoder) iter.Seq2[int32, *partition] {
	return func(yield func(int32, *partition) bool) {
		n := d.i32()
		e.i32(n)
		for range n {
			name := d.str()
			ps := c.topic(name, 0)
			e.str(name)
			m := d.i32()
			e.i32(m)
			for range m {
				if i := d.i32(); !yield(i, ps[i]) {
					return
				}
			}
		}
	}
}

func (c *conn) listOffsets(d *decoder, e *encoder) {
	const earliest = -2
	d.i32()
	for i, p := range c.eachPartition(d, e) {
		timestamp := d.i64()
		p.mu.Lock()
		offset := p.end
		p.mu.Unlock()
		if timestamp == earliest {
			offset = 0
		}
		e.i32(i)
		e.i16(errNone)
		e.i64(-1)
		e.i64(offset)
	}
}

// produce returns the request's acks.
func (c *conn) produce(d *decoder, version int16, e *encoder, r *response) (acks int16) {
	d.str() // transactional id
	acks = d.i16()
	d.i32() // timeout
	for i, p := range c.eachPartition(d, e) {
		base, code, durable := c.append(p, d.bytes(d.i32()))
		if durable != nil {
			r.wait = append(r.wait, durable)
		}
		e.i32(i)
		e.i16(code)
		e.i64(base)
		e.i64(-1)
		if version >= 5 {
			e.i64(0) // log start offset
		}
	}
	e.i32(0)
	return acks
}
