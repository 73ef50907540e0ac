package handler

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// Produce, key 0, versions 3 to 13; 0 to 2 are advertised for old librdkafka but closed (rule 1.4.9).
//
//	5  log start offset in the answer      9  flexible          12  implicit add to a transaction (KIP-890)
//	7  zstd                               10  leader hints      13  topic ids instead of names
//	8  record errors and a message        11  error 120
//
// Stage one decodes in place, admits, validates and stages every partition; the connection's Flush writes what all
// pipelined requests staged, with one system call per partition; stage two waits for acknowledgements.

// producePool holds replies for reuse.
type producePool struct{ p sync.Pool }

func (p *producePool) get() *produceReply {
	if v := p.p.Get(); v != nil {
		return v.(*produceReply)
	}
	r := &produceReply{waiter: replica.NewWaiter()}
	r.timer = time.NewTimer(time.Hour)
	r.timer.Stop()
	return r
}

// produceRow is one partition of a request.
type produceRow struct {
	index    int32
	p        *replica.Partition
	append   log.Append
	ack      replica.Ack
	staged   bool // append is in the log's queue or, as a duplicate, needs nothing but its acknowledgement
	awaiting bool // ack is with the partition
	err      error
	size     int   // of the batch as it was sent, in bytes
	logStart int64 // of an error that carries it (rule 6.1.9)
}

// A batch takes record.HeaderSize bytes at least, so an honest request has no more rows than its size tells; the few beyond
// that are for requests with empty rows, which are answered one by one. A row takes some 80 times the bytes of an empty one.
const (
	maxBareRows    = 1000
	maxProduceRows = 100_000 // topics and partitions, far more than a broker leads
)

// produceTopic is one topic of a request: rows[first:first+n].
type produceTopic struct {
	name     []byte // in produceReply.names
	id       metadata.UUID
	first, n int
}

// startProduce runs stage one of a Produce request.
func (c *connection) startProduce(h *wire.Header, body []byte) (wire.Reply, error) {
	cur := cursor{b: body, flex: h.Flexible}
	// The structure is walked before anything is done: a frame cut in its middle must have no effect.
	topics, rows, names := measureProduce(cur, h.Version)
	if rows < 0 {
		return nil, errors.New("malformed Produce request")
	}
	if n := topics + rows; n > maxProduceRows || n > maxBareRows+len(body)/record.HeaderSize {
		return nil, fmt.Errorf("produce request of %d bytes for %d topics and %d partitions: too many", len(body), topics, rows)
	}
	r := c.svc.produce.get()
	r.reset(c, h, topics, rows, names)
	txnID := cur.string()
	r.acks = cur.int16()
	now := time.Now()
	r.deadline = now.Add(time.Duration(cur.int32()) * time.Millisecond)
	refused := c.refuses(txnID, cur, h.Version)
	next := 0
	for n := cur.array(1); n > 0; n-- {
		t := produceTopic{first: next}
		var allowed bool
		t.name, t.id, allowed = c.produceTopic(&cur, r, h.Version)
		for t.n = cur.array(1); next < t.first+t.n; next++ {
			row := &r.rows[next]
			row.index = cur.int32()
			batch := cur.bytes()
			row.size = len(batch)
			cur.tags(nil)
			switch {
			case refused != nil:
				row.err = refused
			case !allowed:
				row.err = kerr.TopicAuthorizationFailed
			default:
				c.produceRow(r, &t, row, batch, txnID != nil, h.Version, now)
			}
		}
		cur.tags(nil)
		if t.n > 0 { // a topic without partitions is left out of the answer
			r.topics = append(r.topics, t)
		}
	}
	c.started = append(c.started, r)
	if r.acks == 0 {
		return nil, nil // Flush releases r, and closes the connection if a row failed (rule 1.5.4)
	}
	return r, nil
}

