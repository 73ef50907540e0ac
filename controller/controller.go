// Package controller decides what becomes of the cluster's metadata, and makes it durable by Raft.
//
// One goroutine owns Raft's RawNode and the image of what is applied. A batch of commands is decided against a private
// copy of that image, each command seeing those before it; the records that come of it are proposed as one entry; the
// next batch is decided when that entry is applied, or known not to be. The answer to a command is released when what
// it decided is committed, applied and shown to the node: nobody is told anything that a crash or a lost leader could
// take back. A single node is a quorum of one, which campaigns at once; nothing here knows how many voters there are.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/kbroker/kbroker/controller/raftwal"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/metadata"
)

const (
	// tick is Raft's unit of time, electionTicks what a follower waits for its leader, heartbeatTicks how often the
	// leader shows itself.
	tick           = 100 * time.Millisecond
	electionTicks  = 10
	heartbeatTicks = 1

	// maxQueue bounds the calls that wait to be decided. Beyond it callers wait to get into the queue.
	maxQueue = 1024
	// maxInflight bounds the appends that are under way to one other voter, in number and in bytes each.
	maxInflight   = 64
	maxAppendSize = 1 << 20
	// maxApplying bounds the bytes of entries that are applied at once.
	maxApplying = 8 << 20

	// snapshotBytes is how much the log grows before a snapshot is taken. It bounds what a start reads, with the size of
	// the snapshot itself: as long as that is larger the log may grow by as much, so that a big cluster does not spend
	// its time with snapshots.
	snapshotBytes = 1 << 20
	// closingBytes is how much there is in the log when Close takes one more snapshot, for a quick start.
	closingBytes = 64 << 10
)

// Config is what a Controller is made of.
type Config struct {
	FS      vfs.FS
	DataDir string // metadata directory; the controller keeps its files in DataDir/kbroker-raft
	// DirectoryID is that of DataDir. The member's Raft id is made from it: a directory that is lost takes its id, and
	// what it promised as a voter, with it.
	DirectoryID metadata.UUID
	NodeID      metadata.BrokerID
	// ClusterID and Features are what a cluster gets whose first node this is; an empty ClusterID is chosen. Later the
	// features are what the log says, and a ClusterID that is not empty must be the cluster's.
	ClusterID string
	Features  map[string]int16
	Rules     Rules
	// Metadata is where the node's image is kept. The Controller is the only one who stores to it.
	Metadata *metadata.Cell
	Logger   *slog.Logger
	// Voters are the Raft ids that the first quorum consists of; nil means this member alone.
	Voters []uint64
	// Send hands messages to other voters. It must not wait: what it cannot send it drops, which Raft is made for. Nil
	// while there are no others.
	Send func([]*raftpb.Message)
}

// Controller is this node's member of the Raft quorum.
type Controller struct {
	cfg    Config
	raftID uint64
	logger *slog.Logger
	client Client

	calls     chan *call
	messages  chan *raftpb.Message
	status    chan statusRequest
	disk      disk
	publisher publisher

	stop     chan struct{} // closed by Close and on failure: ends all goroutines
	stopOnce sync.Once
	done     chan struct{} // closed when run has returned
	err      error         // why it failed; set before done is closed
	started  bool          // whether the goroutines were started; of the goroutine that calls Start and Close

	closeOnce sync.Once
	closeErr  error // guarded by closeOnce

	// What follows belongs to run.
	raw      *raft.RawNode
	log      raftLog
	applied  *metadata.Image
	index    uint64 // of the last entry applied, with or without records
	term     uint64 // of that entry
	chance   *rand.Rand
	leader   uint64 // who leads as far as this member knows; 0: nobody
	queue    []*call
	inflight *batch // what was proposed and is not applied
	// decisive is the index up to which entries must be applied before this member, while it leads, may decide: those
	// of the leaders before it. 0 while it does not lead.
	decisive      uint64
	leadTerm      uint64 // the term in which it leads
	public        bool   // whether images are shown
	snapshotting  bool   // whether a snapshot is on its way to the disk
	snapshotIndex uint64 // of the last one
	snapshotDue   int64  // sinceSnapshot at which the next one is taken
	sinceSnapshot int64  // bytes in the WAL since
}

