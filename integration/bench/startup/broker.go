//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"
)

var be = binary.BigEndian

// broker is the one connection to the broker under test. Every step tries again until the deadline, since a broker
// may accept connections before it serves.
type broker struct {
	addr     string
	deadline time.Time
	conn     net.Conn
}

const (
	connectPause = 200 * time.Microsecond // between two tries to connect
	retryPause   = time.Millisecond       // between two tries of a request
)

func (b *broker) close() {
	if b.conn != nil {
		b.conn.Close()
	}
}

func (b *broker) connect() error {
	b.close()
	for {
		c, err := net.Dial("tcp", b.addr)
		if err == nil {
			b.conn = c
			return c.SetDeadline(b.deadline)
		}
		if time.Now().After(b.deadline) {
			return fmt.Errorf("nothing listens on %s: %w", b.addr, err)
		}
		time.Sleep(connectPause)
	}
}

// until repeats a request until accept takes its response (correlation id included).
func (b *broker) until(what string, request []byte, accept func(response []byte) bool) error {
	for {
		response, err := b.call(request)
		if err == nil && accept(response) {
			return nil
		}
		if time.Now().After(b.deadline) {
			return fmt.Errorf("no %s: last response %x, %v", what, response, err)
		}
		if err != nil {
			if err := b.connect(); err != nil {
				return err
			}
		}
		time.Sleep(retryPause)
	}
}

func (b *broker) call(request []byte) ([]byte, error) {
	if _, err := b.conn.Write(request); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(b.conn, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, be.Uint32(head[:]))
	_, err := io.ReadFull(b.conn, body)
	return body, err
}

func (b *broker) apiVersions() error {
	return b.until("ApiVersions answer", frame(18, 0, nil), func([]byte) bool { return true })
}

// firstProduce creates a topic of one partition and produces to it with acks=all until that is acknowledged.
func (b *broker) firstProduce() error {
	topic := fmt.Sprintf("startup%d", time.Now().UnixNano())
	name := append(be.AppendUint16(nil, uint16(len(topic))), topic...)

	create := append([]byte{0, 0, 0, 1}, name...)
	create = append(create, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0) // 1 partition, 1 replica, nothing else
	create = append(create, 0, 0, 0x75, 0x30, 0)                      // 30 s, not only to validate
	const errTopicExists = 36
	err := b.until("topic", frame(19, 2, create), func(r []byte) bool {
		code := be.Uint16(r[4+4+4+len(name):])
		return code == 0 || code == errTopicExists
	})
	if err != nil {
		return err
	}
	batch := oneRecord()
	produce := []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0x75, 0x30, 0, 0, 0, 1} // no transaction, acks -1, 30 s, 1 topic
	produce = append(produce, name...)
	produce = append(produce, 0, 0, 0, 1, 0, 0, 0, 0)
	produce = be.AppendUint32(produce, uint32(len(batch)))
	produce = append(produce, batch...)
	return b.until("acknowledged Produce", frame(0, 7, produce), func(r []byte) bool {
		return be.Uint16(r[4+4+len(name)+4+4:]) == 0
	})
}

// frame is a request with a header of version 1.
func frame(key, version byte, body []byte) []byte {
	f := []byte{0, 0, 0, 0, 0, key, 0, version, 0, 0, 0, 1, 0, 1, 's'}
	f = append(f, body...)
	be.PutUint32(f, uint32(len(f)-4))
	return f
}

// oneRecord is a batch of one record of 10 zero bytes.
func oneRecord() []byte {
	const header = 61
	record := append([]byte{0, 0, 0, 1, 20}, make([]byte, 11)...)
	b := append(make([]byte, header, 100), byte(2*len(record)))
	b = append(b, record...)
	now := uint64(time.Now().UnixMilli())
	be.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2 // magic
	be.PutUint64(b[27:], now)
	be.PutUint64(b[35:], now)
	for i := 43; i < 57; i++ {
		b[i] = 0xff // no producer
	}
	be.PutUint32(b[57:], 1)
	be.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}
