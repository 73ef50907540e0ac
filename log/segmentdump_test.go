package log

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kbroker/kbroker/log/record"
)

// dumpSegments prints a log as its readers see it.
func dumpSegments(t *testing.T, l *Log, codecs *record.Codecs, began time.Time) string {
	var out strings.Builder
	for i, seg := range l.segmentList() {
		active := ""
		if i == len(l.segmentList())-1 {
			active = ", active"
		}
		fmt.Fprintf(&out, "segment %d%s\n", seg.base, active)
		file, err := l.m.files.acquire(seg)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, seg.size.Load())
		if _, err := file.ReadAt(data, 0); err != nil && len(data) > 0 {
			t.Fatal(err)
		}
		file.release()
		for len(data) > 0 {
			b, rest, err := record.Next(data)
			if err != nil || !b.VerifyCRC() {
				t.Fatal(err, "or a wrong CRC")
			}
			data = rest
			dumpBatch(t, &out, b, codecs, began)
		}
	}
	return out.String()
}

func dumpBatch(t *testing.T, out *strings.Builder, b record.Batch, codecs *record.Codecs, began time.Time) {
	since := func(ms int64) time.Duration { return time.UnixMilli(ms).Sub(began) }
	fmt.Fprintf(out, "  %d..%d", b.BaseOffset(), b.LastOffset())
	if b.Codec() != record.None {
		fmt.Fprintf(out, " %v", b.Codec())
	}
	if b.TimestampType() == record.LogAppendTime {
		fmt.Fprintf(out, " append-time")
	}
	if b.ProducerID() >= 0 {
		fmt.Fprintf(out, " pid=%d/%d", b.ProducerID(), b.ProducerEpoch())
	}
	if b.BaseSequence() >= 0 {
		fmt.Fprintf(out, " seq=%d", b.BaseSequence())
	}
	if b.IsTransactional() {
		out.WriteString(" txn")
	}
	fmt.Fprintf(out, " max=%v", since(b.MaxTimestamp()))
	if b.HasDeleteHorizon() {
		fmt.Fprintf(out, " horizon=%v", since(b.BaseTimestamp()))
	}
	if b.RecordCount() == 0 {
		fmt.Fprintf(out, " base=%d", b.BaseTimestamp())
	}
	if m, ok, err := b.EndTxnMarker(); ok && err == nil {
		kind := "abort"
		if m.Commit {
			kind = "commit"
		}
		fmt.Fprintf(out, ": %s\n", kind)
		return
	}
	out.WriteString(":")
	for r, err := range b.Records(codecs) {
		if err != nil {
			t.Fatal(err)
		}
		value := string(r.Value)
		if r.Value == nil {
			value = "nil"
		}
		fmt.Fprintf(out, " %d@%v %s=%s/%d", r.Offset, since(r.Timestamp), r.Key, value, r.Headers[0].Value[0])
	}
	out.WriteString("\n")
}
