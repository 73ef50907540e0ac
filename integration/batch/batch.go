// Package batch builds and reads record batches (format v2) for tests. It shares nothing with the broker's own package
// log/record, so that a mistake there cannot hide in the tests; and it writes what it is told, wrong or not.
package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Codec is the lower three bits of a batch's attributes.
type Codec int16

// The codecs of Kafka.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// The attribute bits above the codec (rule 2.1.2).
const (
	LogAppendTime    int16 = 1 << 3
	Transactional    int16 = 1 << 4
	Control          int16 = 1 << 5
	HasDeleteHorizon int16 = 1 << 6
)

// Sizes and positions in a batch (rule 2.1).
const (
	HeaderSize    = 61
	AtLength      = 8
	AtLeaderEpoch = 12
	AtMagic       = 16
	AtCRC         = 17
	AtAttributes  = 21
)

// Batch is one record batch. Encode computes Length and CRC; every other field is written as it stands.
type Batch struct {
	BaseOffset      int64
	Length          int32
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // milliseconds
	MaxTimestamp    int64
	ProducerID      int64
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int32
	Records         []Record
	// Payload, when not nil, is written in place of the encoded and compressed Records. Decode leaves it nil.
	Payload []byte
	// XerialSnappy makes Encode frame snappy as the Java client does (rule 2.1.5).
	XerialSnappy bool
}

// Record is one record of a batch. A nil Key or Value is null.
type Record struct {
	TimestampDelta int64
	OffsetDelta    int32
	Key, Value     []byte
	Headers        []Header
}

// Header is one header of a record. A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// KV makes a record of a key and a value.
func KV(key, value string) Record { return Record{Key: []byte(key), Value: []byte(value)} }

// New makes a batch as an ordinary producer sends it: offset deltas 0, 1, 2…, no producer id, codec none, and every
// timestamp at base plus the record's delta.
func New(base int64, records ...Record) *Batch {
	b := &Batch{
		LeaderEpoch: -1, Magic: 2, BaseTimestamp: base, MaxTimestamp: base,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
		LastOffsetDelta: int32(len(records)) - 1, Count: int32(len(records)), Records: records,
	}
	for i := range b.Records {
		b.Records[i].OffsetDelta = int32(i)
		b.MaxTimestamp = max(b.MaxTimestamp, base+b.Records[i].TimestampDelta)
	}
	return b
}

// Codec is the codec that the attributes name.
func (b *Batch) Codec() Codec { return Codec(b.Attributes & 7) }

// Encode returns the batch's bytes and sets Length and CRC.
func (b *Batch) Encode() []byte {
	payload := b.Payload
	if payload == nil {
		payload = compress(b.Codec(), b.XerialSnappy, appendRecords(nil, b.Records))
	}
	b.Length = int32(HeaderSize - 12 + len(payload))
	be := binary.BigEndian
	out := make([]byte, 0, HeaderSize+len(payload))
	out = be.AppendUint64(out, uint64(b.BaseOffset))
	out = be.AppendUint32(out, uint32(b.Length))
	out = be.AppendUint32(out, uint32(b.LeaderEpoch))
	out = append(out, byte(b.Magic), 0, 0, 0, 0)
	out = be.AppendUint16(out, uint16(b.Attributes))
	out = be.AppendUint32(out, uint32(b.LastOffsetDelta))
	out = be.AppendUint64(out, uint64(b.BaseTimestamp))
	out = be.AppendUint64(out, uint64(b.MaxTimestamp))
	out = be.AppendUint64(out, uint64(b.ProducerID))
	out = be.AppendUint16(out, uint16(b.ProducerEpoch))
	out = be.AppendUint32(out, uint32(b.BaseSequence))
	out = be.AppendUint32(out, uint32(b.Count))
	out = append(out, payload...)
	b.CRC = checksum(out)
	be.PutUint32(out[AtCRC:], b.CRC)
	return out
}

// Seal writes a fresh length and CRC into batch bytes that a test has changed.
func Seal(encoded []byte) []byte {
	binary.BigEndian.PutUint32(encoded[AtLength:], uint32(len(encoded)-12))
	binary.BigEndian.PutUint32(encoded[AtCRC:], checksum(encoded))
	return encoded
}

func checksum(encoded []byte) uint32 {
	return crc32.Checksum(encoded[AtAttributes:], crc32.MakeTable(crc32.Castagnoli))
}

