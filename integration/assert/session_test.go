package assert

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sessions is about incremental Fetch (chapter 6.5 of the rules).
var sessions = []assertion{
	{number: "T084", claim: "an incremental Fetch returns only what changed", try: incremental},
	{number: "T085", claim: "a wrong session epoch is error 71, an unknown session 70, names and ids mixed 106", try: sessionErrors},
	{number: "T086", claim: "a session whose partitions are all forgotten ends", try: forgetAll},
	{number: "T087", claim: "a partition with an error is in every answer until the error goes away", try: errorsRepeat},
	{number: "T088", claim: "a high watermark that moved is reported without records", try: highWatermarkAlone},
}

// session is a fetch session, with requests by name.
type session struct {
	*conn
	id, epoch int32
	version   int16
}

// newSession opens a session and returns the full answer.
func (n *conn) newSession(version int16, parts ...from) (*session, *kmsg.FetchResponse) {
	n.c.Helper()
	req := fetchRequest(parts...)
	req.Version, req.SessionEpoch = version, 0
	resp := ask[*kmsg.FetchResponse](n, req)
	if resp.ErrorCode != 0 || resp.SessionID == 0 {
		n.c.Fatalf("opening a fetch session: %s, session id %d", codeName(resp.ErrorCode), resp.SessionID)
	}
	return &session{n, resp.SessionID, 1, version}, resp
}

// next sends the next request of the session with changes to its partitions.
func (s *session) next(changes ...from) *kmsg.FetchResponse {
	s.c.Helper()
	resp := s.send(fetchRequest(changes...))
	equal(s.c, "session id", resp.SessionID, s.id)
	return resp
}

func (s *session) send(req *kmsg.FetchRequest) *kmsg.FetchResponse {
	s.c.Helper()
	req.Version, req.SessionID, req.SessionEpoch = s.version, s.id, s.epoch
	s.epoch++
	resp := ask[*kmsg.FetchResponse](s.conn, req)
	s.c.wantCode("an incremental Fetch", resp.ErrorCode, nil)
	return resp
}

func incremental(c *check) {
	t, n := c.topicOf(3), c.dial()
	part := func(p int32, offset int64) from {
		f := at(t, offset)
		f.partition = p
		return f
	}
	for _, version := range []int16{7, 12, 18} {
		end := n.end(t)
		s, full := n.newSession(version, part(0, end), part(1, 0), part(2, 0))
		equal(c, "partitions in the full answer", len(rows(full)), 3)
		equal(c, "topics when nothing changed", len(s.next().Topics), 0)
		n.append(t, records(2))
		changed := rows(s.next())
		if len(changed) != 1 || changed[0].Partition != 0 {
			c.Fatalf("v%d: after a batch for partition 0 the answer has %+v", version, changed)
		}
		equal(c, "batches", len(c.batches(changed[0])), 1)
		equal(c, "high watermark", changed[0].HighWatermark, end+2)
		equal(c, "topics once the offset moved on", len(s.next(part(0, end+2)).Topics), 0)
	}
}

func sessionErrors(c *check) {
	t, n := c.topic(), c.dial()
	s, _ := n.newSession(12, at(t, 0))
	for _, r := range []struct {
		what      string
		version   int16
		id, epoch int32
		want      *kerr.Error
	}{
		{"a session epoch too far", 12, s.id, 2, kerr.InvalidFetchSessionEpoch},
		{"a session that is not there", 12, s.id ^ 1, 1, kerr.FetchSessionIDNotFound},
		{"a session of names used with ids", 13, s.id, 1, kerr.FetchSessionTopicIDError},
	} {
		req := fetchRequest()
		req.Version, req.SessionID, req.SessionEpoch = r.version, r.id, r.epoch
		resp := ask[*kmsg.FetchResponse](n, req)
		c.wantCode(r.what, resp.ErrorCode, r.want)
		equal(c, "topics with an error", len(resp.Topics), 0)
	}
	s.next() // the session has survived
}

func forgetAll(c *check) {
	t, n := c.topic(), c.dial()
	s, _ := n.newSession(18, at(t, 0))
	req := fetchRequest()
	forgotten := kmsg.NewFetchRequestForgottenTopic()
	forgotten.TopicID, forgotten.Partitions = t.id, []int32{0}
	req.ForgottenTopics = append(req.ForgottenTopics, forgotten)
	resp := s.send(req)
	equal(c, "session id", resp.SessionID, 0)
	equal(c, "topics", len(resp.Topics), 0)
	gone := fetchRequest()
	gone.SessionID, gone.SessionEpoch = s.id, s.epoch
	c.wantCode("the session after that", ask[*kmsg.FetchResponse](n, gone).ErrorCode, kerr.FetchSessionIDNotFound)
}

// errorsRepeat uses names, by which a topic can come back.
func errorsRepeat(c *check) {
	gone, stays, n := c.topic(), c.topic(), c.dial()
	s, _ := n.newSession(12, at(gone, 0), at(stays, 0))
	equal(c, "topics when nothing changed", len(s.next().Topics), 0)
	n.deleteTopic(gone)
	n.eventually("the session learns of it", func() bool { return len(s.next().Topics) > 0 })
	for range 3 {
		list := rows(s.next())
		if len(list) != 1 {
			c.Fatalf("%d rows while one topic of two is gone, want 1", len(list))
		}
		c.wantCode("a deleted topic", list[0].ErrorCode, kerr.UnknownTopicOrPartition)
	}
	row := kmsg.NewCreateTopicsRequestTopic()
	row.Topic, row.NumPartitions, row.ReplicationFactor = gone.name, 1, 1
	c.create(row)
	back := rows(s.next())
	if len(back) != 1 || back[0].ErrorCode != 0 {
		c.Fatalf("rows %+v when the topic is back, want one without an error", back)
	}
	equal(c, "topics after that", len(s.next().Topics), 0)
}

// highWatermarkAlone moves the session's offset to the new end together with the high watermark, so that there is
// nothing else to report (rule 6.5.8).
func highWatermarkAlone(c *check) {
	t, n := c.topic(), c.dial()
	n.append(t, records(1))
	s, _ := n.newSession(18, at(t, 1))
	n.append(t, records(1))
	list := rows(s.next(at(t, 2)))
	if len(list) != 1 {
		c.Fatalf("%d rows, want the one whose high watermark moved", len(list))
	}
	equal(c, "bytes", len(list[0].RecordBatches), 0)
	equal(c, "high watermark", list[0].HighWatermark, 2)
	equal(c, "topics after that", len(s.next().Topics), 0)
}
