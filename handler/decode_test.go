package handler

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/metadata"
)

// randomFetch makes a Fetch request with a few topics.
func randomFetch(rng *rand.Rand, version int16) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.SetVersion(version)
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes = rng.Int32N(1000), rng.Int32N(1000), rng.Int32N(1e6)
	q.IsolationLevel = int8(rng.IntN(2))
	q.SessionID, q.SessionEpoch = rng.Int32(), rng.Int32N(10)-1
	if rng.IntN(2) == 0 {
		q.ReplicaID, q.ReplicaState.ID, q.ReplicaState.Epoch = 7, 7, 99
	}
	for range rng.IntN(4) {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = string(make([]byte, rng.IntN(5)))
		t.TopicID[3] = byte(rng.IntN(256))
		for range rng.IntN(4) {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = rng.Int32(), rng.Int64(), rng.Int32()
			p.CurrentLeaderEpoch, p.LastFetchedEpoch = rng.Int32N(5)-1, rng.Int32N(5)-1
			p.HighWatermark = rng.Int64N(9) // a tagged field
			t.Partitions = append(t.Partitions, p)
		}
		q.Topics = append(q.Topics, t)
	}
	for range rng.IntN(3) {
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.Partitions = "f", []int32{1, 2}
		q.ForgottenTopics = append(q.ForgottenTopics, f)
	}
	q.Rack = "r"
	return q
}

// TestFetchDecoder decodes random requests of every version as kmsg does, and refuses every cut of them.
func TestFetchDecoder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for version := int16(4); version <= 18; version++ {
		for range 200 {
			want := randomFetch(rng, version)
			body := want.AppendTo(nil)
			got := kmsg.NewPtrFetchRequest()
			got.SetVersion(version)
			if err := got.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			compareFetch(t, got, body)
			for n := range body {
				q := fetchRequest{version: version, byID: version >= 13}
				cur := cursor{b: body[:n], flex: version >= 12}
				q.header(&cur)
				if q.wellFormed(cur) {
					t.Fatalf("v%d cut to %d of %d bytes passes", version, n, len(body))
				}
			}
		}
	}
}

// TestReplicaState: who asks is read where it stands, and nowhere else.
func TestReplicaState(t *testing.T) {
	q := kmsg.NewPtrFetchRequest()
	q.SetVersion(15)
	q.Rack = "r"
	// Read from the rack on, this is a topic to forget, a rack and the state of replica 7.
	q.ClusterID = kmsg.StringPtr(strings.Repeat("c", 11) + "\x01\x00\x01\x01\x01\x0d\x00\x00\x00\x07" + strings.Repeat("\x00", 9))
	compareFetch(t, q, q.AppendTo(nil))

	q.ClusterID, q.ReplicaState.ID = nil, 7
	body := q.AppendTo(nil)
	compareFetch(t, q, body)
	short := append(body[:len(body)-15], 1, 1, 4, 0, 0, 0, 7)
	r := fetchRequest{version: 15, byID: true}
	cur := cursor{b: short, flex: true}
	r.header(&cur)
	if r.wellFormed(cur) {
		t.Error("half a replica state passes")
	}
}

