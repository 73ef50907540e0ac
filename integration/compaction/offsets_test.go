package compaction

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

const (
	offsetsPartitions   = 2
	offsetsSegmentBytes = 16 << 10
	dataPartitions      = 4
	simpleGroups        = 12 // commit as tools do, without members
	doomedGroups        = 4  // deleted while the others work
	leastCommits        = 5000
	// patience is how long anything may take on a machine with much else to do.
	patience = 2 * time.Minute
)

// offsetsTest is a kbroker whose __consumer_offsets is compacted all the time, and the groups that fill it.
type offsetsTest struct {
	t       *testing.T
	node    *kbrokerproc.Node
	client  *kgo.Client
	admin   *kadm.Client
	members map[string][]*kgo.Client // by group
	wire    wire                     // of the members
	round   int64
}

// wire is what members reach the broker through. Cut, it is as if their machines had lost power: they can't even leave.
type wire struct {
	mu    sync.Mutex // guards what follows
	conns []net.Conn
	cut   bool
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		conn.Close()
		return nil, net.ErrClosed
	}
	w.conns = append(w.conns, conn)
	return conn, nil
}

func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for _, conn := range w.conns {
		conn.Close()
	}
}

// memberGroups are the groups with members: one that members balance themselves and one of KIP-848.
var memberGroups = []string{"classic", "kip-848"}

func simple(i int) string { return fmt.Sprint("simple-", i) }
func doomed(i int) string { return fmt.Sprint("doomed-", i) }

func startOffsetsTest(t *testing.T) *offsetsTest {
	t.Helper()
	node := kbrokerproc.StartForTest(t, kbrokerproc.Config{Properties: []string{
		fmt.Sprint("offsets.topic.num.partitions=", offsetsPartitions),
		"log.cleaner.backoff.ms=20", "log.cleaner.min.cleanable.ratio=0.01", "log.cleaner.delete.retention.ms=1", "group.initial.rebalance.delay.ms=0",
		"log.cleaner.dedupe.buffer.size=8388608", "group.consumer.session.timeout.ms=60000", "group.consumer.max.session.timeout.ms=60000",
	}})
	o := &offsetsTest{t: t, node: node, members: map[string][]*kgo.Client{}}
	o.client = o.connect()
	o.admin = kadm.NewClient(o.client)
	if _, err := o.admin.CreateTopic(t.Context(), dataPartitions, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	o.eventually("a coordinator", func() bool { _, err := o.admin.FetchOffsets(t.Context(), simple(0)); return err == nil })
	// offsets.topic.segment.bytes has a lower limit, as segment.bytes of any topic.
	small := fmt.Sprint(offsetsSegmentBytes)
	if altered, err := o.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "internal.segment.bytes", Value: &small}}, "__consumer_offsets"); err != nil || altered[0].Err != nil {
		t.Fatal(altered, err)
	}
	for _, group := range memberGroups {
		for range 2 {
			ctx := t.Context()
			if group == "kip-848" {
				ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true) //lint:ignore SA1029 franz-go looks for a plain string
			}
			o.members[group] = append(o.members[group], o.connect(kgo.WithContext(ctx), kgo.ConsumerGroup(group), kgo.ConsumeTopics("t"),
				kgo.DisableAutoCommit(), kgo.SessionTimeout(time.Minute), kgo.Dialer(o.wire.dial), kgo.RequestRetries(1), kgo.RetryTimeout(time.Second)))
		}
	}
	return o
}

func (o *offsetsTest) connect(options ...kgo.Opt) *kgo.Client {
	o.t.Helper()
	c, err := kgo.NewClient(append(options, kgo.SeedBrokers(o.node.Bootstrap()), kgo.DialTimeout(time.Second))...)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(c.CloseAllowingRebalance)
	return c
}

// eventually waits for what done reports.
func (o *offsetsTest) eventually(what string, done func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			o.t.Fatalf("%s did not come to be", what)
		}
	}
}

func (o *offsetsTest) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// commit lets a group without members commit all partitions.
func (o *offsetsTest) commit(group string) {
	o.t.Helper()
	var offsets kadm.Offsets
	for p := range int32(dataPartitions) {
		offsets.Add(kadm.Offset{Topic: "t", Partition: p, At: o.round*10 + int64(p), LeaderEpoch: -1, Metadata: fmt.Sprint(group, " ", o.round)})
	}
	o.must(o.admin.CommitAllOffsets(o.t.Context(), group, offsets))
}

// work is one round: every group without members commits, and every member commits what it consumed.
func (o *offsetsTest) work() {
	o.t.Helper()
	o.round++
	var records []*kgo.Record
	for p := range int32(dataPartitions) {
		records = append(records, &kgo.Record{Topic: "t", Partition: p, Value: fmt.Append(nil, o.round)})
	}
	o.must(o.client.ProduceSync(o.t.Context(), records...).FirstErr())
	for i := range simpleGroups {
		o.commit(simple(i))
	}
	if o.wire.cut {
		return
	}
	for _, members := range o.members {
		for _, c := range members {
			ctx, cancel := context.WithTimeout(o.t.Context(), 5*time.Millisecond)
			fetches := c.PollFetches(ctx)
			cancel()
			if fetches.NumRecords() > 0 {
				o.must(c.CommitRecords(o.t.Context(), fetches.Records()...))
			}
		}
	}
}

// stable reports whether all groups with members have both of them and all partitions are given out.
func (o *offsetsTest) stable() bool {
	for _, group := range memberGroups {
		members, partitions := 0, 0
		for _, m := range o.described(group) {
			members++
			partitions += m.partitions
		}
		if members != 2 || partitions != dataPartitions {
			o.poll() // the members
			return false
		}
	}
	return true
}

