package power

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// findings is what is wrong, in numbers of records, with the first cases in words.
type findings struct {
	Read       int64 // records read
	Lost       int64 // acknowledged, and not there or other at their offset; or skipped by an idempotent producer
	Duplicated int64 // in the log twice
	Reordered  int64 // behind a later one of the same producer
	Gaps       int64 // offsets without a record
	Damaged    int64 // no producer wrote this
	Other      int64 // the broker does not start, a producer was told of loss, …
	Cases      []string
}

// maxCases bounds the cases told in words.
const maxCases = 10

func (f *findings) add(counter *int64, format string, args ...any) {
	*counter++
	if len(f.Cases) < maxCases {
		f.Cases = append(f.Cases, fmt.Sprintf(format, args...))
	}
}

// wrong returns the number of things that must not be.
func (f *findings) wrong() int64 {
	return f.Lost + f.Duplicated + f.Reordered + f.Gaps + f.Damaged + f.Other
}

func (f *findings) String() string {
	return fmt.Sprintf("%d lost, %d duplicated, %d reordered, %d gaps, %d damaged, %d other; %q",
		f.Lost, f.Duplicated, f.Reordered, f.Gaps, f.Damaged, f.Other, f.Cases)
}

// partitionCheck reads one partition in order.
type partitionCheck struct {
	partition
	acked   map[int64]stamp
	end     int64 // exclusive
	next    int64 // offset expected
	matched int
	// last is the newest sequence of each producer plus one.
	last map[uint64]uint64
	seen map[stamp]bool
}

func (c *partitionCheck) record(f *findings, offset int64, value []byte) {
	f.Read++
	for ; c.next < offset; c.next++ {
		f.add(&f.Gaps, "%v offset %d: no record", c.partition, c.next)
	}
	c.next = offset + 1
	s, err := decodeStamp(value)
	if err != nil {
		f.add(&f.Damaged, "%v offset %d: %v", c.partition, offset, err)
		return
	}
	if want, ok := c.acked[offset]; ok && want == s {
		c.matched++
	} else if ok {
		f.add(&f.Lost, "%v offset %d: found %v, acknowledged %v", c.partition, offset, s, want)
	}
	switch last := c.last[s.producer]; {
	case c.seen[s]:
		f.add(&f.Duplicated, "%v offset %d: %v is there again", c.partition, offset, s)
	case s.sequence < last:
		f.add(&f.Reordered, "%v offset %d: %v after %d", c.partition, offset, s, last-1)
	case s.producer&contiguous != 0 && s.sequence > last:
		f.add(&f.Lost, "%v offset %d: %v follows %d of an idempotent producer", c.partition, offset, s, int64(last)-1)
	}
	c.seen[s] = true
	c.last[s.producer] = max(c.last[s.producer], s.sequence+1)
}

// finish counts what was acknowledged and never seen.
func (c *partitionCheck) finish(f *findings) {
	for offset, s := range c.acked {
		if offset >= c.next {
			f.add(&f.Lost, "%v offset %d: acknowledged for %v, but the log ends at %d", c.partition, offset, s, c.end)
		}
	}
}

// readTime bounds one read of everything.
const readTime = 2 * time.Minute

// check reads every partition of the ledger from start to end. Nothing may be produced meanwhile.
func (l *ledger) check(ctx context.Context, addr string, f *findings) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock() // producers are quiet, so nobody waits for it
	for _, text := range l.refused {
		f.add(&f.Other, "%s", text)
	}
	checks, err := l.plan(ctx, addr, f)
	if err != nil || len(checks) == 0 {
		return err
	}
	if err := readAll(ctx, addr, checks, f); err != nil {
		return err
	}
	for _, c := range checks {
		c.finish(f)
	}
	return nil
}

// plan asks for the end of each partition.
func (l *ledger) plan(ctx context.Context, addr string, f *findings) (map[partition]*partitionCheck, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	topics := map[string]bool{}
	for p := range l.acked {
		topics[p.topic] = true
	}
	checks := map[partition]*partitionCheck{}
	for topic := range topics {
		ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("asking for the end of %s: %w", topic, err)
		}
		for p, acked := range l.acked {
			if p.topic != topic {
				continue
			}
			end, ok := ends.Lookup(topic, p.id)
			if !ok || end.Err != nil {
				f.add(&f.Other, "%v has no end: %v; %d records were acknowledged", p, end.Err, len(acked))
				f.Lost += int64(len(acked))
				continue
			}
			checks[p] = &partitionCheck{
				partition: p, acked: acked, end: end.Offset, last: map[uint64]uint64{}, seen: map[stamp]bool{},
			}
		}
	}
	return checks, nil
}

// readAll consumes all partitions to their ends.
func readAll(ctx context.Context, addr string, checks map[partition]*partitionCheck, f *findings) error {
	starts := map[string]map[int32]kgo.Offset{}
	left := 0
	for p, c := range checks {
		if c.end == 0 {
			continue
		}
		if starts[p.topic] == nil {
			starts[p.topic] = map[int32]kgo.Offset{}
		}
		starts[p.topic][p.id] = kgo.NewOffset().At(0)
		left++
	}
	if left == 0 {
		return nil
	}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(starts), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer consumer.Close()
	for left > 0 {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading everything back: %w", err)
		}
		for _, r := range fetches.Records() {
			c := checks[partition{r.Topic, r.Partition}]
			before := c.next
			c.record(f, r.Offset, r.Value)
			if before < c.end && c.next >= c.end {
				left--
			}
		}
	}
	return nil
}
