package churn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// membersVariable makes the test binary a process of franz-go members, which saves a program of its own.
const membersVariable = "KBROKER_CHURN_MEMBERS"

func TestMain(m *testing.M) {
	if os.Getenv(membersVariable) == "" {
		os.Exit(m.Run())
	}
	hostFranz(os.Args[1], os.Args[2], os.Stdin, os.Stdout)
}

// hostFranz is a process of members with franz-go: it does what in says and ends with it.
func hostFranz(bootstrap, group string, in io.Reader, out io.Writer) {
	var mu sync.Mutex // keeps lines whole
	say := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, line)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	leave := map[string]context.CancelFunc{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		f := strings.Fields(lines.Text())
		name := f[1]
		if f[0] != "join" {
			leave[name]()
			continue
		}
		m := &franzMember{bootstrap: bootstrap, group: group, name: name, protocol: f[2], out: say}
		var mine context.Context
		mine, leave[name] = context.WithCancel(ctx)
		running.Go(func() { // ends with leave or with the input
			if err := m.run(mine); err != nil {
				m.say("failed", time.Now(), err)
				return
			}
			m.say("left", time.Now())
		})
	}
	cancel()
	running.Wait()
}

// franzMember is one member.
type franzMember struct {
	bootstrap, group, name, protocol string
	out                              func(line string)
}

func (m *franzMember) say(word string, at time.Time, more ...any) {
	m.out(strings.TrimSpace(fmt.Sprintln(append([]any{m.name, word, at.UnixNano()}, more...)...)))
}

// partitions returns a callback that says what happened to partitions.
func (m *franzMember) partitions(word string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, by map[string][]int32) {
		var all []any
		for _, p := range by[m.group] {
			all = append(all, p)
		}
		m.say(word, time.Now(), all...)
	}
}

func (m *franzMember) options() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(m.bootstrap), kgo.ConsumerGroup(m.group), kgo.ConsumeTopics(m.group), kgo.ClientID(m.name),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond),
		// A rebalance waits until what was polled is committed, so that what a member owns ends with its last commit.
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(m.partitions("assigned")), kgo.OnPartitionsRevoked(m.partitions("revoked")), kgo.OnPartitionsLost(m.partitions("lost")),
	}
	if m.protocol == "classic" {
		return append(opts, kgo.Balancers(kgo.RangeBalancer()), kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval))
	}
	return append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
}

// run takes part in the group until ctx ends, and leaves it.
func (m *franzMember) run(ctx context.Context) error {
	c, err := kgo.NewClient(m.options()...)
	if err != nil {
		return err
	}
	defer c.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := c.PollRecords(ctx, 50)
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			// A group that lost its session is joined again by the client itself.
			m.say("refused", time.Now(), err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) { m.got(p.Partition, p.Records) })
		m.commit(c)
		c.AllowRebalance()
	}
	return nil
}

// got says which records came, a line for each run of offsets.
func (m *franzMember) got(partition int32, records []*kgo.Record) {
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].Offset == records[n-1].Offset+1 {
			n++
		}
		m.say("got", time.Now(), partition, records[0].Offset, records[n-1].Offset)
		records = records[n:]
	}
}

// commit commits what was polled, also while leaving. What is refused is tried again after the next poll.
func (m *franzMember) commit(c *kgo.Client) {
	offsets := c.UncommittedOffsets()
	if len(offsets) == 0 {
		return
	}
	sent := time.Now()
	c.CommitOffsetsSync(context.Background(), offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		acked := time.Now()
		if err != nil {
			m.say("refused", acked, err)
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					m.say("refused", acked, kerr.ErrorForCode(p.ErrorCode))
					continue
				}
				m.say("committed", sent, p.Partition, offsets[m.group][p.Partition].Offset, acked.UnixNano())
			}
		}
	})
}
