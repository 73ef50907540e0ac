//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"syscall"
	"time"
)

// API keys and the one version of each that is spoken.
const (
	keyProduce, verProduce           = 0, 7
	keyFetch, verFetch               = 1, 11
	keyListOffsets, verListOffsets   = 2, 1
	keyAPIVersions, verAPIVersions   = 18, 0
	keyCreateTopics, verCreateTopics = 19, 2
	keyDeleteTopics, verDeleteTopics = 20, 1
)

// Offsets of fields in a request frame and in a record batch of version 2.
const (
	frameCorrelationID = 8
	batchHeader        = 61
	batchLength        = 8
	batchCRC           = 17
	batchAttributes    = 21 // the checksum covers everything from here on
	batchLastOffset    = 23
)

var be = binary.BigEndian

// frame is a request under construction: length prefix, header, body.
type frame []byte

func (f *frame) i8(v int)     { *f = append(*f, byte(v)) }
func (f *frame) i16(v int)    { *f = be.AppendUint16(*f, uint16(v)) }
func (f *frame) i32(v int)    { *f = be.AppendUint32(*f, uint32(v)) }
func (f *frame) i64(v int64)  { *f = be.AppendUint64(*f, uint64(v)) }
func (f *frame) str(s string) { f.i16(len(s)); *f = append(*f, s...) }

// newFrame starts a request with header version 1.
func newFrame(key, version, capacity int) frame {
	f := append(make(frame, 0, capacity+64), 0, 0, 0, 0)
	f.i16(key)
	f.i16(version)
	f.i32(0)
	f.str("kblast")
	return f
}

// done fills in the length prefix.
func (f frame) done() []byte {
	be.PutUint32(f, uint32(len(f)-4))
	return f
}

// newBatch encodes one record batch of about size bytes, at least one record, each with a value of recordBytes.
// The value is a fixed pattern. It returns the batch and the number of its records.
func newBatch(size, recordBytes int) (batch []byte, records int) {
	b := make([]byte, batchHeader, size+recordBytes+100)
	value := make([]byte, recordBytes)
	for i := range value {
		value[i] = byte(i*131) ^ byte(i>>3)
	}
	for len(b)+recordBytes < size || records == 0 {
		body := []byte{0}                                   // attributes
		body = binary.AppendVarint(body, 0)                 // timestamp delta
		body = binary.AppendVarint(body, int64(records))    // offset delta
		body = binary.AppendVarint(body, -1)                // no key
		body = binary.AppendVarint(body, int64(len(value))) // value
		b = binary.AppendVarint(b, int64(len(body)+len(value)+1))
		b = append(b, body...)
		b = append(b, value...)
		b = append(b, 0) // no headers
		records++
	}
	now := uint64(time.Now().UnixMilli())
	be.PutUint32(b[batchLength:], uint32(len(b)-12))
	be.PutUint32(b[12:], 0xffffffff) // partition leader epoch
	b[16] = 2                        // magic
	be.PutUint32(b[batchLastOffset:], uint32(records-1))
	be.PutUint64(b[27:], now)
	be.PutUint64(b[35:], now)
	be.PutUint64(b[43:], ^uint64(0)) // no producer id,
	be.PutUint16(b[51:], ^uint16(0)) // epoch
	be.PutUint32(b[53:], ^uint32(0)) // and sequence
	be.PutUint32(b[57:], uint32(records))
	sealBatch(b)
	return b, records
}

// sealBatch writes the checksum of b.
func sealBatch(b []byte) {
	be.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], crc32.MakeTable(crc32.Castagnoli)))
}

// forBatches calls f for every complete batch in records: its bytes and the offset after it.
func forBatches(records []byte, f func(batch []byte, next int64)) {
	for len(records) >= batchHeader {
		n := int(be.Uint32(records[batchLength:])) + 12
		if n > len(records) {
			return
		}
		f(records[:n], int64(be.Uint64(records))+int64(be.Uint32(records[batchLastOffset:]))+1)
		records = records[n:]
	}
}

