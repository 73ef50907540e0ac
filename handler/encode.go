package handler

import (
	"encoding/binary"

	"github.com/kbroker/kbroker/wire"
)

// encoder appends fields to a response in the classic or the flexible encoding. Produce and Fetch are encoded by hand:
// kmsg would need a structure per partition, and reflection for every tagged field (appendix D.10).
type encoder struct {
	out  *wire.Out
	flex bool
}

func (e *encoder) int16(v int16) { e.out.B = binary.BigEndian.AppendUint16(e.out.B, uint16(v)) }
func (e *encoder) int32(v int32) { e.out.B = binary.BigEndian.AppendUint32(e.out.B, uint32(v)) }
func (e *encoder) int64(v int64) { e.out.B = binary.BigEndian.AppendUint64(e.out.B, uint64(v)) }

func (e *encoder) raw(b []byte) { e.out.B = append(e.out.B, b...) }

func (e *encoder) uvarint(v uint32) { e.out.B = binary.AppendUvarint(e.out.B, uint64(v)) }

// array writes an array's length; -1 is null.
func (e *encoder) array(n int) {
	if e.flex {
		e.uvarint(uint32(n + 1))
		return
	}
	e.int32(int32(n))
}

// string writes a string.
func (e *encoder) string(s []byte) {
	if e.flex {
		e.uvarint(uint32(len(s) + 1))
	} else {
		e.int16(int16(len(s)))
	}
	e.raw(s)
}

// nullable writes a string where the empty one stands for null.
func (e *encoder) nullable(s string) {
	switch {
	case s != "":
		e.text(s)
	case e.flex:
		e.uvarint(0)
	default:
		e.int16(-1)
	}
}

func (e *encoder) text(s string) {
	if e.flex {
		e.uvarint(uint32(len(s) + 1))
	} else {
		e.int16(int16(len(s)))
	}
	e.out.B = append(e.out.B, s...)
}

// noTags ends a structure without tagged fields.
func (e *encoder) noTags() {
	if e.flex {
		e.out.B = append(e.out.B, 0)
	}
}