func appendRecords(out []byte, records []Record) []byte {
	for _, r := range records {
		body := []byte{0}
		body = binary.AppendVarint(body, r.TimestampDelta)
		body = binary.AppendVarint(body, int64(r.OffsetDelta))
		body = appendBytes(body, r.Key)
		body = appendBytes(body, r.Value)
		body = binary.AppendVarint(body, int64(len(r.Headers)))
		for _, h := range r.Headers {
			body = binary.AppendVarint(body, int64(len(h.Key)))
			body = append(body, h.Key...)
			body = appendBytes(body, h.Value)
		}
		out = binary.AppendVarint(out, int64(len(body)))
		out = append(out, body...)
	}
	return out
}

func appendBytes(out, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(out, -1)
	}
	return append(binary.AppendVarint(out, int64(len(b))), b...)
}

// EncodeLegacy returns a message of the formats 0 and 1, which brokers no longer accept (rule 2.6.2).
func EncodeLegacy(magic int8, r Record) []byte {
	body := []byte{byte(magic), 0}
	if magic == 1 {
		body = binary.BigEndian.AppendUint64(body, uint64(r.TimestampDelta))
	}
	for _, b := range [][]byte{r.Key, r.Value} {
		body = binary.BigEndian.AppendUint32(body, uint32(len(b)))
		body = append(body, b...)
	}
	out := binary.BigEndian.AppendUint64(nil, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(4+len(body)))
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
	return append(out, body...)
}

// Decode reads the batches at the front of a fetched record set. What is left is the tail of a batch that the broker cut
// at the size limit (rule 3.11.3), which is no error. The CRC is checked.
func Decode(in []byte) (batches []*Batch, tail []byte, err error) {
	for len(in) >= 12 {
		n := int64(binary.BigEndian.Uint32(in[AtLength:])) + 12
		if n > int64(len(in)) {
			break
		}
		b, err := decodeOne(in[:n])
		if err != nil {
			return batches, in, fmt.Errorf("batch: number %d: %w", len(batches), err)
		}
		batches = append(batches, b)
		in = in[n:]
	}
	return batches, in, nil
}

func decodeOne(in []byte) (*Batch, error) {
	if len(in) < HeaderSize {
		return nil, fmt.Errorf("%d bytes are too few for a batch", len(in))
	}
	be := binary.BigEndian
	b := &Batch{
		BaseOffset: int64(be.Uint64(in)), Length: int32(be.Uint32(in[8:])), LeaderEpoch: int32(be.Uint32(in[12:])),
		Magic: int8(in[16]), CRC: be.Uint32(in[17:]), Attributes: int16(be.Uint16(in[21:])),
		LastOffsetDelta: int32(be.Uint32(in[23:])), BaseTimestamp: int64(be.Uint64(in[27:])), MaxTimestamp: int64(be.Uint64(in[35:])),
		ProducerID: int64(be.Uint64(in[43:])), ProducerEpoch: int16(be.Uint16(in[51:])),
		BaseSequence: int32(be.Uint32(in[53:])), Count: int32(be.Uint32(in[57:])),
	}
	if b.Magic != 2 {
		return nil, fmt.Errorf("magic %d", b.Magic)
	}
	if sum := checksum(in); sum != b.CRC {
		return nil, fmt.Errorf("CRC %08x, but the bytes have %08x", b.CRC, sum)
	}
	plain, err := decompress(b.Codec(), in[HeaderSize:])
	if err != nil {
		return nil, fmt.Errorf("codec %d: %w", b.Codec(), err)
	}
	b.Records, err = decodeRecords(plain, b.Count)
	return b, err
}

// decodeRecords reads exactly count records, which must use up the bytes.
func decodeRecords(in []byte, count int32) ([]Record, error) {
	r := reader{in: in}
	var records []Record
	for range count {
		size := r.varint()
		end := len(r.in) - int(size)
		r.take(1)
		rec := Record{TimestampDelta: r.varint(), OffsetDelta: int32(r.varint()), Key: r.bytes(), Value: r.bytes()}
		for range r.varint() {
			if r.bad {
				break
			}
			rec.Headers = append(rec.Headers, Header{string(r.bytes()), r.bytes()})
		}
		if r.bad || len(r.in) != end {
			return records, fmt.Errorf("record %d of %d is malformed", len(records), count)
		}
		records = append(records, rec)
	}
	if len(r.in) > 0 {
		return records, fmt.Errorf("%d bytes after the last of %d records", len(r.in), count)
	}
	return records, nil
}

// reader takes values off the front of its bytes; bad stays set once they have run out.
type reader struct {
	in  []byte
	bad bool
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.in)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.in = r.in[n:]
	return v
}

func (r *reader) take(n int64) []byte {
	if n < 0 || n > int64(len(r.in)) {
		r.bad = true
		return nil
	}
	b := r.in[:n:n]
	r.in = r.in[n:]
	return b
}

func (r *reader) bytes() []byte {
	n := r.varint()
	if n == -1 {
		return nil
	}
	return r.take(n)
}
