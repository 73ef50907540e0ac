package assert

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
	"github.com/kbroker/kbroker/integration/rawconn"
)

const (
	// answerLimit is how long anything that should happen at once may take on a busy machine.
	answerLimit = 45 * time.Second
	// longWait is a max_wait that no answer may use up: it is well beyond answerLimit.
	longWait = 3 * time.Minute
	// quietFor is how long a connection is watched to see that nothing comes. Longer finds more, and costs more.
	quietFor = 300 * time.Millisecond
	// pollEvery is the pause between two looks at something that changes by itself.
	pollEvery = 5 * time.Millisecond
)

// check is one assertion while it is made about one broker.
type check struct {
	*testing.T
	*member
	b      *broker
	id     string // begins the names of its topics, which no other assertion uses
	topics int    // created so far
}

// conn is a connection of a check. What goes wrong on it fails the check.
type conn struct {
	*rawconn.Conn
	c *check
}

// dial connects to the broker's first listener.
func (c *check) dial() *conn {
	c.Helper()
	return c.dialTo(c.b.address)
}

func (c *check) dialTo(address string) *conn {
	c.Helper()
	raw, err := rawconn.Dial(address)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(raw.Close)
	return &conn{raw, c}
}

// newest sets a request to the newest version that the broker serves, and returns it.
func newest[R kmsg.Request](c *check, req R) R {
	req.SetVersion(c.b.apis[req.Key()].MaxVersion)
	return req
}

// ask sends a request and returns its answer.
func ask[R kmsg.Response](n *conn, req kmsg.Request) R {
	n.c.Helper()
	start(n, req)
	return answer[R](n, req)
}

func start(n *conn, req kmsg.Request) {
	n.c.Helper()
	if err := n.Start(req); err != nil {
		n.c.Fatalf("sending %s: %v", name(req), err)
	}
}

func answer[R kmsg.Response](n *conn, req kmsg.Request) R {
	n.c.Helper()
	resp, err := n.Finish(req)
	if err != nil {
		n.c.Fatalf("%s: %v", name(req), err)
	}
	return resp.(R)
}

func name(req kmsg.Request) string {
	return fmt.Sprintf("%s v%d", kmsg.NameForKey(req.Key()), req.GetVersion())
}

// wantClosed asserts that the broker closes the connection without another byte.
func (n *conn) wantClosed(after string) {
	n.c.Helper()
	frame, err := n.Receive(answerLimit)
	if !errors.Is(err, rawconn.ErrClosed) {
		n.c.Errorf("after %s: %v and %d bytes; the connection must be closed without an answer", after, err, len(frame))
	}
}

// send sends bytes as they are. A broker that closes while they are under way is no error: what follows will see it.
func (n *conn) send(frame []byte) {
	n.c.Helper()
	if err := n.Send(frame); err != nil && !errors.Is(err, rawconn.ErrClosed) {
		n.c.Fatal(err)
	}
}

// wantAlive asserts that the connection is usable.
func (n *conn) wantAlive(after string) {
	n.c.Helper()
	if _, err := n.Do(kmsg.NewPtrApiVersionsRequest()); err != nil {
		n.c.Errorf("after %s: %v; the connection must stay usable", after, err)
	}
}

// wantQuiet asserts that a request that was sent at the given time is not answered before its time to wait is over, so far as
// that can be seen within quietFor. An answer that comes late, since the machine is busy, is none that came early.
func (n *conn) wantQuiet(what string, sent time.Time, wait time.Duration) {
	n.c.Helper()
	if !n.Quiet(quietFor) && time.Since(sent) < wait {
		n.c.Errorf("%s: an answer or the end came after %s at most, want one after %s", what, time.Since(sent), wait)
	}
}

// wantCode asserts an error code. want is nil for none.
func (c *check) wantCode(what string, have int16, want *kerr.Error) {
	c.Helper()
	if have != code(want) {
		c.Errorf("%s: %s, want %s", what, codeName(have), codeName(code(want)))
	}
}

func code(e *kerr.Error) int16 {
	if e == nil {
		return 0
	}
	return e.Code
}

func codeName(code int16) string {
	if code == 0 {
		return "no error"
	}
	if e := kerr.TypedErrorForCode(code); e != nil {
		return fmt.Sprintf("%s (%d)", e.Message, code)
	}
	return fmt.Sprintf("unknown error code %d", code)
}

// equal asserts that two values are the same.
func equal[V comparable](c *check, what string, have, want V) {
	c.Helper()
	if have != want {
		c.Errorf("%s: %v, want %v", what, have, want)
	}
}

// eventually waits until something becomes true.
func (n *conn) eventually(what string, so func() bool) {
	n.c.Helper()
	n.c.within(answerLimit, what, so)
}

// within waits until something becomes true that may take longer.
func (c *check) within(limit time.Duration, what string, so func() bool) {
	c.Helper()
	for deadline := time.Now().Add(limit); !so(); time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			c.Fatalf("still not so after %s: %s", limit, what)
		}
	}
}

// to is what one partition gets in a Produce request.
type to struct {
	topic     topic
	partition int32
	records   []byte
}

// produceRequest asks for acks=all in the newest version. Topics that follow each other share a row.
func produceRequest(parts ...to) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 13, -1, 10_000
	for _, p := range parts {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != p.topic.name {
			row := kmsg.NewProduceRequestTopic()
			row.Topic, row.TopicID = p.topic.name, p.topic.id
			req.Topics = append(req.Topics, row)
		}
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = p.partition, p.records
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, part)
	}
	return req
}