// compareFetch holds the hand-written decoder against kmsg's result.
func compareFetch(t *testing.T, want *kmsg.FetchRequest, body []byte) {
	t.Helper()
	v := want.Version
	q := fetchRequest{version: v, byID: v >= 13, replicaID: -1, replicaEpoch: -1}
	cur := cursor{b: body, flex: v >= 12}
	q.header(&cur)
	if !q.wellFormed(cur) {
		t.Fatalf("v%d: well-formed request refused", v)
	}
	id, epoch := want.ReplicaID, int64(-1)
	if v >= 15 {
		id, epoch = want.ReplicaState.ID, want.ReplicaState.Epoch
	}
	if q.replicaID != id || q.replicaEpoch != epoch || q.maxWait.Milliseconds() != int64(want.MaxWaitMillis) ||
		q.minBytes != want.MinBytes || q.maxBytes != want.MaxBytes || int8(q.isolation) != want.IsolationLevel {
		t.Fatalf("v%d: header %+v, want %+v", v, q, want)
	}
	if v >= 7 && (q.sessionID != want.SessionID || q.sessionEpoch != want.SessionEpoch) {
		t.Fatalf("v%d: session %d/%d", v, q.sessionID, q.sessionEpoch)
	}
	n := cur.array(1)
	if n != len(want.Topics) {
		t.Fatalf("v%d: %d topics, want %d", v, n, len(want.Topics))
	}
	for _, wt := range want.Topics {
		name, topicID := q.topic(&cur)
		if v < 13 && string(name) != wt.Topic || v >= 13 && topicID != metadata.UUID(wt.TopicID) {
			t.Fatalf("v%d: topic %q %v", v, name, topicID)
		}
		if n := cur.array(16); n != len(wt.Partitions) {
			t.Fatalf("v%d: %d partitions, want %d", v, n, len(wt.Partitions))
		}
		for _, wp := range wt.Partitions {
			u := q.row(&cur)
			if u != (rowUpdate{wp.Partition, wp.FetchOffset, wp.PartitionMaxBytes, wp.CurrentLeaderEpoch, wp.LastFetchedEpoch}) {
				t.Fatalf("v%d: row %+v, want %+v", v, u, wp)
			}
		}
		cur.tags(nil)
	}
	count := 0
	for _, f := range want.ForgottenTopics {
		count -= len(f.Partitions)
	}
	q.skipForgotten(&cur, func([]byte, metadata.UUID, int32) { count++ })
	if v >= 7 && count != 0 {
		t.Fatalf("v%d: %d forgotten partitions too many", v, count)
	}
}

// TestProduceMeasure walks random requests of every version, and refuses every cut of them.
func TestProduceMeasure(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for version := int16(3); version <= 13; version++ {
		for range 100 {
			q := kmsg.NewPtrProduceRequest()
			q.SetVersion(version)
			topics, rows, names := 0, 0, 0
			for range rng.IntN(4) {
				x := kmsg.NewProduceRequestTopic()
				x.Topic = string(make([]byte, rng.IntN(9)))
				topics++
				if version < 13 {
					names += len(x.Topic)
				}
				for range rng.IntN(4) {
					p := kmsg.NewProduceRequestTopicPartition()
					p.Records = make([]byte, rng.IntN(100))
					x.Partitions = append(x.Partitions, p)
					rows++
				}
				q.Topics = append(q.Topics, x)
			}
			body := q.AppendTo(nil)
			gt, gr, gn := measureProduce(cursor{b: body, flex: version >= 9}, version)
			if gt != topics || gr != rows || gn != names {
				t.Fatalf("v%d: measured %d topics, %d rows, %d bytes of names; want %d, %d, %d", version, gt, gr, gn, topics, rows, names)
			}
			for n := range body {
				if _, r, _ := measureProduce(cursor{b: body[:n], flex: version >= 9}, version); r >= 0 {
					t.Fatalf("v%d cut to %d of %d bytes passes", version, n, len(body))
				}
			}
		}
	}
}

// FuzzFetchDecoder: what the decoder and kmsg both take they read alike.
func FuzzFetchDecoder(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for v := int16(4); v <= 18; v++ {
		f.Add(v, randomFetch(rng, v).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 4 || version > 18 {
			return
		}
		q := fetchRequest{version: version, byID: version >= 13}
		cur := cursor{b: body, flex: version >= 12}
		q.header(&cur)
		if !q.wellFormed(cur) {
			return
		}
		want := kmsg.NewPtrFetchRequest()
		want.SetVersion(version)
		if err := want.ReadFrom(body); err != nil || want.IsolationLevel > 1 {
			return // kmsg also looks into the followers' tagged fields
		}
		compareFetch(t, want, body)
	})
}

// FuzzProduceMeasure: what measureProduce takes kmsg takes too.
func FuzzProduceMeasure(f *testing.F) {
	f.Add(int16(9), []byte{0, 0, 1, 0, 0, 0, 1, 2, 2, 'a', 2, 0, 0, 0, 0, 1, 0, 0, 0})
	// A tag whose size has bits above the 32nd.
	f.Add(int16(9), []byte{0, 0, 1, 0, 0, 0, 1, 1, 1, 5, 0x80, 0x80, 0x80, 0x80, 0x10})
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 3 || version > 13 {
			return
		}
		if _, rows, _ := measureProduce(cursor{b: body, flex: version >= 9}, version); rows < 0 {
			return
		}
		q := kmsg.NewPtrProduceRequest()
		q.SetVersion(version)
		if err := q.ReadFrom(body); err != nil {
			t.Fatalf("v%d: kmsg refuses what the decoder takes: %v", version, err)
		}
	})
}