// RaftID is the Raft id of the member whose metadata directory has the given id.
func RaftID(directory metadata.UUID) uint64 {
	var id uint64
	for _, b := range directory[8:] { // the half that NewUUID leaves the most to chance
		id = id<<8 | uint64(b)
	}
	// Raft means "nobody" by 0 and its own threads by the highest numbers. Those cannot come up: the top two bits of
	// this half are those of the UUID's variant. An id that was not made by NewUUID is helped.
	if id == raft.None || raft.IsLocalMsgTarget(id) {
		id = 1
	}
	return id
}

// HasMetadata reports whether a data directory has the metadata of a cluster. With another one Open would begin an empty
// cluster.
func HasMetadata(fsys vfs.FS, dataDir string) (bool, error) { return raftwal.Exists(fsys, dataDir) }

// Open reads what is on the disk. Call Subscribe as needed, then Start, and in the end Close.
func Open(cfg Config) (*Controller, error) {
	c := &Controller{
		cfg: cfg, raftID: RaftID(cfg.DirectoryID), logger: cfg.Logger,
		calls: make(chan *call), messages: make(chan *raftpb.Message, maxInflight), status: make(chan statusRequest),
		stop: make(chan struct{}), done: make(chan struct{}),
		chance: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
	c.client = Client{controller: c, node: cfg.NodeID}
	c.client.epoch.Store(-1)
	wal, state, err := raftwal.Open(raftwal.Options{FS: cfg.FS, DataDir: cfg.DataDir, RaftID: c.raftID, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	if state == nil {
		state, err = c.bootstrap(wal)
	}
	if err == nil {
		err = c.load(state)
	}
	if err != nil {
		return nil, errors.Join(err, wal.Close())
	}
	c.disk = disk{wal: wal, logger: cfg.Logger, jobs: newMailbox[diskJob](), results: newMailbox[diskResult](),
		stop: c.stop, done: make(chan struct{}),
		written: raftpb.HardState{Term: c.log.hardState.Term, Vote: c.log.hardState.Vote}}
	c.publisher = publisher{cell: cfg.Metadata, stop: c.stop, done: make(chan struct{}), wake: make(chan struct{}, 1),
		shown: make(chan struct{})}
	return c, nil
}

// bootstrap makes the first snapshot: the image that every first voter begins with, at index 1 of term 1.
func (c *Controller) bootstrap(wal *raftwal.WAL) (*raftwal.State, error) {
	cluster := c.cfg.ClusterID
	if cluster == "" {
		cluster = metadata.NewUUID().String()
	}
	records := []metadata.Record{&metadata.ClusterRecord{ClusterID: cluster}}
	for name, level := range c.cfg.Features {
		records = append(records, &metadata.FeatureLevelRecord{Name: name, Level: level})
	}
	image, err := new(metadata.Image).Apply(1, records...)
	if err != nil {
		return nil, err
	}
	voters := c.cfg.Voters
	if voters == nil {
		voters = []uint64{c.raftID}
	}
	s := &raftwal.Snapshot{Index: 1, Term: 1, Conf: &raftpb.ConfState{Voters: voters}, Data: metadata.EncodeImage(nil, image)}
	if err := wal.Bootstrap(s); err != nil {
		return nil, fmt.Errorf("make the first snapshot of the cluster's metadata: %w", err)
	}
	return &raftwal.State{Snapshot: s}, nil
}

// load begins with what was on the disk.
func (c *Controller) load(state *raftwal.State) error {
	s := state.Snapshot
	image, err := metadata.DecodeImage(s.Data)
	if err != nil {
		return fmt.Errorf("read the snapshot of the cluster's metadata at index %d: %w", s.Index, err)
	}
	if want := c.cfg.ClusterID; want != "" && want != image.ClusterID {
		return fmt.Errorf("%s belongs to cluster %s, and cluster %s was asked for: use the right data directory, or leave the cluster id away",
			c.cfg.DataDir, image.ClusterID, want)
	}
	c.applied, c.index, c.term = image, s.Index, s.Term
	c.snapshotIndex, c.snapshotDue = s.Index, max(snapshotBytes, int64(len(s.Data)))
	c.log = raftLog{conf: s.Conf, base: s.Index, baseTerm: s.Term, snapshot: c.raftSnapshot}
	c.log.append(state.Entries)
	hs := state.HardState
	if hs == nil {
		hs = &raftpb.HardState{Term: new(s.Term), Vote: new(raft.None), Commit: new(s.Index)}
	}
	commit := min(max(hs.GetCommit(), s.Index), c.log.last())
	if alone(s.Conf, c.raftID) {
		// In a quorum of one everything that is written is committed, however old the commit index is that was written
		// with it. Nothing of it is shown before the election's sync has made sure that it is durable.
		commit = c.log.last()
	}
	c.log.hardState = &raftpb.HardState{Term: hs.Term, Vote: hs.Vote, Commit: &commit}
	c.raw, err = raft.NewRawNode(&raft.Config{
		ID: c.raftID, ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks, Storage: &c.log, Applied: s.Index,
		AsyncStorageWrites: true, PreVote: true, CheckQuorum: true, DisableProposalForwarding: true,
		MaxSizePerMsg: maxAppendSize, MaxInflightMsgs: maxInflight, MaxCommittedSizePerReady: maxApplying,
		Logger: raftLogger{c.logger},
	})
	return err
}

// alone reports whether id is the only voter.
func alone(conf *raftpb.ConfState, id uint64) bool {
	return len(conf.GetVoters()) == 1 && conf.GetVoters()[0] == id && len(conf.GetVotersOutgoing()) == 0
}

// Subscribe makes fn see every change of the node's image, before anybody else does: prev is what it saw last, an empty
// image at first. All subscribers are called in order by one goroutine. It must not be called after Start.
//
// The first image that is shown has everything that was committed when this member found its leader: what is not in it
// is not in the cluster.
func (c *Controller) Subscribe(fn func(prev, next *metadata.Image)) {
	c.publisher.subscribers = append(c.publisher.subscribers, fn)
}

// Start starts the goroutines, which Close ends.
func (c *Controller) Start() {
	c.started = true
	go c.disk.run()
	go c.publisher.run()
	go c.run()
}

// Client returns what brokers ask the controller with.
func (c *Controller) Client() *Client { return &c.client }

// Image returns the node's current image.
func (c *Controller) Image() *metadata.Image { return c.cfg.Metadata.Load() }

// DiskFull reports whether a change of the metadata is held up because the disk is full, reserve included. It goes on by
// itself when there is room.
func (c *Controller) DiskFull() bool { return c.disk.full.Load() }

// Ready is closed when the node's image is one that may be worked with: see Subscribe.
func (c *Controller) Ready() <-chan struct{} { return c.publisher.shown }

// WaitReady returns when Ready is closed, or else why that will not be: the controller has stopped, or ctx has ended.
func (c *Controller) WaitReady(ctx context.Context) error {
	select {
	case <-c.publisher.shown:
		return nil
	case <-c.done:
		return c.stopped()
	case <-ctx.Done():
		return fmt.Errorf("wait for the controller: %w", ctx.Err())
	}
}

// Done is closed when the controller has ended: by Close, or because it failed, which Err tells apart.
func (c *Controller) Done() <-chan struct{} { return c.done }

// Err returns why the controller failed, or nil. It may be called after Done.
func (c *Controller) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Step takes a message from another voter.
func (c *Controller) Step(ctx context.Context, m *raftpb.Message) error {
	select {
	case c.messages <- m:
		return nil
	case <-c.done:
		return c.stopped()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the controller. Calls that are under way fail. More than one Close is the same as one.
func (c *Controller) Close() error {
	c.stopOnce.Do(func() { close(c.stop) })
	c.closeOnce.Do(func() {
		if c.started {
			<-c.done
			<-c.disk.done
			<-c.publisher.done
			c.lastSnapshot()
		}
		c.closeErr = c.disk.wal.Close()
	})
	return c.closeErr
}

// stopped is the error of a call to a controller that has ended.
func (c *Controller) stopped() error {
	if c.err != nil {
		return refuse(kerr.NotController, "the controller of this node has failed: %v", c.err)
	}
	return refuse(kerr.NotController, "the controller of this node has stopped")
}

// do has a command decided, and returns when what it decided is shown.
func (c *Controller) do(ctx context.Context, cmd command) error {
	call := &call{ctx: ctx, cmd: cmd, done: make(chan error, 1)}
	select {
	case c.calls <- call:
	case <-ctx.Done():
		return timedOut(ctx)
	case <-c.done:
		return c.stopped()
	}
	select {
	case err := <-call.done:
		return err
	case <-ctx.Done():
		return timedOut(ctx)
	case <-c.done:
		return c.stopped()
	}
}