func createRequest(names []string, partitions int) []byte {
	f := newFrame(keyCreateTopics, verCreateTopics, 64*len(names))
	f.i32(len(names))
	for _, name := range names {
		f.str(name)
		f.i32(partitions)
		f.i16(1)
		f.i32(0) // no assignment
		f.i32(0) // no configs
	}
	f.i32(60000)
	f.i8(0)
	return f.done()
}

func produceRequest(o *options, partitions []int, batch []byte) []byte {
	f := newFrame(keyProduce, verProduce, len(partitions)*(len(batch)+16)+len(o.topic))
	f.i16(-1) // no transactional id
	f.i16(o.acks)
	f.i32(30000)
	f.i32(1)
	f.str(o.topic)
	f.i32(len(partitions))
	for _, p := range partitions {
		f.i32(p)
		f.i32(len(batch))
		f = append(f, batch...)
	}
	return f.done()
}

// produceError returns the first error in the body of a Produce response.
func produceError(b []byte) error {
	topics := be.Uint32(b)
	b = b[4:]
	for range topics {
		b = b[2+be.Uint16(b):]
		partitions := be.Uint32(b)
		b = b[4:]
		for range partitions {
			if code := int16(be.Uint16(b[4:])); code != 0 {
				return fmt.Errorf("produce to partition %d: error code %d", be.Uint32(b), code)
			}
			b = b[4+2+8+8+8:]
		}
	}
	return nil
}

func fetchRequest(o *options, partitions []int, offsets []int64) []byte {
	f := newFrame(keyFetch, verFetch, 32*len(partitions)+len(o.topic)+64)
	f.i32(-1) // a client, not a replica
	f.i32(o.maxWaitMillis)
	f.i32(1)
	f.i32(o.fetchBytes)
	f.i8(0)
	f.i32(0)  // no session
	f.i32(-1) // its final epoch
	f.i32(1)
	f.str(o.topic)
	f.i32(len(partitions))
	for i, p := range partitions {
		f.i32(p)
		f.i32(-1) // leader epoch not known
		f.i64(offsets[i])
		f.i64(-1)
		f.i32(o.fetchBytes)
	}
	f.i32(0) // nothing forgotten
	f.str("")
	return f.done()
}

// forPartitions calls f for every partition in the body of a Fetch response.
func forPartitions(b []byte, f func(partition int, highWatermark int64, records []byte)) {
	if code := int16(be.Uint16(b[4:])); code != 0 {
		fail(fmt.Errorf("fetch: error code %d", code))
	}
	topics := be.Uint32(b[10:])
	b = b[14:]
	for range topics {
		b = b[2+be.Uint16(b):]
		partitions := be.Uint32(b)
		b = b[4:]
		for range partitions {
			p, code, high := int(be.Uint32(b)), int16(be.Uint16(b[4:])), int64(be.Uint64(b[6:]))
			if code != 0 {
				fail(fmt.Errorf("fetch partition %d: error code %d", p, code))
			}
			b = b[4+2+8+8+8:]
			aborted := max(int32(be.Uint32(b)), 0)
			b = b[4+16*aborted+4:]
			n := max(int32(be.Uint32(b)), 0)
			f(p, high, b[4:4+n])
			b = b[4+n:]
		}
	}
}

// dial opens a connection to the broker.
func dial(o *options) net.Conn {
	c, err := net.Dial("tcp", o.addr)
	must(err)
	if o.congestion != "" {
		const tcpCongestion = 13
		raw, err := c.(*net.TCPConn).SyscallConn()
		must(err)
		must(raw.Control(func(fd uintptr) {
			must(syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, tcpCongestion, o.congestion))
		}))
	}
	return c
}

// readBody reads one response into b, growing it when needed, and returns the body after the correlation id,
// valid until the next call with the same b, and the buffer to use then.
func readBody(r io.Reader, b []byte) (body, buf []byte) {
	var head [4]byte
	_, err := io.ReadFull(r, head[:])
	must(err)
	n := int(be.Uint32(head[:]))
	if n > len(b) {
		b = make([]byte, n)
	}
	_, err = io.ReadFull(r, b[:n])
	must(err)
	return b[4:n], b
}

// call does one request and returns the body of its response.
func call(c net.Conn, request []byte) []byte {
	_, err := c.Write(request)
	must(err)
	body, _ := readBody(c, nil)
	return body
}
