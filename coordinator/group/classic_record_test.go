package group

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaGroups are the records of testdata/kafka-classic-records.txt.
func kafkaGroups(t testing.TB) (keys, values [][]byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/kafka-classic-records.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line[0] == '#' {
			continue
		}
		k, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		key, err1 := hex.DecodeString(k)
		value, err2 := hex.DecodeString(v)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		keys, values = append(keys, key), append(values, value)
	}
	return keys, values
}

// TestKafkaGroupRecords: what Kafka wrote is read, and written again byte for byte (rule 8.6.2).
func TestKafkaGroupRecords(t *testing.T) {
	keys, values := kafkaGroups(t)
	if len(keys) < 4 {
		t.Fatalf("only %d records", len(keys))
	}
	for i, value := range values {
		var key kmsg.GroupMetadataKey
		if err := key.ReadFrom(keys[i]); err != nil {
			t.Fatal(err)
		}
		g, err := newLab().m.readClassic(key.Group, value)
		if err != nil {
			t.Errorf("%s: %v", key.Group, err)
			continue
		}
		var e effects
		g.record(&e)
		if r := e.Records[0]; !bytes.Equal(r.Key, keys[i]) || !bytes.Equal(r.Value, value) {
			t.Errorf("%s: read and written again:\n%x\n%x", key.Group, r.Value, value)
		}
	}
}

// FuzzClassicRecord: bytes that are no record are refused, and whatever is read makes a group that keeps its own rules.
func FuzzClassicRecord(f *testing.F) {
	_, values := kafkaGroups(f)
	for _, v := range values {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		l := newLab()
		g, err := l.m.readClassic(labGroup, value)
		if err != nil {
			return
		}
		l.m.groups[labGroup] = &Group{ID: labGroup, members: g}
		l.decide(func(e *effects) { g.loaded(l.now, e) })
		if err := g.verify(); err != nil {
			t.Error(err)
		}
		var e effects
		g.record(&e)
		again, err := l.m.readClassic(labGroup, e.Records[0].Value)
		if err != nil || again.len() != g.len() || again.generation != g.generation || again.leader != g.leader {
			t.Errorf("written and read again: %v", err)
		}
		g.subscribes("t")
		l.pass(time.Hour) // as far as the record lets timeouts end
		if err := g.verify(); err != nil {
			t.Errorf("an hour later: %v", err)
		}
	})
}
