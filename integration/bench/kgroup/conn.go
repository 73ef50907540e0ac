//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// callPatience bounds every wait for an answer: a join waits for the slowest member.
const callPatience = 2 * time.Minute

// conn is one connection to the broker. One goroutine sends and one receives; they may be the same.
type conn struct {
	net.Conn
	in    *bufio.Reader
	out   []byte
	frame []byte
	next  int32
	form  *kmsg.RequestFormatter
}

func dial(o *options) *conn {
	c, err := net.Dial("tcp", o.addr)
	must(err)
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 4<<10), form: kmsg.NewRequestFormatter(kmsg.FormatterClientID("kgroup"))}
}

// send writes one request.
func (c *conn) send(q kmsg.Request) error {
	c.out = c.form.AppendRequest(c.out[:0], q, c.next)
	c.next++
	_, err := c.Write(c.out)
	return err
}

// receive reads the answer to the oldest request that is not answered yet, which was q or one of its kind.
func (c *conn) receive(q kmsg.Request) (kmsg.Response, error) {
	if err := c.SetReadDeadline(time.Now().Add(callPatience)); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:])) - 4
	if cap(c.frame) < n {
		c.frame = make([]byte, n)
	}
	body := c.frame[:n]
	if _, err := io.ReadFull(c.in, body); err != nil {
		return nil, err
	}
	if q.IsFlexible() {
		body = body[1:] // the header's tags: brokers send none
	}
	r := q.ResponseKind()
	r.SetVersion(q.GetVersion())
	if err := r.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("answer to %s: %w", kmsg.NameForKey(q.Key()), err)
	}
	return r, nil
}

// call sends a request and waits for its answer.
func call[R kmsg.Response](c *conn, q kmsg.Request) R {
	must(c.send(q))
	r, err := c.receive(q)
	must(err)
	return r.(R)
}

// withTopic creates the topic, waits until the coordinator of groups serves, does the work and deletes the topic.
func withTopic(o *options, partitions int, work func()) {
	c := dial(o)
	defer c.Close()
	createTopics(c, []string{o.topic}, partitions)
	defer deleteTopics(c, []string{o.topic})
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKey = 3, "kgroup"
	for {
		r := call[*kmsg.FindCoordinatorResponse](c, find)
		if r.ErrorCode == 0 {
			break
		}
		retriable(r.ErrorCode)
		time.Sleep(10 * time.Millisecond)
	}
	work()
}

// retriable ends the process unless the error goes away by itself.
func retriable(code int16) {
	if !kerr.IsRetriable(kerr.ErrorForCode(code)) {
		fail(kerr.ErrorForCode(code))
	}
}

func createTopics(c *conn, names []string, partitions int) {
	q := kmsg.NewPtrCreateTopicsRequest()
	q.Version, q.TimeoutMillis = 2, 60000
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(partitions), 1
		q.Topics = append(q.Topics, t)
	}
	for _, t := range call[*kmsg.CreateTopicsResponse](c, q).Topics {
		must(kerr.ErrorForCode(t.ErrorCode))
	}
}

func deleteTopics(c *conn, names []string) {
	q := kmsg.NewPtrDeleteTopicsRequest()
	q.Version, q.TimeoutMillis, q.TopicNames = 1, 60000, names
	for _, t := range call[*kmsg.DeleteTopicsResponse](c, q).Topics {
		must(kerr.ErrorForCode(t.ErrorCode))
	}
}
