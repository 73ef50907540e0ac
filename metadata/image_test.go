package metadata

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// uuid returns an id that tells itself apart from others by n.
func uuid(n int) UUID {
	return UUID{0: 1, 12: byte(n >> 24), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
}

// onePartition are the records of a topic with one partition on broker 1.
func onePartition(name string, id UUID) []Record {
	return []Record{
		&TopicRecord{name, id},
		&PartitionRecord{id, 0, PartitionRegistration{
			Replicas: []BrokerID{1}, Directories: []UUID{uuid(1)}, ISR: []BrokerID{1}, Leader: 1}},
	}
}

// apply applies records that must fit.
func apply(t testing.TB, im *Image, records ...Record) *Image {
	t.Helper()
	next, err := im.Apply(im.Index+1, records...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// checkRoundTrip checks that a snapshot of im gives back an equal image.
func checkRoundTrip(t testing.TB, im *Image) {
	t.Helper()
	b := EncodeImage(nil, im)
	back, err := DecodeImage(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := EncodeImage(nil, back); !bytes.Equal(b, again) {
		t.Fatalf("a snapshot of a snapshot differs:\n%x\n%x", b, again)
	}
	if back.NumPartitions() != im.NumPartitions() || back.NumTopics() != im.NumTopics() {
		t.Fatalf("%d topics with %d partitions became %d with %d", im.NumTopics(), im.NumPartitions(), back.NumTopics(), back.NumPartitions())
	}
}

func TestApplyLeavesTheOldImageAlone(t *testing.T) {
	a := apply(t, new(Image), onePartition("a", uuid(10))...)
	before := EncodeImage(nil, a)
	b := apply(t, a, append(onePartition("b", uuid(11)),
		&PartitionChangeRecord{Topic: uuid(10), Leader: new(NoBroker)},
		&ConfigRecord{ConfigResource{ConfigTopic, "a"}, "retention.ms", new("5")})...)
	if !bytes.Equal(before, EncodeImage(nil, a)) {
		t.Fatal("Apply changed the image that it was called on")
	}
	p := b.Topic("a").Partitions[0]
	if p.Leader != NoBroker || p.LeaderEpoch != 1 || p.PartitionEpoch != 1 {
		t.Fatalf("after a change of leader: %+v", p)
	}
	if got := b.Config(ConfigResource{ConfigTopic, "a"})["retention.ms"]; got != "5" {
		t.Fatalf("retention.ms is %q", got)
	}
	checkRoundTrip(t, b)
}

func TestRemoveTopicTakesItsConfigs(t *testing.T) {
	res := ConfigResource{ConfigTopic, "a"}
	im := apply(t, new(Image), append(onePartition("a", uuid(10)), &ConfigRecord{res, "k", new("v")})...)
	im = apply(t, im, append([]Record{&RemoveTopicRecord{uuid(10)}}, onePartition("a", uuid(11))...)...)
	if im.Topic("a").ID != uuid(11) || im.TopicByID(uuid(10)) != nil || im.Config(res) != nil || im.NumPartitions() != 1 {
		t.Fatalf("recreated in one batch: %+v, configs %v, %d partitions", im.Topic("a"), im.Config(res), im.NumPartitions())
	}
	im = apply(t, im, &RemoveTopicRecord{uuid(11)})
	if im.NumTopics() != 0 || im.NumPartitions() != 0 {
		t.Fatalf("%d topics, %d partitions left", im.NumTopics(), im.NumPartitions())
	}
	checkRoundTrip(t, im)
}

func TestRecordsThatDoNotFit(t *testing.T) {
	im := apply(t, new(Image), append(onePartition("a", uuid(10)),
		&ClusterRecord{"c"}, &RegisterBrokerRecord{Broker{ID: 1}}, &ProducerIDBlockRecord{1, 1000})...)
	for want, r := range map[string]Record{
		"cluster c cannot become cluster d":   &ClusterRecord{"d"},
		`topic "a" is there already`:          &TopicRecord{"a", uuid(12)},
		`topic "a" has id`:                    &TopicRecord{"b", uuid(10)},
		"there is no topic with id":           &RemoveTopicRecord{uuid(12)},
		"no topic with id":                    &PartitionRecord{Topic: uuid(12)},
		"partition 2 of topic":                &PartitionRecord{Topic: uuid(10), Partition: 2},
		"has no partition 1":                  &PartitionChangeRecord{Topic: uuid(10), Partition: 1},
		"has no partition -1":                 &PartitionChangeRecord{Topic: uuid(10), Partition: -1},
		"broker 2 is not registered":          &BrokerChangeRecord{ID: 2},
		"registered with epoch 1, not 7":      &UnregisterBrokerRecord{1, 7},
		"producer ids below 1000 are given o": &ProducerIDBlockRecord{1, 999},
	} {
		if _, err := im.Apply(2, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: got %v, want an error with %q", r, err, want)
		}
	}
}

// Client quotas and credentials are set, changed and taken back, and an image without any is like one that never had any.
func TestQuotasAndCredentials(t *testing.T) {
	alice := QuotaEntity{User: QuotaName{QuotaNamed, "alice"}}
	anyone := QuotaEntity{User: QuotaName{Kind: QuotaDefault}}
	user := ScramUser{"alice", ScramSHA512}
	empty := apply(t, new(Image), &ClusterRecord{"c"})
	a := apply(t, empty, &ClientQuotaRecord{alice, "k", new(1.5)}, &ClientQuotaRecord{alice, "l", new(2.0)}, &ClientQuotaRecord{anyone, "k", new(3.0)},
		&ScramCredentialRecord{user, &ScramCredential{[]byte("s"), []byte("k"), []byte("v"), 4096}})
	b := apply(t, a, &ClientQuotaRecord{alice, "k", nil}, &ClientQuotaRecord{anyone, "k", nil}, &TopicRecord{"t", uuid(1)})
	if !maps.Equal(a.ClientQuota(alice), map[string]float64{"k": 1.5, "l": 2}) || !maps.Equal(b.ClientQuota(alice), map[string]float64{"l": 2}) || b.ClientQuota(anyone) != nil {
		t.Fatalf("%v, then %v and %v", a.ClientQuota(alice), b.ClientQuota(alice), b.ClientQuota(anyone))
	}
	if c := apply(t, b, &RemoveTopicRecord{uuid(1)}); a.SameClientQuotas(b) || !b.SameClientQuotas(c) {
		t.Fatal("SameClientQuotas is wrong")
	}
	if c := b.ScramCredential(user); c == nil || c.Iterations != 4096 || b.ScramCredential(ScramUser{"alice", ScramSHA256}) != nil {
		t.Fatalf("%+v", c)
	}
	checkRoundTrip(t, a)
	checkRoundTrip(t, b)
	c := apply(t, b, &ClientQuotaRecord{alice, "l", nil}, &ScramCredentialRecord{user, nil})
	checkRoundTrip(t, c)
	if c.ClientQuotas(func(e QuotaEntity, _ map[string]float64) bool { t.Errorf("%+v is left", e); return true }); c.ScramCredential(user) != nil {
		t.Error("the credential is left")
	}
	for want, r := range map[string]Record{"of nobody": &ClientQuotaRecord{Key: "k"}, "a SCRAM credential of nobody": &ScramCredentialRecord{}} {
		if _, err := c.Apply(9, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: got %v, want an error with %q", r, err, want)
		}
	}
}

// Rule 7.3.2.
func TestSameMetricName(t *testing.T) {
	im := apply(t, new(Image), slices.Concat(onePartition("a.b", uuid(10)), onePartition("a_b", uuid(11)), onePartition("ab", uuid(12)))...)
	for name, want := range map[string]string{"a.b": "a_b", "a_b": "a.b", "ab": "", "x_y": "", "a": ""} {
		if got := im.SameMetricName(name); got != want {
			t.Errorf("SameMetricName(%q) = %q, want %q", name, got, want)
		}
	}
	im = apply(t, im, &RemoveTopicRecord{uuid(11)})
	if got := im.SameMetricName("a.b"); got != "" {
		t.Errorf("a.b still meets %q", got)
	}
	im = apply(t, im, &RemoveTopicRecord{uuid(10)})
	if got := im.SameMetricName("a_b"); got != "" {
		t.Errorf("a_b meets %q, which is gone", got)
	}
}

// TestOrdered plays random changes to an ordered map and to a Go map.
func TestOrdered(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var m ordered[topicName, int]
	want := map[topicName]int{}
	for range 300 {
		list := map[topicName]change[topicName, int]{}
		for range 1 + rng.IntN(20)*rng.IntN(20) {
			k := topicName(fmt.Sprintf("t-%d", rng.IntN(1000)))
			list[k] = change[topicName, int]{k, rng.Int(), rng.IntN(2) == 0}
		}
		before := slices.Clone(flatten(&m))
		next := m.with(slices.SortedFunc(maps.Values(list), func(a, b change[topicName, int]) int { return a.key.compare(b.key) }))
		if !slices.Equal(before, flatten(&m)) {
			t.Fatal("with changed the map that it was called on")
		}
		m = next
		for k, c := range list {
			if c.remove {
				delete(want, k)
			} else {
				want[k] = c.value
			}
		}
		checkOrdered(t, &m, want)
	}
}

// flatten returns the pairs of m in its order.
func flatten(m *ordered[topicName, int]) (pairs []pair[topicName, int]) {
	m.all(func(k topicName, v int) bool {
		pairs = append(pairs, pair[topicName, int]{k, v})
		return true
	})
	return pairs
}

// checkOrdered checks everything that m can be asked against want.
func checkOrdered(t *testing.T, m *ordered[topicName, int], want map[topicName]int) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	got := flatten(m)
	if m.size != len(want) || len(got) != len(want) {
		t.Fatalf("size %d, %d pairs, want %d", m.size, len(got), len(want))
	}
	for i, p := range got {
		if p.key != keys[i] || p.value != want[p.key] {
			t.Fatalf("pair %d is %v, want %v=%d", i, p, keys[i], want[keys[i]])
		}
	}
	for n := range 1000 {
		k := topicName(fmt.Sprintf("t-%d", n))
		v, ok := m.get(k)
		if w, there := want[k]; ok != there || v != w {
			t.Fatalf("get(%q) = %d %t, want %d %t", k, v, ok, w, there)
		}
		if n%100 == 0 {
			i, _ := slices.BinarySearch(keys, k)
			m.from(k, func(got topicName, _ int) bool {
				if got != keys[i] {
					t.Fatalf("from(%q) came to %q at %d, want %q", k, got, i, keys[i])
				}
				i++
				return i < len(keys) && i%7 != 0
			})
		}
	}
}

// BenchmarkApplyOneTopic is what creating one topic costs in an image of many, and BenchmarkTopic what finding one does.
func BenchmarkApplyOneTopic(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			im := manyTopics(b, n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				apply(b, im, onePartition(fmt.Sprintf("new-%d", i), uuid(n+i+1))...)
			}
		})
	}
}

