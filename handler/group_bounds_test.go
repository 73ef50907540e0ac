package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/log"
)

// TestGroupsAreToldOnce: a request that names a group again and again does not get it again and again.
func TestGroupsAreToldOnce(t *testing.T) {
	n, id := newGroupNode(t, log.Replicated)
	c := n.connect()
	checkCode(t, "commit", c.ask(commitOf(9, id, "g", 1, 0)).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, nil)

	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version, describe.Groups = 5, []string{"g", "h", "g"}
	for i, want := range []*kerr.Error{nil, nil, kerr.InvalidRequest} {
		checkCode(t, describe.Groups[i], c.ask(describe).(*kmsg.DescribeGroupsResponse).Groups[i].ErrorCode, want)
	}
	fetch := fetchOf(8, id, "g")
	fetch.Groups = append(fetch.Groups, fetch.Groups[0])
	got := c.ask(fetch).(*kmsg.OffsetFetchResponse).Groups
	checkCode(t, "the first", got[0].ErrorCode, nil)
	checkCode(t, "the second", got[1].ErrorCode, kerr.InvalidRequest)
	if len(got[0].Topics) != 1 || len(got[1].Topics) != 0 {
		t.Errorf("offsets: %+v", got)
	}
}

// TestOffsetFetchIsBounded: naming one partition many times does not make an answer of gigabytes from its metadata.
func TestOffsetFetchIsBounded(t *testing.T) {
	n, id := newGroupNode(t, log.Replicated)
	c := n.connect()
	commit := commitOf(9, id, "g", 1, 0)
	commit.Topics[0].Partitions[0].Metadata = new(string(make([]byte, 4096)))
	checkCode(t, "commit", c.ask(commit).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, nil)
	for times, want := range map[int]*kerr.Error{100: nil, 64<<20/4096 + 1: kerr.InvalidRequest} {
		resp := c.ask(fetchOf(8, id, "g", make([]int32, times)...)).(*kmsg.OffsetFetchResponse).Groups[0]
		checkCode(t, "fetch", resp.ErrorCode, want)
		if want == nil && len(resp.Topics[0].Partitions) != times {
			t.Errorf("%d rows for a partition that is named %d times", len(resp.Topics[0].Partitions), times)
		}
	}
}

// TestLargeAnswersCount: who asks for everything that is stored again and again, and does not read the answers, fills
// the connection's room for waiting replies with a few of them.
func TestLargeAnswersCount(t *testing.T) {
	n, id := newGroupNode(t, log.Replicated)
	c := n.connect()
	list, describe := kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrDescribeGroupsRequest()
	for _, req := range []kmsg.Request{list, describe, fetchOf(8, id, "g")} {
		reply, err := c.start(req)
		if err != nil {
			t.Fatal(err)
		}
		if reply.Size() < readySize {
			t.Errorf("an answer to %T counts for %d bytes", req, reply.Size())
		}
		reply.Wait(nil)
	}
}
