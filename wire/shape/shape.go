// Package shape checks that a request body has the shape that Kafka's message definitions give it, before anything is
// allocated for it.
//
// kmsg decodes requests into structures and, to be kind, takes nulls where none are allowed and array lengths up to the
// number of bytes left; a frame of zeros can so cost 80 times its size (appendix D.8 of the semantics). Check walks the
// bytes first, with a table of the definitions (shapes.go), and allocates nothing: an array must have as many bytes left
// as its elements need at least, nulls must be allowed, and a request has a bounded number of elements in all.
package shape

import (
	"errors"
	"fmt"
	"math"
)

// kind is the type of a field.
type kind uint8

const (
	kindBool kind = iota
	kindInt8
	kindInt16
	kindUint16
	kindInt32
	kindUint32
	kindInt64
	kindFloat64
	kindUUID
	kindString
	kindBytes
	kindStruct
)

// size is the fixed width in bytes of a kind, 0 if it has none.
var size = [...]int{kindBool: 1, kindInt8: 1, kindInt16: 2, kindUint16: 2, kindInt32: 4, kindUint32: 4, kindInt64: 8, kindFloat64: 8, kindUUID: 16, kindStruct: 0}

// field is one field of a structure, present in versions min to max.
type field struct {
	kind     kind
	array    bool
	min, max int16
	// null is the first version in which the value may be null, 1<<15-1 if never.
	null int16
	// tag is the number of a tagged field, -1 for one in line. tagged is the first version in which it is tagged.
	tag    int16
	tagged int16
	fields []field // of a structure
}

// request is the shape of one API's request.
type request struct {
	min, max int16 // versions that exist
	flexible int16 // first flexible version
	fields   []field
}

// MaxElements bounds the array elements of one request in all: far more than any client asks for at once, and few
// enough that their structures fit into a few dozen MiB.
const MaxElements = 1 << 18

// maxString is the length of the longest string, in bytes, also where its length could say more: as in Kafka, which closes
// the connection too. Names are kept in records whose strings have two bytes for their length.
const maxString = math.MaxInt16

// Errors of Check. Both mean that the connection is to be closed (rule 1.1.5).
var (
	ErrMalformed = errors.New("request body does not have the shape of its version")
	ErrTooMany   = fmt.Errorf("request has more than %d array elements", MaxElements)
)

// Check walks the body of a request. Bytes behind the last field are ignored, as Kafka does (rule 1.1.5). A key or
// version without a shape is refused.
func Check(key, version int16, body []byte) error {
	r, ok := requests[key]
	if !ok || version < r.min || version > r.max {
		return fmt.Errorf("%w: no shape for API key %d version %d", ErrMalformed, key, version)
	}
	w := walker{b: body, version: version, flex: version >= r.flexible, elements: MaxElements}
	w.structure(r.fields)
	return w.err
}

// walker steps over a body. After an error it stands still.
type walker struct {
	b        []byte
	version  int16
	flex     bool
	elements int
	err      error
}

func (w *walker) fail(err error) {
	if w.err == nil {
		w.err, w.b = err, nil
	}
}

func (w *walker) skip(n int) {
	if n < 0 || n > len(w.b) {
		w.fail(ErrMalformed)
		return
	}
	w.b = w.b[n:]
}

func (w *walker) uvarint() int {
	var v uint64
	for i := 0; i < 5 && i < len(w.b); i++ {
		v |= uint64(w.b[i]&0x7f) << (7 * i)
		if w.b[i] < 0x80 {
			w.b = w.b[i+1:]
			if v > 1<<31 {
				break
			}
			return int(v)
		}
	}
	w.fail(ErrMalformed)
	return 0
}

