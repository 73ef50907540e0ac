package tools

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// live joins groups live and live-848, one of each protocol, with a member that stays until the test ends, and has both
// commit offset 1 of both partitions of topic live.
func live(t *testing.T, bootstrap string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(t.Context(), 2, 1, nil, "live"); err != nil {
		t.Fatal(err)
	}
	for partition := range int32(2) {
		r := &kgo.Record{Topic: "live", Partition: partition, Value: []byte("alive")}
		p, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
	join(t, bootstrap, "live", kgo.Balancers(kgo.RangeBalancer()))
	join(t, bootstrap, "live-848", kgo.ServerSideBalancer())
}

// joinLimit is how long joining a group and reading two records may take.
const joinLimit = time.Minute

func join(t *testing.T, bootstrap, group string, options ...kgo.Opt) {
	t.Helper()
	options = append(options, kgo.SeedBrokers(bootstrap), kgo.ClientID("live-client"), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics("live"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	c, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), joinLimit)
	defer cancel()
	for read := 0; read < 2; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("a member of group %s: %v", group, err)
		}
		read += fetches.NumRecords()
	}
	if err := c.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatalf("a member of group %s: %v", group, err)
	}
	var stopped sync.WaitGroup
	polling, stop := context.WithCancel(context.Background())
	stopped.Go(func() { // until the test ends
		for polling.Err() == nil {
			c.PollFetches(polling)
		}
	})
	t.Cleanup(func() { stop(); stopped.Wait() })
}
