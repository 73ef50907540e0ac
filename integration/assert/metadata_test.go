package assert

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadata is about Metadata and DescribeTopicPartitions (chapters 7.1 and 7.2 of the rules).
var metadata = []assertion{
	{number: "T100", claim: "no topics asked for means all in v0 and none from v1 on; null means all", try: whichTopics},
	{number: "T101", claim: "Metadata creates an unknown topic if it may, and answers with an error until it is there", try: autoCreation},
	{number: "T102", claim: "Metadata finds topics by id; an unknown id is error 100 with a null name", try: topicsByID},
	{number: "T103", claim: "each listener answers with its own addresses", try: listenerAddresses, looks: true},
	{number: "T114", claim: "DescribeTopicPartitions in pages names each partition once", try: describeInPages},
}

// names are the topics of an answer, sorted.
func names(resp *kmsg.MetadataResponse) []string {
	var list []string
	for _, t := range resp.Topics {
		list = append(list, *t.Topic)
	}
	slices.Sort(list)
	return list
}

func whichTopics(c *check) {
	t, n := c.topic(), c.dial()
	for _, r := range []struct {
		version int16
		topics  []kmsg.MetadataRequestTopic
		all     bool
	}{
		{0, []kmsg.MetadataRequestTopic{}, true},
		{1, []kmsg.MetadataRequestTopic{}, false},
		{1, nil, true},
		{12, []kmsg.MetadataRequestTopic{}, false},
		{12, nil, true},
	} {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.Topics = r.version, r.topics
		found := names(ask[*kmsg.MetadataResponse](n, req))
		what := fmt.Sprintf("v%d, null is %v", r.version, r.topics == nil)
		equal(c, what+": lists my topic", slices.Contains(found, t.name), r.all)
		equal(c, what+": lists topics", len(found) > 0, r.all)
	}
}

// metadataFor asks for one topic by name, in the given version.
func (n *conn) metadataFor(version int16, topicName string, create bool) kmsg.MetadataResponseTopic {
	n.c.Helper()
	req := kmsg.NewPtrMetadataRequest()
	row := kmsg.NewMetadataRequestTopic()
	row.Topic = &topicName
	req.Version, req.AllowAutoTopicCreation, req.Topics = version, create, append(req.Topics, row)
	return ask[*kmsg.MetadataResponse](n, req).Topics[0]
}

// autoCreation is rules 7.1.3 to 7.1.6. Below v4 the request cannot forbid it.
func autoCreation(c *check) {
	n := c.dial()
	forbidden := c.newName()
	for range 3 {
		c.wantCode("an unknown topic that may not be created", n.metadataFor(4, forbidden, false).ErrorCode, kerr.UnknownTopicOrPartition)
		time.Sleep(pollEvery)
	}
	for _, version := range []int16{1, 4, 12} {
		created := c.newName()
		first := n.metadataFor(version, created, true).ErrorCode
		if first != kerr.UnknownTopicOrPartition.Code && first != kerr.LeaderNotAvailable.Code {
			c.Errorf("v%d, the first question for an unknown topic: %s, want 3 or 5", version, codeName(first))
		}
		n.eventually("the topic is created", func() bool {
			row := n.metadataFor(version, created, true)
			return row.ErrorCode == 0 && len(row.Partitions) == 1 && row.Partitions[0].ErrorCode == 0
		})
	}
	for _, illegal := range []string{"a b", "", "."} {
		c.wantCode(fmt.Sprintf("name %q", illegal), n.metadataFor(12, illegal, true).ErrorCode, kerr.InvalidTopicException)
	}
	c.wantCode("the topic that may not be created, at last", n.metadataFor(4, forbidden, false).ErrorCode, kerr.UnknownTopicOrPartition)
}

func topicsByID(c *check) {
	t, n := c.topic(), c.dial()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	known, unknown := kmsg.NewMetadataRequestTopic(), kmsg.NewMetadataRequestTopic()
	known.TopicID, unknown.TopicID = t.id, [16]byte{1, 2, 3}
	req.Topics = append(req.Topics, known, unknown)
	for _, row := range ask[*kmsg.MetadataResponse](n, req).Topics {
		if row.TopicID == t.id {
			c.wantCode("my topic by its id", row.ErrorCode, nil)
			if row.Topic == nil || *row.Topic != t.name {
				c.Errorf("my topic by its id has the name %v", row.Topic)
			}
			continue
		}
		equal(c, "id of the unknown topic", row.TopicID, unknown.TopicID)
		c.wantCode("an unknown id", row.ErrorCode, kerr.UnknownTopicID)
		if row.Topic != nil {
			c.Errorf("an unknown id has the name %q", *row.Topic)
		}
	}
}

func listenerAddresses(c *check) {
	for _, address := range []string{c.b.address, c.b.second} {
		n := c.dialTo(address)
		for _, version := range []int16{0, 1, 12} {
			req := kmsg.NewPtrMetadataRequest()
			req.Version, req.Topics = version, []kmsg.MetadataRequestTopic{}
			b := ask[*kmsg.MetadataResponse](n, req).Brokers
			if len(b) != 1 {
				c.Fatalf("brokers %+v, want one", b)
			}
			equal(c, name(req), fmt.Sprintf("%s:%d", b[0].Host, b[0].Port), address)
		}
		cluster := ask[*kmsg.DescribeClusterResponse](n, newest(c, kmsg.NewPtrDescribeClusterRequest())).Brokers
		equal(c, "DescribeCluster", fmt.Sprintf("%s:%d", cluster[0].Host, cluster[0].Port), address)
	}
}

func describeInPages(c *check) {
	n := c.dial()
	const topics, partitions, limit = 3, 5, 3
	req := newest(c, kmsg.NewPtrDescribeTopicPartitionsRequest())
	req.ResponsePartitionLimit = limit
	for range topics {
		row := kmsg.NewDescribeTopicPartitionsRequestTopic()
		row.Topic = c.topicOf(partitions).name
		req.Topics = append(req.Topics, row)
	}
	seen := map[string]int{}
	pages := 0
	for more := true; more; pages++ {
		resp := ask[*kmsg.DescribeTopicPartitionsResponse](n, req)
		onPage := 0
		for _, t := range resp.Topics {
			c.wantCode("a topic in a page", t.ErrorCode, nil)
			for _, p := range t.Partitions {
				seen[fmt.Sprint(*t.Topic, "/", p.Partition)]++
				onPage++
			}
		}
		if more = resp.NextCursor != nil; more {
			equal(c, "partitions on a page", onPage, limit)
			cursor := kmsg.NewDescribeTopicPartitionsRequestCursor()
			cursor.Topic, cursor.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
			req.Cursor = &cursor
		}
		if pages > topics*partitions {
			c.Fatal("the pages do not end")
		}
	}
	equal(c, "pages", pages, topics*partitions/limit)
	equal(c, "partitions", len(seen), topics*partitions)
	for partition, times := range seen {
		equal(c, "times that "+partition+" is named", times, 1)
	}
}
