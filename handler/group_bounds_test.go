package handler

import (
	"fmt"
	"strings"
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

// TestLongNames: a group or a member with a name that no record has room for costs its sender the connection, and the
// partition's other groups nothing.
func TestLongNames(t *testing.T) {
	n, id := newGroupNode(t, log.Replicated)
	c := n.connect()
	long := strings.Repeat("g", 40_000)
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Version, beat.Group, beat.MemberID = 1, "g", long
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType = 9, long, "consumer"
	for _, req := range []kmsg.Request{commitOf(8, id, long, 1, 0), beat, join} {
		if _, err := n.connect().start(req); err == nil {
			t.Errorf("%T with a name of 40,000 bytes is taken", req)
		}
	}
	checkCode(t, "commit", c.ask(commitOf(9, id, "g", 1, 0)).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, nil)
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

// TestManyNames: requests of a megabyte of names, each another one, are read in a time that grows with their number and
// not with its square, and of a name that comes twice the last one counts.
func TestManyNames(t *testing.T) {
	const many = 200_000
	features := kmsg.NewPtrUpdateFeaturesRequest()
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	for i := range many + 2 {
		name := fmt.Sprint(i % many)
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel = name, int16(i/many)
		features.FeatureUpdates = append(features.FeatureUpdates, u)
		entry.Entity = append(entry.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: name, Name: new(fmt.Sprint(i))})
	}
	updates := featureUpdates(&Context{}, features)
	if len(updates) != many || updates[0].Name != "2" || updates[many-1].Name != "1" || updates[many-1].Level != 1 {
		t.Errorf("%d updates, the first of %q, the last of %q", len(updates), updates[0].Name, updates[len(updates)-1].Name)
	}
	row := newQuotaRow(&entry)
	if len(row.entity) != many || row.entity[1].Type != "1" || *row.entity[1].Name != fmt.Sprint(many+1) || row.err == nil {
		t.Errorf("%d parts of an entity, %q is called %q: %v", len(row.entity), row.entity[1].Type, *row.entity[1].Name, row.err)
	}
}
