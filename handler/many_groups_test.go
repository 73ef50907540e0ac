package handler

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

// occupy keeps the machine of a group busy until the function is called that it returns.
func (n *dataNode) occupy(groupID string) (let func()) {
	n.t.Helper()
	busy, free := make(chan struct{}), make(chan struct{})
	// On a goroutine of its own: a machine at rest decides on that of whoever asks.
	go n.deps.Groups.Do(groupID, func(*group.Machine, time.Time, *coordinator.Effects) {
		close(busy)
		<-free
	}, func(err error) { n.t.Error(err) })
	<-busy
	return func() { close(free) }
}

// TestManyGroups: requests that name very many groups of one machine, while it is busy, leave room in its queue and are
// answered for every group.
func TestManyGroups(t *testing.T) {
	n, id := newGroupNode(t, log.Replicated)
	n.apply(&metadata.FeatureLevelRecord{Name: "group.version", Level: 1})
	n.deps.Config = testConfig(t)
	c := n.connect()
	var ids []string
	for i := 0; len(ids) < 25_000; i++ { // more than a machine's queue has room for
		if g := fmt.Sprint("g", i); group.PartitionOf(g, 3) == 0 {
			ids = append(ids, g)
		}
	}
	for _, g := range ids[:1000] {
		checkCode(t, "commit", c.ask(commitOf(9, id, g, 7, 0)).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, nil)
	}
	ask := func(req kmsg.Request) kmsg.Response {
		t.Helper()
		let := n.occupy(ids[0])
		reply, err := c.start(req)
		// Others still have a place behind it.
		other := n.connect()
		listing := kmsg.NewPtrListGroupsRequest()
		listed, listErr := other.start(listing)
		let()
		if err := errors.Join(err, listErr, c.Flush()); err != nil {
			t.Fatal(err)
		}
		checkCode(t, "a request behind it", other.finish(listing, listed).(*kmsg.ListGroupsResponse).ErrorCode, nil)
		return c.finish(req, reply)
	}
	want := func(what string, codes map[int16]int, first *kerr.Error, rest *kerr.Error) {
		t.Helper()
		if codes[codeOf(first)] != 1000 || codes[codeOf(rest)] != len(ids)-1000 {
			t.Errorf("%s: %v", what, codes)
		}
	}

	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.SetVersion(8)
	for _, g := range ids {
		fetch.Groups = append(fetch.Groups, fetchOf(8, id, g).Groups[0])
	}
	codes, offsets := map[int16]int{}, 0
	for i, g := range ask(fetch).(*kmsg.OffsetFetchResponse).Groups {
		codes[g.ErrorCode]++
		if offsets += len(g.Topics); g.Group != ids[i] {
			t.Fatalf("row %d is of %s, not %s", i, g.Group, ids[i])
		}
	}
	if codes[0] != len(ids) || offsets != 1000 {
		t.Errorf("OffsetFetch: %v, %d topics", codes, offsets)
	}

	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.SetVersion(6)
	describe.Groups = ids
	codes = map[int16]int{}
	for _, g := range ask(describe).(*kmsg.DescribeGroupsResponse).Groups {
		codes[g.ErrorCode]++
	}
	want("DescribeGroups", codes, nil, kerr.GroupIDNotFound)

	consumers := kmsg.NewPtrConsumerGroupDescribeRequest()
	consumers.Groups = ids
	codes = map[int16]int{}
	for _, g := range ask(consumers).(*kmsg.ConsumerGroupDescribeResponse).Groups {
		codes[g.ErrorCode]++
	}
	if codes[kerr.GroupIDNotFound.Code] != len(ids) {
		t.Errorf("ConsumerGroupDescribe: %v", codes)
	}

	remove := kmsg.NewPtrDeleteGroupsRequest()
	remove.SetVersion(2)
	remove.Groups = ids
	codes = map[int16]int{}
	for _, g := range ask(remove).(*kmsg.DeleteGroupsResponse).Groups {
		codes[g.ErrorCode]++
	}
	want("DeleteGroups", codes, nil, kerr.GroupIDNotFound)
}

func codeOf(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}

// TestGather: a part counts once, however often it comes: a machine that fails may have answered already.
func TestGather(t *testing.T) {
	done := 0
	var sum int
	g := &gather{done: func() { done++ }}
	g.expect(2)
	g.part(0, func() { sum++ })
	g.part(0, func() { sum += 10 })
	if done != 0 || sum != 1 {
		t.Errorf("after one part twice: done %d times, sum %d", done, sum)
	}
	g.part(1, func() { sum += 100 })
	g.part(1, func() { sum += 1000 })
	if done != 1 || sum != 101 {
		t.Errorf("done %d times, sum %d", done, sum)
	}
	(&gather{done: func() { done++ }}).expect(0)
	if done != 2 {
		t.Error("an answer without parts is not given")
	}
}
