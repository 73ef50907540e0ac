package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/vfs"
)

const (
	stormClients = 48
	stormTime    = 2 * time.Second
	// stormPatience is when an answer that has not come counts as stuck. What waits longest here are joins of a rebalance
	// that a hung-up member holds up, for one session.
	stormPatience = 60 * time.Second
	stormTopic    = "t"
)

// TestGroupStorm: whatever members of groups ask at the same time, of few partitions and a real disk, pipelined and with
// some who hang up in the middle, every answer comes; and when all have gone nothing of them is left running.
func TestGroupStorm(t *testing.T) {
	b := startOnDisk(t, "offsets.topic.num.partitions=2", "group.initial.rebalance.delay.ms=20", "group.min.session.timeout.ms=500",
		"group.consumer.min.session.timeout.ms=500", "group.consumer.session.timeout.ms=500",
		"group.consumer.min.heartbeat.interval.ms=10", "group.consumer.heartbeat.interval.ms=10", "group.consumer.assignment.interval.ms=0")
	c := newPlainClient(t, b)
	c.create(stormTopic, 8)
	c.awaitGroups()
	before := runtime.NumGoroutine()
	var answers atomic.Int64
	var all sync.WaitGroup
	until := time.Now().Add(stormTime)
	for i := range stormClients {
		all.Go(func() {
			s := &stormer{addr: b.Addr().String(), r: rand.New(rand.NewPCG(7, uint64(i))), name: fmt.Sprint("m", i), answers: &answers}
			for time.Now().Before(until) {
				if err := s.connection(until); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	eventually(t, "the goroutines of those who have gone to end", func() bool { return runtime.NumGoroutine() <= before+stormClients/4 })
	t.Logf("%d answers", answers.Load())
}

// startOnDisk starts a node on a directory of the test.
func startOnDisk(t *testing.T, options ...string) *Broker {
	t.Helper()
	settings, err := config.Load(config.Sources{Options: append([]string{"node.id=1", "log.dirs=" + filepath.ToSlash(t.TempDir()),
		"listeners=PLAINTEXT://127.0.0.1:0", "kbroker.http.listeners=127.0.0.1:0"}, options...)})
	if err != nil {
		t.Fatal(err)
	}
	store, err := config.NewStore(settings)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := Start(t.Context(), Options{Config: store, FS: vfs.OS(), Listen: net.Listen,
		Loggers: config.NewLoggers(logger.Handler(), slog.LevelWarn), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

// awaitGroups has the topic of groups created, and waits until its coordinators serve.
func (c *plainClient) awaitGroups() {
	c.t.Helper()
	eventually(c.t, "coordinators", func() bool {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.SetVersion(3)
		q.CoordinatorKey = "g"
		return c.ask(q).(*kmsg.FindCoordinatorResponse).ErrorCode == 0 && c.ask(kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse).ErrorCode == 0
	})
}

// stormer is one client of the storm. It is a member of a group of each protocol, and of one that migrates.
type stormer struct {
	addr    string
	r       *rand.Rand
	name    string
	answers *atomic.Int64
	conn    net.Conn
	id      int32

	epoch      [2]int32 // member epoch in the groups of KIP-848
	owned      [2][]kmsg.ConsumerGroupHeartbeatRequestTopic
	member     string // of the classic group
	generation int32
}

// connection connects, asks for some time, and hangs up, now and then in the middle.
func (s *stormer) connection(until time.Time) error {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	s.conn = conn
	for n := 1 + s.r.IntN(60); n > 0 && time.Now().Before(until); n-- {
		requests := []kmsg.Request{s.request()}
		for s.r.IntN(2) == 0 {
			requests = append(requests, s.request())
		}
		first := s.id + 1
		for _, q := range requests {
			s.id++
			if _, err := conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(s.name)).AppendRequest(nil, q, s.id)); err != nil {
				return err
			}
		}
		if s.r.IntN(50) == 0 {
			return nil
		}
		for i, q := range requests {
			if err := s.read(first+int32(i), q); err != nil {
				return fmt.Errorf("answer %d of %d, to a %T: %w", i+1, len(requests), q, err)
			}
		}
	}
	return nil
}

// read takes one answer.
func (s *stormer) read(id int32, q kmsg.Request) error {
	s.conn.SetReadDeadline(time.Now().Add(stormPatience))
	var size [4]byte
	if _, err := io.ReadFull(s.conn, size[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(s.conn, body); err != nil {
		return err
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != id {
		return fmt.Errorf("it has the number %d, not %d", got, id)
	}
	resp := q.ResponseKind()
	resp.SetVersion(q.GetVersion())
	body = body[4:]
	if resp.IsFlexible() {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return err
	}
	s.answers.Add(1)
	return s.learn(q, resp)
}

// learn takes over what an answer says.
func (s *stormer) learn(q kmsg.Request, resp kmsg.Response) error {
	switch r := resp.(type) {
	case *kmsg.ConsumerGroupHeartbeatResponse:
		g := 0
		if q.(*kmsg.ConsumerGroupHeartbeatRequest).Group == "k1" {
			g = 1
		}
		if r.ErrorCode != 0 {
			s.epoch[g], s.owned[g] = 0, nil
			break
		}
		s.epoch[g] = max(r.MemberEpoch, 0)
		if r.Assignment != nil {
			s.owned[g] = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			for _, t := range r.Assignment.Topics {
				row := kmsg.NewConsumerGroupHeartbeatRequestTopic()
				row.TopicID, row.Partitions = t.TopicID, t.Partitions
				s.owned[g] = append(s.owned[g], row)
			}
		}
	case *kmsg.JoinGroupResponse:
		if s.member = r.MemberID; r.ErrorCode != 0 && r.ErrorCode != 79 { // MEMBER_ID_REQUIRED
			s.member = ""
		}
		s.generation = r.Generation
	case *kmsg.OffsetFetchResponse:
		if r.ErrorCode < 0 {
			return errors.New("UNKNOWN_SERVER_ERROR")
		}
	}
	return nil
}

// request is what the client asks next.
func (s *stormer) request() kmsg.Request {
	switch s.r.IntN(8) {
	case 0, 1, 2:
		return s.heartbeat(s.r.IntN(2))
	case 3:
		return s.join()
	case 4:
		q := kmsg.NewPtrSyncGroupRequest()
		q.SetVersion(4)
		q.Group, q.MemberID, q.Generation = "classic", s.member, s.generation
		return q
	case 5:
		q := kmsg.NewPtrOffsetFetchRequest()
		q.SetVersion(7)
		q.Group = "simple"
		return q
	case 6:
		q := kmsg.NewPtrHeartbeatRequest()
		q.SetVersion(4)
		q.Group, q.MemberID, q.Generation = "classic", s.member, s.generation
		return q
	}
	q := kmsg.NewPtrOffsetCommitRequest()
	q.SetVersion(8)
	q.Group, q.Generation = "simple", -1
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	t.Topic, p.Offset, p.Metadata = stormTopic, s.r.Int64N(1000), new("")
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

// heartbeat joins, stays in or leaves a group of KIP-848.
func (s *stormer) heartbeat(g int) kmsg.Request {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.SetVersion(1)
	q.Group, q.MemberID, q.MemberEpoch = fmt.Sprint("k", g), s.name, s.epoch[g]
	switch {
	case s.epoch[g] == 0:
		q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = 500, []string{stormTopic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	case s.r.IntN(20) == 0:
		q.MemberEpoch = -1
	default:
		q.Topics = s.owned[g]
	}
	return q
}

// join joins the classic group, and sometimes the second one of KIP-848.
func (s *stormer) join() kmsg.Request {
	md := kmsg.NewConsumerMemberMetadata()
	md.Topics = []string{stormTopic}
	q := joinRequest(500)
	q.SetVersion(5)
	q.Group, q.MemberID, q.RebalanceTimeoutMillis = "classic", s.member, 500
	if s.r.IntN(4) == 0 {
		q.Group, q.MemberID = "k1", ""
	}
	q.Protocols[0].Metadata = md.AppendTo(nil)
	return q
}
