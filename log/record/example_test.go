package record_test

import (
	"errors"
	"fmt"

	"github.com/kbroker/kbroker/log/record"
	"github.com/twmb/franz-go/pkg/kerr"
)

// A client builds a batch, the broker validates it, gives it its offset, and a reader goes over its records.
func Example() {
	codecs := record.NewCodecs()
	build := record.NewBuilder(codecs, record.BuilderOptions{Codec: record.Zstd})
	build.Append(record.Record{Timestamp: 1000, Key: []byte("k1"), Value: []byte("one")})
	build.Append(record.Record{Timestamp: 1007, Value: []byte("two")})
	sent, err := build.Build()
	if err != nil {
		fmt.Println(err)
		return
	}

	topic := &record.ValidateOptions{
		ProduceVersion:  9,
		MaxMessageBytes: 1 << 20,
		BeforeMaxMs:     record.NoTimeLimit,
		AfterMaxMs:      3_600_000,
		Now:             5000,
		Codecs:          codecs,
	}
	var scratch record.Scratch
	result, err := record.Validate(sent, topic, &scratch)
	if err != nil {
		fmt.Println(err)
		return
	}
	stored := result.Batch
	stored.SetBaseOffset(40)
	stored.SetPartitionLeaderEpoch(3)
	fmt.Println("offsets", stored.BaseOffset(), "to", stored.LastOffset(), "largest timestamp", result.Info.MaxTimestamp)
	for rec, err := range stored.Records(codecs) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d %d %q %q\n", rec.Offset, rec.Timestamp, rec.Key, rec.Value)
	}
	// Output:
	// offsets 40 to 41 largest timestamp 1007
	// 40 1000 "k1" "one"
	// 41 1007 "" "two"
}

// On a compacted topic every record needs a key; the error names those that have none.
func ExampleError() {
	build := record.NewBuilder(nil, record.BuilderOptions{})
	build.Append(record.Record{Value: []byte("no key")})
	build.Append(record.Record{Key: []byte("k"), Value: []byte("v")})
	sent, err := build.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	topic := &record.ValidateOptions{MaxMessageBytes: 1 << 20, Compact: true, BeforeMaxMs: record.NoTimeLimit,
		AfterMaxMs: record.NoTimeLimit}
	var scratch record.Scratch
	_, err = record.Validate(sent, topic, &scratch)
	if e, ok := errors.AsType[*record.Error](err); ok && errors.Is(err, kerr.InvalidRecord) {
		fmt.Println(e.Err.Code, e.Records)
	}
	// Output: 87 [{0 a record on a compacted topic needs a key}]
}