// length reads a length of the given classic width; -1 is null.
func (w *walker) length(width int) int {
	if w.flex {
		return w.uvarint() - 1
	}
	if len(w.b) < width {
		w.fail(ErrMalformed)
		return -1
	}
	var n int
	if width == 2 {
		n = int(int16(uint16(w.b[0])<<8 | uint16(w.b[1])))
	} else {
		n = int(int32(uint32(w.b[0])<<24 | uint32(w.b[1])<<16 | uint32(w.b[2])<<8 | uint32(w.b[3])))
	}
	w.b = w.b[width:]
	if n < -1 {
		w.fail(ErrMalformed)
	}
	return n
}

// structure steps over the in-line fields of this version, then over the tag buffer.
func (w *walker) structure(fields []field) {
	for i := range fields {
		f := &fields[i]
		if f.in(w.version) && !f.isTagged(w.version) && w.err == nil {
			w.field(f)
		}
	}
	if w.flex && w.err == nil {
		w.tags(fields)
	}
}

func (f *field) in(version int16) bool { return version >= f.min && version <= f.max }

func (f *field) isTagged(version int16) bool { return f.tag >= 0 && version >= f.tagged }

func (w *walker) field(f *field) {
	if !f.array {
		w.value(f)
		return
	}
	n := w.length(4)
	if n < 0 {
		w.null(f)
		return
	}
	if w.elements -= n; w.elements < 0 {
		w.fail(ErrTooMany)
		return
	}
	if n*w.least(f) > len(w.b) {
		w.fail(ErrMalformed)
		return
	}
	for ; n > 0 && w.err == nil; n-- {
		w.element(f)
	}
}

// null accepts a null where this version allows one.
func (w *walker) null(f *field) {
	if w.version < f.null {
		w.fail(ErrMalformed)
	}
}

// value steps over one value that is not an array. A structure in line may be null behind a presence byte.
func (w *walker) value(f *field) {
	if f.kind == kindStruct && w.version >= f.null {
		if len(w.b) == 0 {
			w.fail(ErrMalformed)
			return
		}
		present := int8(w.b[0])
		w.skip(1)
		if present != 1 { // Kafka writes 1 or -1
			if present != -1 {
				w.fail(ErrMalformed)
			}
			return
		}
	}
	w.element(f)
}

// element steps over one value.
func (w *walker) element(f *field) {
	switch f.kind {
	case kindStruct:
		w.structure(f.fields)
	case kindString, kindBytes:
		width := 2
		if f.kind == kindBytes {
			width = 4
		}
		n := w.length(width)
		switch {
		case n > maxString && f.kind == kindString:
			w.fail(ErrMalformed)
		case n >= 0:
			w.skip(n)
		case f.array:
			w.fail(ErrMalformed)
		default:
			w.null(f)
		}
	default:
		w.skip(size[f.kind])
	}
}

// least is the number of bytes that an element of f takes at least.
func (w *walker) least(f *field) int {
	switch f.kind {
	case kindString:
		if w.flex {
			return 1
		}
		return 2
	case kindBytes:
		if w.flex {
			return 1
		}
		return 4
	case kindStruct:
	default:
		return size[f.kind]
	}
	sum := 0
	if w.flex {
		sum = 1
	}
	for i := range f.fields {
		g := &f.fields[i]
		switch {
		case !g.in(w.version) || g.isTagged(w.version):
		case g.array && w.flex:
			sum++
		case g.array:
			sum += 4
		default:
			sum += w.least(g)
		}
	}
	return max(sum, 1)
}

// tags steps over a tag buffer, walking the known fields in it.
func (w *walker) tags(fields []field) {
	for n := w.uvarint(); n > 0 && w.err == nil; n-- {
		tag, size := w.uvarint(), w.uvarint()
		if size > len(w.b) {
			w.fail(ErrMalformed)
			return
		}
		rest := w.b[size:]
		w.b = w.b[:size]
		for i := range fields {
			if f := &fields[i]; f.isTagged(w.version) && int(f.tag) == tag && f.in(w.version) {
				w.field(f)
			}
		}
		if w.err != nil {
			return
		}
		w.b = rest
	}
}
