package compaction

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kbroker/kbroker/log/record"
)

const (
	seed             = 7
	phases           = 3
	batchesPerPhase  = 60
	keys             = 40 // few, so that most records are superseded
	producers        = 3  // idempotent ones; as many batches again come from none
	segmentMs        = 10_000
	segmentBytes     = 4096
	batchesOfASecond = 8 // on average, between two jumps in time that end a segment
)

// topics differ in what ends a segment, in how long tombstones stay, and in what the broker does with a batch. All end
// segments by time too, as the batches' timestamps tell it: so both brokers end them in the same places.
var topics = []struct {
	name    string
	configs map[string]string
}{
	{"by-time-kept", map[string]string{"delete.retention.ms": "3600000"}},
	{"by-size-dropped", map[string]string{"internal.segment.bytes": fmt.Sprint(segmentBytes), "delete.retention.ms": "1"}},
	{"by-size-kept", map[string]string{"internal.segment.bytes": fmt.Sprint(segmentBytes), "delete.retention.ms": "3600000"}},
	{"recompressed-dropped", map[string]string{"compression.type": "gzip", "delete.retention.ms": "1"}},
	{"append-time-kept", map[string]string{"internal.segment.bytes": fmt.Sprint(segmentBytes), "message.timestamp.type": "LogAppendTime", "delete.retention.ms": "3600000"}},
}

// held keeps the cleaners away, so that both clean at the same place in the input: how often a tombstone was seen decides
// whether it is still there.
const held = "1125899906842624"

// input makes the batches of one topic, the same for the same topic.
type input struct {
	random *rand.Rand
	codecs *record.Codecs
	now    int64
	next   [producers]int32 // sequence numbers
	turn   int
}

func newInput(codecs *record.Codecs, topic int) *input {
	return &input{
		random: rand.New(rand.NewPCG(seed, uint64(topic))), codecs: codecs, now: time.Now().Add(-24 * time.Hour).UnixMilli(),
	}
}

// batch is a batch without its producer's id, which the brokers choose.
type batch struct {
	options  record.BuilderOptions
	producer int // producers: none
	sequence int32
	records  []record.Record
}

// phase makes the batches of one phase. The last one lies alone behind a jump in time.
func (in *input) phase() (batches []batch) {
	for i := range batchesPerPhase {
		if in.random.IntN(batchesOfASecond) == 0 || i == batchesPerPhase-1 {
			in.now += 2 * segmentMs
		}
		b := batch{options: record.BuilderOptions{Codec: record.Codec(in.random.IntN(5))}, producer: in.random.IntN(2 * producers)}
		for range 1 + in.random.IntN(12) {
			b.records = append(b.records, in.record())
		}
		if b.producer = min(b.producer, producers); b.producer < producers {
			b.sequence = in.next[b.producer]
			in.next[b.producer] += int32(len(b.records))
		}
		batches = append(batches, b)
	}
	return batches
}

// record updates a key or, one time in four, deletes it. A few keys are written once only.
func (in *input) record() record.Record {
	in.turn++
	in.now += in.random.Int64N(20)
	r := record.Record{Timestamp: in.now - in.random.Int64N(10), Key: fmt.Appendf(nil, "key-%d", in.random.IntN(keys))}
	if in.random.IntN(20) == 0 {
		r.Key = fmt.Appendf(nil, "once-%d", in.turn)
	}
	if in.random.IntN(4) > 0 {
		r.Value = fmt.Appendf(nil, "%d %s", in.turn, strings.Repeat("value ", in.random.IntN(10)))
	}
	if in.random.IntN(5) == 0 {
		r.Headers = []record.Header{{Key: "h", Value: []byte("1")}, {Key: "null"}}
	}
	return r
}

// build makes the batch as the producer with this id and epoch sends it.
func (b *batch) build(codecs *record.Codecs, id int64, epoch int16) (record.Batch, error) {
	o := b.options
	if b.producer < producers {
		o.Producer = &record.Producer{ID: id, Epoch: epoch, BaseSequence: b.sequence}
	}
	builder := record.NewBuilder(codecs, o)
	for _, r := range b.records {
		builder.Append(r)
	}
	return builder.Build()
}
