package handler

import "encoding/binary"

// cursor reads the fields of a request body in place. It is the bounded decoder of Produce and Fetch: nothing is
// allocated, and no announced length is believed beyond the bytes that are there (rule 1.1.6). After a failure every
// read returns zero and ok stays false.
type cursor struct {
	b    []byte
	flex bool // compact lengths and tag buffers
	bad  bool
}

// take returns the next n bytes.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) int8() int8 {
	if v := c.take(1); v != nil {
		return int8(v[0])
	}
	return 0
}

func (c *cursor) int16() int16 {
	if v := c.take(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if v := c.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if v := c.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

// uvarint reads a varint of at most five bytes. One that does not fit 32 bits is malformed: Kafka drops the bits above,
// no client sends them, and the other APIs' decoder (kmsg) refuses them too.
func (c *cursor) uvarint() uint32 {
	var v uint32
	for i := 0; i < 5 && i < len(c.b); i++ {
		x := c.b[i]
		if i == 4 && x > 0x0f {
			break
		}
		v |= uint32(x&0x7f) << (7 * i)
		if x < 0x80 {
			c.b = c.b[i+1:]
			return v
		}
	}
	c.bad, c.b = true, nil
	return 0
}

// length reads the length of a string, byte string or array: -1 is null. wide is the width of the classic encoding.
func (c *cursor) length(wide bool) int {
	if c.flex {
		return int(c.uvarint()) - 1
	}
	if wide {
		return int(c.int32())
	}
	return int(c.int16())
}

// maxString is the length of the longest string, in bytes. The compact form could say more, which Kafka refuses too.
const maxString = 1<<15 - 1

// string reads a string, nil when it is null. It aliases the body.
func (c *cursor) string() []byte {
	n := c.length(false)
	if n > maxString {
		c.bad, c.b = true, nil
	}
	return c.sized(n)
}

// bytes reads a byte string, nil when it is null. It aliases the body.
func (c *cursor) bytes() []byte { return c.sized(c.length(true)) }

func (c *cursor) sized(n int) []byte {
	if n == -1 {
		return nil
	}
	if n == 0 && !c.bad {
		return []byte{}
	}
	return c.take(n)
}

// required reads a string that must not be null: a null is malformed (rule 1.1.6).
func (c *cursor) required() []byte {
	s := c.string()
	if s == nil {
		c.bad, c.b = true, nil
	}
	return s
}

// array reads an array's length, where every element takes at least size bytes. Null is malformed.
func (c *cursor) array(size int) int {
	n := c.length(true)
	if n < 0 || n > len(c.b)/size {
		c.bad, c.b = true, nil
		return 0
	}
	return n
}

// tags steps over a tag buffer, calling known for each tag if it is given.
func (c *cursor) tags(known func(tag uint32, v *cursor)) {
	if !c.flex {
		return
	}
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		tag := c.uvarint()
		v := cursor{b: c.take(int(c.uvarint())), flex: true}
		if known != nil && !c.bad {
			known(tag, &v)
			c.bad = c.bad || v.bad
		}
	}
}
