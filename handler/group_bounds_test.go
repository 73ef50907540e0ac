package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/log"
)

// TestTellingsAreBounded: a request that names a group again and again does not get it again and again.
func TestTellingsAreBounded(t *testing.T) {
	n, id := newGroupNode(t, log.Replicated)
	c := n.connect()
	checkCode(t, "commit", c.ask(commitOf(9, id, "g", 1, 0)).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, nil)

	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version = 5
	fetch := fetchOf(8, id, "g")
	for range maxTellings {
		describe.Groups = append(describe.Groups, "g")
		fetch.Groups = append(fetch.Groups, fetch.Groups[0])
	}
	describe.Groups = append(describe.Groups, "h", "g")
	described := c.ask(describe).(*kmsg.DescribeGroupsResponse).Groups
	fetched := c.ask(fetch).(*kmsg.OffsetFetchResponse).Groups
	for i := range maxTellings {
		checkCode(t, "described", described[i].ErrorCode, nil)
		if fetched[i].ErrorCode != 0 || len(fetched[i].Topics) != 1 {
			t.Errorf("fetched: %+v", fetched[i])
		}
	}
	checkCode(t, "another group", described[maxTellings].ErrorCode, nil)
	checkCode(t, "described too often", described[maxTellings+1].ErrorCode, kerr.InvalidRequest)
	checkCode(t, "fetched too often", fetched[maxTellings].ErrorCode, kerr.InvalidRequest)
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
