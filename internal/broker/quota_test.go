package broker

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// throttled remembers the longest time that a broker told a client to stay away.
type throttled struct{ longest atomic.Int64 }

func (h *throttled) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) {
	h.longest.Store(max(h.longest.Load(), int64(d)))
}

func (h *throttled) told() time.Duration { return time.Duration(h.longest.Load()) }

// setQuota sets a quota, or with 0 takes it back.
func setQuota(t *testing.T, admin *kadm.Client, kind string, name *string, key string, value float64) {
	t.Helper()
	r, err := admin.AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: kind, Name: name}},
		Ops:    []kadm.AlterClientQuotaOp{{Key: key, Value: value, Remove: value == 0}},
	}})
	if err != nil || r[0].Err != nil {
		t.Fatal(err, r)
	}
}

// TestQuotas: real clients are throttled by each kind of quota, told so, and served all the same; the windows are those
// that were configured (rules 1.8 and 7.9).
func TestQuotas(t *testing.T) {
	b := startTest(t, "quota.window.num=2", "quota.window.size.seconds=1", "controller.quota.window.num=2", "controller.quota.window.size.seconds=3")
	_, admin := connect(t, b)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	const records, size = 4, 20_000
	setQuota(t, admin, "client-id", kadm.StringPtr("slow"), "producer_byte_rate", 2*size)
	slow := new(throttled)
	producer, _ := connect(t, b, kgo.ClientID("slow"), kgo.WithHooks(slow), kgo.DefaultProduceTopic("t"), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range records { // a window has room for two to four of them
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Value: bytes.Repeat([]byte("x"), size)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if slow.told() == 0 {
		t.Error("a producer over its quota was not throttled")
	}

	setQuota(t, admin, "user", kadm.StringPtr("ANONYMOUS"), "consumer_byte_rate", 2*size)
	reader := new(throttled)
	consumer, _ := connect(t, b, kgo.WithHooks(reader), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for n := 0; n < records; {
		f := consumer.PollFetches(t.Context())
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		n += f.NumRecords()
	}
	if reader.told() == 0 {
		t.Error("a consumer over its quota was not throttled")
	}
	setQuota(t, admin, "user", kadm.StringPtr("ANONYMOUS"), "consumer_byte_rate", 0)

	// Six permits may be saved up. They do not come back fast enough for the test to take long.
	setQuota(t, admin, "user", nil, "controller_mutation_rate", 1)
	create := func(topic string, partitions int32, version int16) (int16, int32) {
		req := kmsg.NewPtrCreateTopicsRequest()
		row := kmsg.NewCreateTopicsRequestTopic()
		row.Topic, row.NumPartitions, row.ReplicationFactor = topic, partitions, 1
		req.Topics, req.TimeoutMillis = append(req.Topics, row), 10_000
		req.SetVersion(version)
		answer := newPlainClient(t, b).ask(req).(*kmsg.CreateTopicsResponse)
		return answer.Topics[0].ErrorCode, answer.ThrottleMillis
	}
	if code, throttle := create("m1", 100, 7); code != 0 || throttle < 80_000 {
		t.Errorf("a request larger than the quota: error %d, throttled for %d ms", code, throttle)
	}
	if code, throttle := create("m2", 1, 7); code != kerr.ThrottlingQuotaExceeded.Code || throttle < 80_000 {
		t.Errorf("the next: error %d, throttled for %d ms", code, throttle)
	}
	if code, throttle := create("m3", 1, 5); code != 0 || throttle < 80_000 {
		t.Errorf("an old request: error %d, throttled for %d ms", code, throttle)
	}
	setQuota(t, admin, "user", nil, "controller_mutation_rate", 0)

	setQuota(t, admin, "ip", nil, "connection_creation_rate", 1)
	refused := false
	for range 10 {
		refused = refused || turnedAway(t, b)
	}
	if !refused {
		t.Error("ten connections at once at a rate of one per second")
	}
	b.quotas.Throttled(func(key string, times int64, total time.Duration) {
		if key != "request_percentage" && (times == 0 || total == 0) {
			t.Errorf("%s: clients were held back %d times, %v together", key, times, total)
		}
	})
}

// turnedAway reports whether a new connection is closed without being served.
func turnedAway(t *testing.T, b *Broker) bool {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)); err != nil {
		return true
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, err = c.Read(make([]byte, 1))
	return err != nil
}
