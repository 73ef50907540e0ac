package record

// longRecord reads a record that is longer than the window of its stream, field by field, so that a record of any length
// takes no more memory than a short one.
type longRecord struct {
	s   *stream
	end int64 // stream position behind the record
	ok  bool  // false once a field could not be read
}

// number reads a varint of at most 32 bits.
func (l *longRecord) number() int64 {
	at := l.s.pos
	v, ok := l.s.varint()
	l.ok = l.ok && ok && v == int64(int32(v)) && l.s.pos-at <= maxVarint32
	return v
}

// bytes steps over a length and that many bytes and returns the length, -1 for null.
func (l *longRecord) bytes() int64 {
	n := l.number()
	if n < -1 || n > l.end-l.s.pos {
		l.ok = false
	}
	if l.ok && n > 0 {
		l.ok = l.s.skip(n)
	}
	return n
}

// runLong walks the one record that the stream is at.
func (w *walk) runLong(s *stream) error {
	l := longRecord{s: s, end: maxInt64, ok: true}
	length := l.number()
	l.end = s.pos + length
	s.next() // attributes
	timestampDelta, ok := s.varint()
	l.ok = l.ok && ok
	offsetDelta := l.number()
	keyLen := l.bytes()
	l.bytes()
	headers := l.number()
	if headers < 0 || headers > l.end-s.pos {
		l.ok = false
	}
	for i := int64(0); l.ok && i < headers; i++ {
		if l.bytes() < 0 {
			l.ok = false
		}
		l.bytes()
	}
	switch {
	case s.failed() != nil:
		return s.failed()
	case !l.ok && s.err != nil && len(s.window()) == 0:
		return w.end(0)
	case !l.ok:
		return w.malformed(misfit)
	case s.pos != l.end:
		return w.malformed(unfilled)
	}
	return w.take(timestampDelta, int32(offsetDelta), keyLen >= 0)
}
