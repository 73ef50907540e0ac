package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestGroupInUse: a group that consumes is described with its members and their lag, and is neither reset nor deleted,
// in the classic protocol and in that of KIP-848.
func TestGroupInUse(t *testing.T) {
	n := startNode(t, "-o", "group.initial.rebalance.delay.ms=0")
	n.shell.run("kbroker topic create clicks -p 2; seq 1 10 | kbroker produce clicks -p 1")
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			ctx := context.Background()
			if protocol.next {
				ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true) //lint:ignore SA1029 franz-go looks for a plain string
			}
			cl, err := kgo.NewClient(kgo.SeedBrokers(n.bootstrap), kgo.ConsumerGroup(protocol.name), kgo.ConsumeTopics("clicks"), kgo.DisableAutoCommit(), kgo.WithContext(ctx),
				kgo.ClientID("reader"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			read := 0
			for read < protocol.end {
				f := cl.PollFetches(t.Context())
				if err := f.Err(); err != nil {
					t.Fatal(err)
				}
				read += f.NumRecords()
			}
			if err := cl.CommitUncommittedOffsets(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.shell.run("seq 1 3 | kbroker produce clicks -p 1")
			var out string
			for range 100 { // members become stable in their own time
				if out = n.shell.run("kbroker group describe " + protocol.name); strings.Contains(out, "Stable") {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			for _, want := range []string{
				"type         " + protocol.name, "state        Stable", "assignor     " + protocol.assignor, "lag          3",
				"reader", "clicks:0,1", fmt.Sprintf("clicks  1          %d         0      %d   3", protocol.end, protocol.end+3),
			} {
				if !strings.Contains(out, want) {
					t.Errorf("describe has no %q:\n%s", want, out)
				}
			}
			for command, want := range map[string]string{
				"reset %s --all-topics --to-earliest --execute": "kbroker: group %s is in use (Stable): stop its consumers first, or nothing can be reset\nexit 1\n",
				"delete %s":                "kbroker: deleting group %s: it has members; stop its consumers first\nexit 1\n",
				"delete %s --topic clicks": "kbroker: deleting group %s: its members are subscribed to that topic; stop them first\nexit 1\n",
			} {
				if got := n.shell.run("kbroker group " + fmt.Sprintf(command, protocol.name)); got != fmt.Sprintf(want, protocol.name) {
					t.Errorf("%s: %s", command, got)
				}
			}
			if out := n.shell.run(fmt.Sprintf("kbroker group reset %s --all-topics --to-earliest", protocol.name)); !strings.Contains(out, "note: group") ||
				!strings.Contains(out, fmt.Sprintf("clicks  1          %d   0    %d", protocol.end, protocol.end+3)) {
				t.Errorf("a preview of a group in use: %s", out)
			}
		})
	}
}

// protocols are those of groups. Each test leaves three more records in the topic.
var protocols = []struct {
	name, assignor string
	next           bool
	end            int // what its member reads up to
}{
	{"classic", "cooperative-sticky", false, 10},
	{"consumer", "uniform", true, 13},
}

// A sum of lags is told only where at least one of them is known.
func TestGroupLagOfNothingCommitted(t *testing.T) {
	three := int64(3)
	for _, c := range []struct {
		offsets []committedOffset
		sum     int64
		want    string
	}{
		{nil, 0, "0"},
		{[]committedOffset{{Topic: "clicks"}}, 0, "-"},
		{[]committedOffset{{Topic: "clicks"}, {Topic: "clicks", Partition: 1, Lag: &three}}, 3, "3"},
	} {
		g := groupDescription{Offsets: c.offsets, Lag: c.sum}
		if got := g.lag(); got != c.want {
			t.Errorf("%d offsets: lag %s, want %s", len(c.offsets), got, c.want)
		}
	}
}