// produce sends bytes to partition 0 with acks=all and returns the row that answers.
func (n *conn) produce(t topic, records []byte) kmsg.ProduceResponseTopicPartition {
	n.c.Helper()
	return ask[*kmsg.ProduceResponse](n, produceRequest(to{t, 0, records})).Topics[0].Partitions[0]
}

// append produces a batch that must be accepted, and returns its base offset.
func (n *conn) append(t topic, b *batch.Batch) int64 {
	n.c.Helper()
	row := n.produce(t, b.Encode())
	if row.ErrorCode != 0 {
		n.c.Fatalf("producing %d records: %s", b.Count, codeName(row.ErrorCode))
	}
	return row.BaseOffset
}

// records makes a batch of n small records with the time of now.
func records(n int) *batch.Batch {
	var list []batch.Record
	for i := range n {
		list = append(list, batch.KV(fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	return batch.New(time.Now().UnixMilli(), list...)
}

// from is what a Fetch request asks of one partition.
type from struct {
	topic       topic
	partition   int32
	offset      int64
	maxBytes    int32
	leaderEpoch int32 // the one that the client knows, -1: none
	lastEpoch   int32 // of the last batch fetched, -1: none
}

// at asks for up to 1 MiB of partition 0.
func at(t topic, offset int64) from { return from{t, 0, offset, 1 << 20, -1, -1} }

// fetchRequest asks in the newest version, without a session, and does not wait.
func fetchRequest(parts ...from) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.SessionEpoch = 18, 50<<20, -1
	for _, p := range parts {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != p.topic.name {
			row := kmsg.NewFetchRequestTopic()
			row.Topic, row.TopicID = p.topic.name, p.topic.id
			req.Topics = append(req.Topics, row)
		}
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.partition, p.offset, p.maxBytes
		part.CurrentLeaderEpoch, part.LastFetchedEpoch = p.leaderEpoch, p.lastEpoch
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, part)
	}
	return req
}

// waiting makes a fetch wait for bytes.
func waiting(req *kmsg.FetchRequest, wait time.Duration, minBytes int32) *kmsg.FetchRequest {
	req.MaxWaitMillis, req.MinBytes = int32(wait.Milliseconds()), minBytes
	return req
}

// fetch asks for one row.
func (n *conn) fetch(p from) kmsg.FetchResponseTopicPartition {
	n.c.Helper()
	return rows(ask[*kmsg.FetchResponse](n, fetchRequest(p)))[0]
}

// rows are the partition rows of an answer in their order.
func rows(resp *kmsg.FetchResponse) []kmsg.FetchResponseTopicPartition {
	var all []kmsg.FetchResponseTopicPartition
	for _, t := range resp.Topics {
		all = append(all, t.Partitions...)
	}
	return all
}

// batches decodes what was fetched, checking CRCs. A cut last batch is left out.
func (c *check) batches(row kmsg.FetchResponseTopicPartition) []*batch.Batch {
	c.Helper()
	list, _, err := batch.Decode(row.RecordBatches)
	if err != nil {
		c.Fatalf("what was fetched: %v", err)
	}
	return list
}

// The special timestamps of ListOffsets (rule 6.7.1).
const (
	latest       = -1
	earliest     = -2
	maxTimestamp = -3
)

// query is one row of a ListOffsets request.
type query struct {
	topic     topic
	partition int32
	timestamp int64
}

func listOffsetsRequest(c *check, asked ...query) *kmsg.ListOffsetsRequest {
	req := newest(c, kmsg.NewPtrListOffsetsRequest())
	req.ReplicaID = -1
	for _, q := range asked {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != q.topic.name {
			row := kmsg.NewListOffsetsRequestTopic()
			row.Topic = q.topic.name
			req.Topics = append(req.Topics, row)
		}
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp, part.CurrentLeaderEpoch = q.partition, q.timestamp, -1
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, part)
	}
	return req
}

func (n *conn) listOffsets(asked ...query) []kmsg.ListOffsetsResponseTopicPartition {
	n.c.Helper()
	var all []kmsg.ListOffsetsResponseTopicPartition
	for _, t := range ask[*kmsg.ListOffsetsResponse](n, listOffsetsRequest(n.c, asked...)).Topics {
		all = append(all, t.Partitions...)
	}
	return all
}

// end is the high watermark of partition 0, which is its log end once everything is acknowledged.
func (n *conn) end(t topic) int64 {
	n.c.Helper()
	row := n.listOffsets(query{t, 0, latest})[0]
	n.c.wantCode("asking for the end", row.ErrorCode, nil)
	return row.Offset
}

// producer is a producer id.
type producer struct {
	id    int64
	epoch int16
}

// newProducer asks for one, again for as long as a broker that has just started has no ids yet (rule 4.5.6).
func (n *conn) newProducer() (p producer) {
	n.c.Helper()
	n.eventually("the broker gives out producer ids", func() bool {
		resp := ask[*kmsg.InitProducerIDResponse](n, newest(n.c, kmsg.NewPtrInitProducerIDRequest()))
		p = producer{resp.ProducerID, resp.ProducerEpoch}
		if resp.ErrorCode != 0 && resp.ErrorCode != kerr.CoordinatorLoadInProgress.Code {
			n.c.Fatalf("getting a producer id: %s", codeName(resp.ErrorCode))
		}
		return resp.ErrorCode == 0
	})
	return p
}

// batch makes a producer's batch of count records.
func (p producer) batch(sequence int32, count int) *batch.Batch {
	b := records(count)
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = p.id, p.epoch, sequence
	return b
}
