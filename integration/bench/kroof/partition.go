//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
)

var be = binary.BigEndian

// castagnoli is the polynomial of Kafka's batch checksum.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kafka's error codes that kroof can answer.
const (
	errNone           = 0
	errCorruptMessage = 2
	errStorage        = 56
)

// indexEntry is one batch of a partition.
type indexEntry struct {
	base, pos int64
	records   int32
	size      int32
}

// partition is one file of batches with its index.
type partition struct {
	file *os.File
	fd   int

	mu    sync.Mutex // guards what follows; held over the pwrite, which keeps the file in offset order
	pos   int64      // end of the file
	next  int64      // next offset
	end   int64      // offset up to which fetches see: next, or with -sync what is durable
	index []indexEntry
	wake  chan struct{} // closed when end moves; fetches at the end wait for it
	dirty bool          // in server.dirty
	wait  []chan struct{}
}

func openPartition(dir, topic string, n int) *partition {
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%s-%d.log", topic, n)), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o644)
	must(err)
	p := &partition{file: f, fd: int(f.Fd()), wake: make(chan struct{})}
	must(syscall.SetNonblock(p.fd, false))
	return p
}

// topic returns the partitions of a topic, which it creates when it is new: n partitions, or -parts when n is 0.
func (s *server) topic(name string, n int) []*partition {
	s.topicsMu.RLock()
	ps := s.topics[name]
	s.topicsMu.RUnlock()
	if ps != nil {
		return ps
	}
	s.topicsMu.Lock()
	defer s.topicsMu.Unlock()
	if ps = s.topics[name]; ps != nil {
		return ps
	}
	if n <= 0 {
		n = s.partitions
	}
	for i := range n {
		ps = append(ps, openPartition(s.dir, name, i))
	}
	s.topics[name] = ps
	return ps
}

// remove deletes a topic. Nobody may be using it: kroof does not check.
func (s *server) remove(name string) {
	s.topicsMu.Lock()
	defer s.topicsMu.Unlock()
	for _, p := range s.topics[name] {
		_ = os.Remove(p.file.Name())
		_ = p.file.Close()
	}
	delete(s.topics, name)
}

// checkBatches reports whether records are whole batches of version 2 with right checksums.
func checkBatches(records []byte) bool {
	for b := records; len(b) > 0; {
		if len(b) < 61 {
			return false
		}
		n := int(be.Uint32(b[8:])) + 12
		if n > len(b) || b[16] != 2 || crc32.Checksum(b[21:n], castagnoli) != be.Uint32(b[17:]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// append stores one or more batches and returns their base offset, an error code and, if durability has to be waited
// for, a channel that is closed when they are durable.
func (s *server) append(p *partition, records []byte) (base int64, code int16, durable chan struct{}) {
	if !checkBatches(records) {
		return 0, errCorruptMessage, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	base, start := p.next, p.pos
	for b := records; len(b) > 0; {
		size, n := int(be.Uint32(b[8:]))+12, int32(be.Uint32(b[23:]))+1
		be.PutUint64(b, uint64(p.next)) // base offset and leader epoch lie outside the checksum
		be.PutUint32(b[12:], 0)
		p.index = append(p.index, indexEntry{p.next, p.pos, n, int32(size)})
		p.next += int64(n)
		p.pos += int64(size)
		b = b[size:]
	}
	if _, err := syscall.Pwrite(p.fd, records, start); err != nil {
		return 0, errStorage, nil
	}
	if s.sync == "group" {
		return base, errNone, s.enqueue(p)
	}
	if s.sync == "each" {
		must(syscall.Fdatasync(p.fd))
	}
	p.publish(p.next)
	return base, errNone, nil
}

// publish shows fetches what lies below end. The caller holds p.mu.
func (p *partition) publish(end int64) {
	p.end = end
	close(p.wake)
	p.wake = make(chan struct{})
}

// find returns the range of the file that answers a fetch from offset of at most limit bytes (but at least one batch)
// and the end offset. When there is nothing yet, wake is closed when there is.
func (p *partition) find(offset, limit int64) (pos, n, end int64, wake chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset >= p.end {
		return 0, 0, p.end, p.wake
	}
	i := sort.Search(len(p.index), func(i int) bool { return p.index[i].base+int64(p.index[i].records) > offset })
	pos = p.index[i].pos
	for ; i < len(p.index); i++ {
		e := p.index[i]
		if n > 0 && n+int64(e.size) > limit || e.base >= p.end {
			break
		}
		n += int64(e.size)
	}
	return pos, n, p.end, nil
}

// enqueue hands p to the flusher and returns what its next round closes. The caller holds p.mu.
func (s *server) enqueue(p *partition) chan struct{} {
	done := make(chan struct{})
	p.wait = append(p.wait, done)
	if !p.dirty {
		p.dirty = true
		s.dirtyMu.Lock()
		s.dirty = append(s.dirty, p)
		s.dirtyMu.Unlock()
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return done
}

// flush is the group commit: each round syncs the files that changed since the last one, some at a time. It runs as
// long as the process.
func (s *server) flush() {
	slots := make(chan struct{}, s.parallelSyncs)
	for range s.kick {
		s.dirtyMu.Lock()
		round := s.dirty
		s.dirty = nil
		s.dirtyMu.Unlock()
		var wg sync.WaitGroup
		for _, p := range round {
			slots <- struct{}{}
			wg.Go(func() {
				p.mu.Lock()
				waiting, end := p.wait, p.next
				p.wait, p.dirty = nil, false
				p.mu.Unlock()
				must(syscall.Fdatasync(p.fd))
				p.mu.Lock()
				p.publish(end)
				p.mu.Unlock()
				for _, w := range waiting {
					close(w)
				}
				<-slots
			})
		}
		wg.Wait()
	}
}
