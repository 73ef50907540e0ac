package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/metadata"
)

// quorum is three members in one process, whose messages go through their encoding and are lost when a member is down.
type quorum struct {
	t     *testing.T
	disks [3]*simfs.FS
	links chan message // what is under way; more is lost

	mu      sync.Mutex // guards members
	members [3]*Controller
}

type message struct {
	to   uint64
	data []byte
}

func newQuorum(t *testing.T) *quorum {
	q := &quorum{t: t, links: make(chan message, 1000)}
	for i := range q.members {
		q.disks[i] = newDisk(t)
		q.start(i)
	}
	go q.carry(t.Context()) // ends with the test
	return q
}

// memberDirectory is the id of the metadata directory of a member.
func memberDirectory(i int) metadata.UUID { return metadata.UUID{0: 1, 8: 0x80, 15: byte(100 + i)} }

// start starts a member on its disk.
func (q *quorum) start(i int) {
	q.t.Helper()
	cfg := testConfig(q.t, q.disks[i], "/data")
	cfg.NodeID, cfg.DirectoryID = int32(i+1), memberDirectory(i)
	for j := range q.members {
		cfg.Voters = append(cfg.Voters, RaftID(memberDirectory(j)))
	}
	cfg.Send = func(messages []*raftpb.Message) {
		for _, m := range messages {
			data, err := proto.Marshal(m)
			if err != nil {
				q.t.Error(err)
			}
			select {
			case q.links <- message{m.GetTo(), data}:
			default:
			}
		}
	}
	c, err := Open(cfg)
	if err != nil {
		q.t.Fatal(err)
	}
	c.Start()
	q.mu.Lock()
	q.members[i] = c
	q.mu.Unlock()
}

// stop ends a member as a crash does.
func (q *quorum) stop(i int) {
	q.mu.Lock()
	c := q.members[i]
	q.members[i] = nil
	q.mu.Unlock()
	q.disks[i] = q.disks[i].CrashWorst()
	c.Close()
}

// carry delivers messages until ctx ends.
func (q *quorum) carry(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-q.links:
			var msg raftpb.Message
			if err := proto.Unmarshal(m.data, &msg); err != nil {
				q.t.Error(err)
				return
			}
			q.mu.Lock()
			var to *Controller
			for i, c := range q.members {
				if RaftID(memberDirectory(i)) == m.to {
					to = c
				}
			}
			q.mu.Unlock()
			if to != nil {
				to.Step(ctx, &msg) // an error says that the member has stopped: the message is lost
			}
		}
	}
}

// do calls fn with the client of each member that is up until one is the active controller.
func (q *quorum) do(fn func(*Client) error) *Controller {
	q.t.Helper()
	var err error
	for range 1000 {
		for _, c := range q.members {
			if c == nil {
				continue
			}
			if err = fn(c.Client()); err == nil {
				return c
			}
			if !errors.Is(err, kerr.NotController) && !errors.Is(err, kerr.RequestTimedOut) {
				q.t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	q.t.Fatal("there is no active controller:", err)
	return nil
}

func (q *quorum) create(name string, partitions int32) *Controller {
	return q.do(func(c *Client) error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		r, err := c.CreateTopics(ctx, []NewTopic{{Name: name, Partitions: partitions, ReplicationFactor: 1}}, false)
		if err != nil {
			return err
		}
		if r[0].Err != nil && !errors.Is(r[0].Err, kerr.TopicAlreadyExists) {
			return r[0].Err
		}
		return nil
	})
}

// fill makes the log longer by 200 kB: a config that is set to a long value.
func (q *quorum) fill(topic, value string) {
	alteration := ConfigAlteration{Resource: metadata.ConfigResource{Type: metadata.ConfigTopic, Name: topic},
		Set: map[string]*string{"long": new(value + strings.Repeat("x", 200_000))}}
	q.do(func(c *Client) error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		return c.AlterConfigs(ctx, []ConfigAlteration{alteration}, false)[0]
	})
}

// converged waits until all members that are up have the same image, and returns it.
func (q *quorum) converged() *metadata.Image {
	q.t.Helper()
	for range 600 {
		var images [][]byte
		var im *metadata.Image
		for _, c := range q.members {
			if c != nil {
				im = c.Image()
				images = append(images, metadata.EncodeImage(nil, im))
			}
		}
		same := true
		for _, b := range images {
			same = same && bytes.Equal(b, images[0])
		}
		if same && im.NumTopics() > 0 {
			return im
		}
		time.Sleep(100 * time.Millisecond)
	}
	q.t.Fatal("the members do not agree")
	return nil
}

// TestQuorum shows that the code path of one voter is that of three: a leader is elected, what it decides is everybody's,
// nothing of it is lost with the leader, and a member that was away catches up, by a snapshot if need be.
func TestQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t)
		q.do(func(c *Client) error {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			b := thisNode(1)
			b.ID = c.node
			if _, err := c.RegisterBroker(ctx, b); err != nil {
				return err
			}
			_, err := c.Heartbeat(ctx, Heartbeat{})
			return err
		})
		acked := 0
		for round := range 6 {
			leader := q.create(fmt.Sprint("t", round), 2)
			acked++
			down := round % 3
			if round < 3 {
				for i, c := range q.members {
					if c == leader {
						down = i
					}
				}
			}
			q.stop(down)
			for i := range 3 {
				q.create(fmt.Sprintf("t%d-%d", round, i), 1)
				acked++
			}
			if round == 4 { // so much that the others forget the log that the one which is away would need
				for i := range 16 {
					q.fill(fmt.Sprint("t", round), fmt.Sprint("value-", i))
				}
			}
			q.start(down)
			if n := q.converged().NumTopics(); n != acked {
				t.Fatalf("round %d: %d topics, want %d", round, n, acked)
			}
		}
		for i := range q.members {
			q.stop(i)
		}
	})
}

// Without a majority nothing is decided, and everybody who waits is told.
func TestWithoutMajority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuorum(t)
		q.do(func(c *Client) error {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			_, err := c.CreateTopics(ctx, nil, false)
			return err
		})
		q.stop(0)
		q.stop(1)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		b := thisNode(1)
		b.ID = 3
		_, err := q.members[2].Client().RegisterBroker(ctx, b)
		if !errors.Is(err, kerr.NotController) && !errors.Is(err, kerr.RequestTimedOut) {
			t.Errorf("got %v", err)
		}
		q.stop(2)
	})
}