func BenchmarkTopic(b *testing.B) {
	im := manyTopics(b, 10_000)
	names := make([]string, 0, im.NumTopics())
	for t := range im.Topics {
		names = append(names, t.Name)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if im.Topic(names[i%len(names)]) == nil {
			b.Fatal("not found")
		}
	}
}

// BenchmarkApplyToAll is what a restart of a broker does: every partition gets another leader.
func BenchmarkApplyToAll(b *testing.B) {
	im := manyTopics(b, 10_000)
	var records []Record
	for t := range im.Topics {
		records = append(records, &PartitionChangeRecord{Topic: t.ID, Leader: new(NoBroker)})
	}
	b.ReportAllocs()
	for b.Loop() {
		apply(b, im, records...)
	}
}

func BenchmarkDecodeImage(b *testing.B) {
	enc := EncodeImage(nil, manyTopics(b, 10_000))
	b.SetBytes(int64(len(enc)))
	for b.Loop() {
		if _, err := DecodeImage(enc); err != nil {
			b.Fatal(err)
		}
	}
}

func manyTopics(t testing.TB, n int) *Image {
	var records []Record
	for i := range n {
		records = append(records, onePartition(fmt.Sprintf("topic-%d", i), uuid(i))...)
	}
	return apply(t, new(Image), records...)
}