// measureProduce walks the structure of a request and returns its numbers of topics and partitions and the bytes of its
// topic names; -1 partitions if it is malformed.
func measureProduce(cur cursor, version int16) (topics, rows, names int) {
	cur.string()
	cur.take(6)
	topics = cur.array(1)
	for n := topics; n > 0 && !cur.bad; n-- {
		if version >= 13 {
			cur.take(16)
		} else {
			names += len(cur.required())
		}
		parts := cur.array(1)
		rows += parts
		for ; parts > 0 && !cur.bad; parts-- {
			cur.int32()
			cur.bytes()
			cur.tags(nil)
		}
		cur.tags(nil)
	}
	cur.tags(nil)
	if cur.bad {
		return 0, -1, 0
	}
	return topics, rows, names
}

// produceTopic reads a topic's name or id and authorizes it. The name is copied: the reply outlives the request's buffer.
func (c *connection) produceTopic(cur *cursor, r *produceReply, version int16) (name []byte, id metadata.UUID, allowed bool) {
	d := c.svc.deps
	if version >= 13 {
		copy(id[:], cur.take(16))
		t := d.Metadata.Load().TopicByID(id)
		// An unknown id is answered as such, whoever asks: there is no name to authorize.
		return nil, id, t == nil || c.allowed(acl.Write, acl.Topic, t.Name)
	}
	from := len(r.names)
	r.names = append(r.names, cur.required()...)
	name = r.names[from:len(r.names):len(r.names)]
	return name, id, c.mayWriteBytes(name)
}

// mayWriteBytes asks with a name that is not a string yet. Without an authorizer the answer costs no allocation.
func (c *connection) mayWriteBytes(topic []byte) bool {
	if _, all := c.svc.deps.Authorizer.(acl.AllowAll); all {
		return true
	}
	return c.allowed(acl.Write, acl.Topic, string(topic))
}

// refuses returns the error of the whole request when one of its batches is transactional and may not be (rule 5.5.1), or
// cannot be told to be because it does not begin as one, nil otherwise. cur stands before the topics.
func (c *connection) refuses(txnID []byte, cur cursor, version int16) error {
	transactional, pid := false, int64(-1)
	for n := cur.array(1); n > 0; n-- {
		if version >= 13 {
			cur.take(16)
		} else {
			cur.string()
		}
		for parts := cur.array(1); parts > 0; parts-- {
			cur.int32()
			b := record.Batch(cur.bytes())
			cur.tags(nil)
			if !transactional {
				if err := record.Unreadable(b); err != nil {
					return err
				}
			}
			if len(b) < record.HeaderSize || b.Magic() != 2 || !b.IsTransactional() {
				continue
			}
			transactional = true
			if txnID == nil || !c.allowed(acl.Write, acl.TransactionalID, string(txnID)) {
				return kerr.TransactionalIDAuthorizationFailed
			}
			if pid >= 0 && b.ProducerID() != pid {
				return kerr.InvalidProducerIDMapping
			}
			pid = b.ProducerID()
		}
		cur.tags(nil)
	}
	return nil
}

// produceRow admits, validates and stages one batch, in the order of rule 6.1.1.
func (c *connection) produceRow(r *produceReply, t *produceTopic, row *produceRow, batch []byte, transactional bool, version int16, now time.Time) {
	d := c.svc.deps
	if version >= 13 {
		row.p = d.Replicas.LookupID(t.id, row.index)
	} else {
		row.p = d.Replicas.Lookup(t.name, row.index)
	}
	if row.p == nil {
		row.err = c.unknownPartition(t, row.index, version)
		return
	}
	if err := record.CheckRequest(batch, version); err != nil { // rule 2.4.1
		row.err = err
		return
	}
	if transactional && record.Batch(batch).IsTransactional() {
		// No transactional id is known to a coordinator, so none has this producer id.
		row.err = kerr.InvalidProducerIDMapping
		return
	}
	if r.acks < -1 || r.acks > 1 {
		row.err = kerr.InvalidRequiredAcks
		return
	}
	if isInternal(row.p.Topic) && c.clientID != adminClient {
		row.err = kerr.InvalidTopicException
		return
	}
	if err := row.p.Admit(r.acks); err != nil {
		row.err = err
		return
	}
	options := validation(row.p.Log().Config(), version, now, d.Codecs)
	res, err := record.Validate(batch, &options, &c.scratch)
	if err != nil {
		row.fail(err)
		return
	}
	if &res.Batch[0] != &batch[0] {
		// A recompressed batch lies in the scratch, which the next row needs.
		res.Batch = append(record.Batch(nil), res.Batch...)
		c.copies, c.copied = append(c.copies, row), c.copied+len(res.Batch)
	}
	row.append.Batch, row.append.Info, row.append.Origin = res.Batch, res.Info, log.OriginClient
	row.append.Now = options.Now
	if err := row.p.Stage(&row.append, r.acks); err != nil {
		row.fail(err)
		return
	}
	row.staged = true
	c.stage(row.p)
	if c.copied > maxCopied {
		c.write()
	}
}