func (o *offsetsTest) poll() {
	for _, members := range o.members {
		for _, c := range members {
			ctx, cancel := context.WithTimeout(o.t.Context(), 5*time.Millisecond)
			c.PollFetches(ctx)
			cancel()
		}
	}
}

// member is what a broker tells of a member.
type member struct {
	assignment string
	partitions int
	epoch      int32 // -1 in a classic group
}

// described returns the members of a group by id, none while it is not stable.
func (o *offsetsTest) described(group string) map[string]member {
	o.t.Helper()
	found := map[string]member{}
	if group == "classic" {
		all, err := o.admin.DescribeGroups(o.t.Context(), group)
		o.must(err)
		if all[group].State != "Stable" {
			return nil
		}
		for _, m := range all[group].Members {
			a, _ := m.Assigned.AsConsumer()
			x := member{epoch: -1, assignment: fmt.Sprintf("%+v", a.Topics)}
			for _, topic := range a.Topics {
				x.partitions += len(topic.Partitions)
			}
			found[m.MemberID] = x
		}
		return found
	}
	all, err := o.admin.DescribeConsumerGroups(o.t.Context(), group)
	o.must(err)
	if all[group].State != "Stable" {
		return nil
	}
	for _, m := range all[group].Members {
		x := member{epoch: m.MemberEpoch, assignment: fmt.Sprint(m.Assignment.Sorted())}
		for _, partitions := range m.Assignment {
			x.partitions += len(partitions)
		}
		found[m.MemberID] = x
	}
	return found
}

// state is all that the broker tells of groups, their members and their offsets.
func (o *offsetsTest) state() (lines []string) {
	o.t.Helper()
	listed, err := o.admin.ListGroups(o.t.Context())
	o.must(err)
	for _, g := range listed.Sorted() {
		lines = append(lines, fmt.Sprintf("%s: %s, %s", g.Group, g.ProtocolType, g.State))
		offsets, err := o.admin.FetchOffsets(o.t.Context(), g.Group)
		o.must(err)
		for _, x := range offsets.Sorted() {
			lines = append(lines, fmt.Sprintf("%s: %s-%d at %d, epoch %d, %s, %v", g.Group, x.Topic, x.Partition, x.At, x.LeaderEpoch, x.Metadata, x.Err))
		}
	}
	for _, group := range memberGroups {
		described := o.described(group)
		for _, id := range slices.Sorted(maps.Keys(described)) {
			lines = append(lines, fmt.Sprintf("%s: member %s, %+v", group, id, described[id]))
		}
	}
	return lines
}

// TestOffsetsAreCompacted has groups commit while __consumer_offsets is compacted under them. Its files stay small, deleted
// groups leave no trace, and after a kill all groups, generations and offsets are as they were: members go on.
func TestOffsetsAreCompacted(t *testing.T) {
	o := startOffsetsTest(t)
	o.eventually("members in both groups", o.stable)
	for i := range doomedGroups {
		o.commit(doomed(i))
	}
	for range 40 {
		o.work()
	}
	for i := range doomedGroups {
		if deleted, err := o.admin.DeleteGroups(t.Context(), doomed(i)); err != nil || deleted[doomed(i)].Err != nil {
			t.Fatal(deleted, err)
		}
	}
	for o.round*simpleGroups*dataPartitions < leastCommits {
		o.work()
	}
	o.eventually("compaction of what deleted groups left", func() bool { o.work(); return !o.mentions() })
	written := o.bounded()
	o.eventually("groups at rest", o.stable)
	generations := o.generations()
	o.wire.sever()
	before := o.state()
	if joined := strings.Join(before, "\n"); strings.Contains(joined, "doomed") || !strings.Contains(joined, "simple-3: t-1 at") {
		t.Fatalf("before the kill:\n%s", joined)
	}
	o.node.Kill()
	o.node = kbrokerproc.StartForTest(t, o.node.Config())
	compare(t, "state after the kill", before, o.state())
	o.commitInGenerations(generations)
	o.work()
	o.must(o.node.Stop())
	o.readByKafka()
	t.Logf("%d rounds, %d records, %d lines of state", o.round, written, len(before))
}

// generation is what a member takes for its own.
type generation struct {
	group, member string
	number        int32
}

func (o *offsetsTest) generations() (all []generation) {
	for _, group := range memberGroups {
		for _, c := range o.members[group] {
			id, number := c.GroupMetadata()
			all = append(all, generation{group, id, number})
		}
	}
	return all
}

// commitInGenerations commits for every member in its generation, which goes, and in the next one, which does not.
func (o *offsetsTest) commitInGenerations(generations []generation) {
	o.t.Helper()
	topics, err := o.admin.ListTopics(o.t.Context(), "t")
	o.must(err)
	for _, g := range generations {
		for next, wants := range map[int32][]error{0: {nil}, 1: {kerr.IllegalGeneration, kerr.StaleMemberEpoch}} {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group, req.MemberID, req.Generation = g.group, g.member, g.number+next
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Offset = 1
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic, rt.TopicID, rt.Partitions = "t", topics["t"].ID, append(rt.Partitions, p)
			req.Topics = append(req.Topics, rt)
			resp, err := req.RequestWith(o.t.Context(), o.client)
			o.must(err)
			if got := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); !slices.Contains(wants, got) {
				o.t.Errorf("%s commits in generation %d after %d: %v", g.member, req.Generation, g.number, got)
			}
		}
	}
}
