package simnet

import (
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// pipeBytes is how much a connection holds in one direction, sent but not yet read: the buffers of both sockets.
const pipeBytes = 256 << 10

// pipe is one direction of a connection. Its fields are guarded by Network.mu.
type pipe struct {
	n   *Network
	way direction

	segments []segment
	size     int // bytes in segments
	// end is what the reader gets behind the last segment, io.EOF or ECONNRESET; nil while the stream is open.
	end   error
	endAt time.Time

	readerClosed, writerClosed bool
	// broken ends both sides at once.
	broken bool
	// refusedAt is when the writer learns that the reader is gone, by the reset that answers its first write since.
	refusedAt time.Time

	readDeadline, writeDeadline time.Time
	changed                     signal
}

// segment is bytes that arrive together.
type segment struct {
	data []byte
	at   time.Time
}

func (p *pipe) link() link { return p.n.links[p.way] }

func (p *pipe) reverseLink() link { return p.n.links[direction{p.way.to, p.way.from}] }

// arrival returns when something sent now arrives: never before what was sent earlier.
func (p *pipe) arrival() time.Time {
	at := time.Now().Add(p.link().latency)
	if k := len(p.segments); k > 0 && p.segments[k-1].at.After(at) {
		at = p.segments[k-1].at
	}
	return at
}

// arrived reports whether there are bytes for the reader.
func (p *pipe) arrived() bool {
	return len(p.segments) > 0 && expired(p.segments[0].at) && !p.link().cut
}

// next returns when the reader should look again if nothing changes; zero is never.
func (p *pipe) next() time.Time {
	switch {
	case p.link().cut:
		return time.Time{}
	case len(p.segments) > 0:
		return p.segments[0].at
	case p.end != nil:
		return p.endAt
	}
	return time.Time{}
}

func (p *pipe) read(b []byte) (int, error) {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	for {
		switch {
		case p.readerClosed:
			return 0, net.ErrClosed
		case p.broken:
			return 0, syscall.ECONNRESET
		case expired(p.readDeadline):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case p.arrived():
			return p.take(b), nil
		case len(p.segments) == 0 && p.end != nil && expired(p.endAt) && !p.link().cut:
			return 0, p.end
		}
		p.n.wait(&p.changed, earliest(p.readDeadline, p.next()), nil)
	}
}

// take moves what has arrived to b.
func (p *pipe) take(b []byte) int {
	if p.n.maxRead > 0 {
		b = b[:min(len(b), p.n.maxRead)]
	}
	total := 0
	for total < len(b) && p.arrived() {
		s := &p.segments[0]
		n := copy(b[total:], s.data)
		total += n
		if s.data = s.data[n:]; len(s.data) == 0 {
			p.segments = slices.Delete(p.segments, 0, 1)
		}
	}
	p.size -= total
	p.changed.broadcast()
	return total
}

func (p *pipe) write(b []byte) (int, error) {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	total := 0
	for {
		switch {
		case p.writerClosed:
			return total, net.ErrClosed
		case p.broken:
			return total, syscall.ECONNRESET
		case p.end != nil: // after CloseWrite
			return total, syscall.EPIPE
		case expired(p.writeDeadline):
			return total, os.ErrDeadlineExceeded
		case total == len(b):
			return total, nil
		case expired(p.refusedAt) && !p.reverseLink().cut:
			return total, syscall.EPIPE
		case p.size < pipeBytes:
			total += p.send(b[total:])
		default:
			p.n.wait(&p.changed, earliest(p.writeDeadline, p.refusedAt), nil)
		}
	}
}

// send puts as much of b on its way as the buffers hold. Where nobody is left to read it, it is gone, and the reset
// that answers it is on its way back.
func (p *pipe) send(b []byte) int {
	b = b[:min(len(b), pipeBytes-p.size)]
	if p.readerClosed && !p.link().cut {
		if p.refusedAt.IsZero() {
			p.refusedAt = time.Now().Add(p.link().latency + p.reverseLink().latency)
		}
		return len(b)
	}
	p.segments = append(p.segments, segment{data: slices.Clone(b), at: p.arrival()})
	p.size += len(b)
	p.changed.broadcast()
	return len(b)
}

// finish ends the stream behind what was written, or, by a reset, behind what has arrived.
func (p *pipe) finish(end error) {
	reset := end == syscall.ECONNRESET
	if p.end != nil && !reset {
		return
	}
	if reset {
		for k := len(p.segments); k > 0 && !expired(p.segments[k-1].at); k-- {
			p.size -= len(p.segments[k-1].data)
			p.segments = p.segments[:k-1]
		}
	}
	p.end, p.endAt = end, p.arrival()
	p.changed.broadcast()
}

func (p *pipe) closeWriter(end error) {
	p.finish(end)
	p.writerClosed = true
}

// closeReader drops what nobody will read, which lets a waiting writer go on.
func (p *pipe) closeReader() {
	p.readerClosed = true
	p.segments, p.size = nil, 0
	p.changed.broadcast()
}

// breakOff makes both sides fail at once.
func (p *pipe) breakOff() {
	p.broken = true
	p.changed.broadcast()
}
