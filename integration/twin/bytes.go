package twin

import (
	"fmt"
	"slices"

	"github.com/kbroker/kbroker/integration/batch"
)

// baseTimestamp is the timestamp of batches whose script gives none: a fixed one keeps their bytes the same in every run.
const baseTimestamp = 1_700_000_000_000

// change evaluates flip, patch, seal and cut, whose last argument is the bytes to change.
func (e env) change(c call) ([]byte, error) {
	args := map[string]int{"flip": 2, "patch": 3, "seal": 1, "cut": 2}[c.name]
	if len(c.args) != args {
		return nil, fmt.Errorf("%s takes %d arguments", c.name, args)
	}
	b, err := e.bytes(c.args[args-1])
	if err != nil {
		return nil, err
	}
	b = slices.Clone(b)
	if c.name == "seal" {
		return batch.Seal(b), nil
	}
	n, err := e.integer(c.args[0])
	if err != nil {
		return nil, err
	}
	if c.name == "cut" {
		if n < 0 || int(n) > len(b) {
			return nil, fmt.Errorf("cut(%d) of %d bytes", n, len(b))
		}
		return b[:len(b)-int(n)], nil
	}
	if n < 0 {
		n += int64(len(b))
	}
	patch := []byte{0}
	if c.name == "patch" {
		if patch, err = e.bytes(c.args[1]); err != nil {
			return nil, err
		}
	}
	if n < 0 || int(n)+len(patch) > len(b) {
		return nil, fmt.Errorf("%s at %d is outside of %d bytes", c.name, n, len(b))
	}
	if c.name == "flip" {
		b[n] ^= 1
	} else {
		copy(b[n:], patch)
	}
	return b, nil
}

func (e env) record(v value) (batch.Record, error) {
	r, ok := v.(record)
	if !ok {
		return batch.Record{}, fmt.Errorf("want records key:value, have %v", v)
	}
	key, err := e.bytes(r.key)
	if err != nil {
		return batch.Record{}, err
	}
	val, err := e.bytes(r.value)
	if err != nil {
		return batch.Record{}, err
	}
	out := batch.Record{Key: key, Value: val, TimestampDelta: r.delta}
	for _, h := range r.headers {
		hv, err := e.bytes(h.value)
		if err != nil {
			return batch.Record{}, err
		}
		out.Headers = append(out.Headers, batch.Header{Key: h.key, Value: hv})
	}
	return out, nil
}

func (e env) legacy(c call) ([]byte, error) {
	if len(c.args) != 2 {
		return nil, fmt.Errorf("legacy takes a magic byte and a record")
	}
	magic, err := e.integer(c.args[0])
	if err != nil {
		return nil, err
	}
	r, err := e.record(c.args[1])
	return batch.EncodeLegacy(int8(magic), r), err
}

// batch evaluates batch(records…, field=value…).
func (e env) batch(c call) ([]byte, error) {
	var records []batch.Record
	for _, a := range c.args {
		r, err := e.record(a)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	base := int64(baseTimestamp)
	for _, m := range c.named {
		var err error
		switch m.key {
		case "ts":
			base, err = e.integer(m.value)
		case "records":
			var n int64
			n, err = e.integer(m.value)
			for i := range n {
				records = append(records, batch.KV(fmt.Sprint("key", i), fmt.Sprint("value", i)))
			}
		}
		if err != nil {
			return nil, err
		}
	}
	b := batch.New(base, records...)
	for _, m := range c.named {
		if err := e.batchField(b, m); err != nil {
			return nil, fmt.Errorf("batch: %s: %w", m.key, err)
		}
	}
	return b.Encode(), nil
}

// batchField sets one field of a batch by the name that scripts use.
func (e env) batchField(b *batch.Batch, m member) error {
	switch m.key {
	case "ts", "records":
		return nil
	case "codec":
		return setCodec(b, m.value)
	case "payload":
		var err error
		b.Payload, err = e.bytes(m.value)
		return err
	case "deltas":
		l, ok := m.value.(list)
		if !ok || len(l) != len(b.Records) {
			return fmt.Errorf("want a list with one offset delta per record")
		}
		for i, v := range l {
			n, err := e.integer(v)
			if err != nil {
				return err
			}
			b.Records[i].OffsetDelta = int32(n)
		}
		return nil
	}
	n, err := e.integer(m.value)
	if err != nil {
		return err
	}
	switch m.key {
	case "maxts":
		b.MaxTimestamp = n
	case "pid":
		b.ProducerID = n
		b.ProducerEpoch, b.BaseSequence = max(b.ProducerEpoch, 0), max(b.BaseSequence, 0)
	case "epoch":
		b.ProducerEpoch = int16(n)
	case "seq":
		b.BaseSequence = int32(n)
	case "base":
		b.BaseOffset = n
	case "leaderepoch":
		b.LeaderEpoch = int32(n)
	case "magic":
		b.Magic = int8(n)
	case "attributes":
		b.Attributes |= int16(n)
	case "lastdelta":
		b.LastOffsetDelta = int32(n)
	case "count":
		b.Count = int32(n)
	default:
		return fmt.Errorf("a batch has no such field")
	}
	return nil
}

func setCodec(b *batch.Batch, v value) error {
	codec, err := codecOf(v)
	b.Attributes |= int16(codec)
	b.XerialSnappy = v == literal("xerial")
	return err
}

func codecOf(v value) (batch.Codec, error) {
	names := map[literal]batch.Codec{"none": batch.None, "gzip": batch.Gzip, "snappy": batch.Snappy, "xerial": batch.Snappy, "lz4": batch.LZ4, "zstd": batch.Zstd}
	name, _ := v.(literal)
	codec, ok := names[name]
	if !ok {
		return 0, fmt.Errorf("want none, gzip, snappy, xerial, lz4 or zstd")
	}
	return codec, nil
}

// compress evaluates compress(codec, bytes).
func (e env) compress(c call) ([]byte, error) {
	if len(c.args) != 2 {
		return nil, fmt.Errorf("compress takes a codec and bytes")
	}
	codec, err := codecOf(c.args[0])
	if err != nil {
		return nil, err
	}
	plain, err := e.bytes(c.args[1])
	return batch.Compress(codec, plain), err
}