// maxCopied bounds the bytes of rebuilt batches that wait for the Flush: a small compressed batch may become a large one.
const maxCopied = 4 << 20

// validation is what record.Validate has to know of the topic and the request.
func validation(c *log.Config, version int16, now time.Time, codecs *record.Codecs) record.ValidateOptions {
	return record.ValidateOptions{
		Origin: record.OriginClient, ProduceVersion: version, MaxMessageBytes: c.MaxMessageBytes, Compact: c.Compact,
		TimestampType: c.TimestampType, BeforeMaxMs: c.TimestampBeforeMaxMs, AfterMaxMs: c.TimestampAfterMaxMs,
		Now: now.UnixMilli(), Compression: c.Compression, Codecs: codecs,
	}
}

// adminClient may write to internal topics (rule 6.1.3).
const adminClient = "__admin_client"

// fail records an error and, where Kafka does, the log start offset that goes with it (rule 6.1.9).
func (row *produceRow) fail(err error) {
	row.err = err
	var re *record.Error
	if errors.As(err, &re) && re.WithLogStart || errors.Is(err, kerr.OutOfOrderSequenceNumber) || errors.Is(err, kerr.InvalidProducerEpoch) {
		row.logStart = row.p.Log().StartOffset()
	}
}

// unknownPartition tells a partition that does not exist from one that lives elsewhere.
func (c *connection) unknownPartition(t *produceTopic, index int32, version int16) error {
	im := c.svc.deps.Metadata.Load()
	var topic *metadata.Topic
	if version >= 13 {
		if topic = im.TopicByID(t.id); topic == nil {
			return kerr.UnknownTopicID
		}
	} else if topic = im.Topic(string(t.name)); topic == nil {
		return kerr.UnknownTopicOrPartition
	}
	if index < 0 || int(index) >= len(topic.Partitions) {
		return kerr.UnknownTopicOrPartition
	}
	return kerr.NotLeaderForPartition
}

// stage remembers that a partition has something to flush. Requests mostly go to the partition of the one before.
func (c *connection) stage(p *replica.Partition) {
	for i := len(c.staged) - 1; i >= 0 && i >= len(c.staged)-maxStagedScan; i-- {
		if c.staged[i] == p {
			return
		}
	}
	c.staged = append(c.staged, p)
}

// maxStagedScan bounds the search for a partition that is staged already; flushing one twice costs a lock.
const maxStagedScan = 16

// write writes what was staged.
func (c *connection) write() {
	for i, p := range c.staged {
		_ = p.Flush() // each append carries its own error
		c.staged[i] = nil
	}
	c.staged = c.staged[:0]
	for i, row := range c.copies {
		row.append.Batch, c.copies[i] = nil, nil
	}
	c.copies, c.copied = c.copies[:0], 0
}

// Flush implements wire.Session: it writes what was staged, then asks for the acknowledgements.
func (c *connection) Flush() error {
	c.countRequests()
	if len(c.staged) > 0 && c.limited.Limited(quota.RequestTime) {
		began := time.Now()
		defer func() { c.busy += time.Since(began) }() // the next request counts it
	}
	c.write()
	var err error
	for i, r := range c.started {
		c.started[i] = nil
		r.await()
		if r.acks == 0 {
			err = errors.Join(err, r.firstError())
			r.Release()
		}
	}
	c.started = c.started[:0]
	return err
}
