package group

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// lab drives a Machine as the runtime does, with a log in memory and a time of its own.
type lab struct {
	m      *Machine
	config Config
	now    time.Time
	log    []coordinator.Record
	ids    sequence
	seen   []string // UUIDs in the order in which they were drawn, to print them as #1, #2…

	actors map[string]*actor
	out    []string // what was answered and written since it was last taken
	parked int      // requests without an answer
	left   []string // ids of members that left and were told so

	most     int  // bytes of a decision's records; 0: any number
	printing bool // records are printed; costs more than all else
}

// actor is a member as its client knows it.
type actor struct {
	name       string
	id         string
	instance   *string
	generation int32
	protocol   string
	members    []string // ids, of a leader
	assignment string
}

// sequence is the entropy of tests: 1, 2, 3…
type sequence struct{ n uint64 }

func (c *sequence) Read(p []byte) (int, error) {
	clear(p)
	c.n++
	binary.BigEndian.PutUint64(p[len(p)-8:], c.n)
	return len(p), nil
}

const labGroup = "g"

func newLab() *lab {
	l := &lab{
		now: time.UnixMilli(1_700_000_000_000), actors: map[string]*actor{},
		config: Config{MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute, MaxSize: 1 << 30, MaxBytes: 1 << 40},
	}
	l.load()
	return l
}

// load makes a machine of what the log holds, as after a crash.
func (l *lab) load() {
	l.m = NewMachine(func() *Config { return &l.config }, new(metadata.Cell).Load, NewMemory(nil))
	l.m.entropy = &l.ids
	for i := range l.log {
		l.replay(i)
	}
	l.decide(func(e *effects) { l.m.Loaded(l.now, e) })
}

func (l *lab) replay(at int) {
	r := &coordinator.Replayed{Key: l.log[at].Key, Value: l.log[at].Value, Offset: int64(at), ProducerID: -1, ProducerEpoch: -1}
	if err := l.m.Replay(r); err != nil {
		panic(err)
	}
}

type effects = coordinator.Effects

// decide makes one decision and does what it wants done.
func (l *lab) decide(fn func(e *effects)) {
	e := effects{Most: l.most}
	fn(&e)
	l.apply(&e)
}

// apply does what a decision wants done: append, replay, answer.
func (l *lab) apply(e *coordinator.Effects) {
	size := 0
	for _, r := range e.Records {
		size += len(r.Value)
	}
	if l.most > 0 && size > l.most {
		l.refuse(e)
		return
	}
	for _, r := range e.Records {
		l.log = append(l.log, coordinator.Record{Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)})
		if l.printing {
			l.out = append(l.out, "wrote "+describeRecord(r))
		}
		l.replay(len(l.log) - 1)
	}
	for _, r := range slices.Concat(e.Soft, e.Replies) {
		r(nil)
	}
}

// refuse does what follows when records are too large to be written.
func (l *lab) refuse(e *effects) {
	for _, r := range slices.Concat(e.Soft, e.Replies) {
		r(kerr.MessageTooLarge)
	}
	l.decide(func(next *effects) { e.Refused(kerr.MessageTooLarge, next) })
}

// pass lets time go by, doing what becomes due when it does.
func (l *lab) pass(d time.Duration) {
	until := l.now.Add(d)
	for at := l.m.timers.next(); !at.IsZero() && !at.After(until); at = l.m.timers.next() {
		l.now = at
		e := coordinator.Effects{Most: l.most}
		l.m.timers.fireDue(l.now, &e, 1)
		l.apply(&e)
	}
	l.now = until
}

// settle writes what departures make due, as the runtime does right after the decisions that came with them.
func (l *lab) settle() {
	if g := l.m.groups[labGroup]; g != nil {
		c, ok := g.members.(*classicGroup)
		if ok && c.departures.index > 0 && !c.departures.at.After(l.now) {
			l.decide(func(e *effects) {
				l.m.timers.cancel(&c.departures.timer)
				c.departures.fire(l.now, e)
			})
		}
	}
}

// once makes a reply that counts as parked until it is called, and must not be called again.
func once[R any](l *lab, what string, fn func(R, error)) func(R, error) {
	l.parked++
	answered := false
	return func(resp R, err error) {
		if answered {
			panic(what + " was answered twice")
		}
		answered = true
		l.parked--
		fn(resp, err)
	}
}

// take returns what has happened since it was last called.
func (l *lab) take() string {
	out := strings.Join(l.out, "\n")
	l.out = nil
	return l.plain(out)
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// plain prints UUIDs as #1, #2 and so on.
func (l *lab) plain(s string) string {
	return uuids.ReplaceAllStringFunc(s, func(id string) string {
		at := slices.Index(l.seen, id)
		if at < 0 {
			at = len(l.seen)
			l.seen = append(l.seen, id)
		}
		return fmt.Sprintf("#%d", at+1)
	})
}

func (l *lab) actor(name string) *actor {
	if l.actors[name] == nil {
		l.actors[name] = &actor{name: name}
	}
	return l.actors[name]
}

func (l *lab) join(a *actor, req *kmsg.JoinGroupRequest) {
	reply := once(l, a.name+"'s join", func(resp *kmsg.JoinGroupResponse, err error) {
		if err != nil {
			l.out = append(l.out, fmt.Sprintf("%s: join: %v", a.name, err))
			return
		}
		l.out = append(l.out, fmt.Sprintf("%s: %s", a.name, describeJoin(resp)))
		if resp.ErrorCode == 0 || resp.ErrorCode == kerr.MemberIDRequired.Code {
			a.id, a.generation, a.members = resp.MemberID, resp.Generation, nil
			for _, m := range resp.Members {
				a.members = append(a.members, m.MemberID)
			}
		}
		if resp.ErrorCode == kerr.UnknownMemberID.Code {
			a.id = "" // as clients do
		}
		if resp.ErrorCode == 0 {
			a.protocol = *resp.Protocol
		}
	})
	e := coordinator.Effects{Most: l.most}
	l.m.JoinGroup(l.now, req, Client{ID: a.name, Host: "/192.0.2.1"}, reply, &e)
	l.apply(&e)
}

func (l *lab) sync(a *actor, req *kmsg.SyncGroupRequest) {
	reply := once(l, a.name+"'s sync", func(resp *kmsg.SyncGroupResponse, err error) {
		switch {
		case err != nil:
			l.out = append(l.out, fmt.Sprintf("%s: sync: %v", a.name, err))
		case resp.ErrorCode != 0:
			l.out = append(l.out, fmt.Sprintf("%s: sync: %s", a.name, errorText(resp.ErrorCode)))
		default:
			a.assignment = string(resp.MemberAssignment)
			l.out = append(l.out, fmt.Sprintf("%s: sync: %q of %s %s", a.name, resp.MemberAssignment, *resp.ProtocolType, *resp.Protocol))
		}
	})
	e := coordinator.Effects{Most: l.most}
	l.m.SyncGroup(l.now, req, reply, &e)
	l.apply(&e)
}

func (l *lab) heartbeat(a *actor, req *kmsg.HeartbeatRequest) (code int16) {
	reply := once(l, a.name+"'s heartbeat", func(resp *kmsg.HeartbeatResponse, _ error) { code = resp.ErrorCode })
	e := coordinator.Effects{Most: l.most}
	l.m.Heartbeat(l.now, req, reply, &e)
	l.apply(&e)
	l.out = append(l.out, fmt.Sprintf("%s: heartbeat: %s", a.name, errorText(code)))
	return code
}

func (l *lab) leave(req *kmsg.LeaveGroupRequest) {
	reply := once(l, "a leave", func(resp *kmsg.LeaveGroupResponse, err error) {
		if err != nil {
			l.out = append(l.out, fmt.Sprintf("left: %v", err))
			return
		}
		var rows []string
		for _, r := range resp.Members {
			if r.ErrorCode == 0 {
				l.left = append(l.left, r.MemberID)
			}
			for _, a := range l.actors {
				if a.id == r.MemberID && r.ErrorCode == 0 {
					a.id = ""
				}
			}
			rows = append(rows, fmt.Sprintf("%s%s: %s", r.MemberID, instanceText(r.InstanceID), errorText(r.ErrorCode)))
		}
		l.out = append(l.out, fmt.Sprintf("left %s: %s", errorText(resp.ErrorCode), strings.Join(rows, ", ")))
	})
	e := coordinator.Effects{Most: l.most}
	l.m.LeaveGroup(l.now, req, reply, &e)
	l.apply(&e)
}

func instanceText(id *string) string {
	if id == nil {
		return ""
	}
	return "(" + *id + ")"
}

func errorText(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(code).Message
}

func describeJoin(r *kmsg.JoinGroupResponse) string {
	if r.ErrorCode != 0 {
		return fmt.Sprintf("join: %s %q", errorText(r.ErrorCode), r.MemberID)
	}
	s := fmt.Sprintf("join: %s of generation %d, %s %s, led by %s", r.MemberID, r.Generation, *r.ProtocolType, *r.Protocol, r.LeaderID)
	if r.SkipAssignment {
		s += ", skip assignment"
	}
	for _, m := range r.Members {
		s += fmt.Sprintf("; %s%s %s", m.MemberID, instanceText(m.InstanceID), m.ProtocolMetadata)
	}
	return s
}

func describeRecord(r coordinator.Record) string {
	if r.Value == nil {
		return fmt.Sprintf("%q: tombstone", r.Key[4:])
	}
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(r.Value); err != nil {
		panic(err)
	}
	s := fmt.Sprintf("%q: generation %d, type %q", r.Key[4:], v.Generation, v.ProtocolType)
	if v.Protocol != nil {
		leader := "nobody"
		if v.Leader != nil {
			leader = *v.Leader
		}
		s += fmt.Sprintf(", %s, led by %s", *v.Protocol, leader)
	}
	for _, m := range v.Members {
		s += fmt.Sprintf("; %s%s %s=%s", m.MemberID, instanceText(m.InstanceID), m.Subscription, m.Assignment)
	}
	return s
}

// state prints the group with all that its members wait for.
func (l *lab) state() string {
	if l.m.groups[labGroup] == nil {
		return "no group"
	}
	g := l.m.groups[labGroup].members.(*classicGroup)
	s := fmt.Sprintf("%s, generation %d", g.status, g.generation)
	if g.protocol != nil {
		s += ", " + *g.protocol
	}
	for m := range g.all {
		s += fmt.Sprintf("; %s%s", m.id, instanceText(m.instanceID))
		for _, is := range []struct {
			so   bool
			text string
		}{{m.id == g.leader, "leads"}, {m.fresh, "fresh"}, {m.join != nil, "joining"}, {m.sync != nil, "syncing"}, {m.owesSync, "owes sync"}} {
			if is.so {
				s += " " + is.text
			}
		}
		if len(m.assignment) > 0 {
			s += fmt.Sprintf(" has %s", m.assignment)
		}
	}
	for e := g.pending.order.Front(); e != nil; e = e.Next() {
		s += "; expects " + e.Value.(*pendingID).id
	}
	return l.plain(s)
}

// unload ends the machine, which must answer everything.
func (l *lab) unload() {
	l.m.Unload(kerr.NotCoordinator)
	if l.parked != 0 {
		panic(fmt.Sprintf("%d requests were not answered", l.parked))
	}
	if used := l.m.memory.Used(); used != 0 {
		panic(fmt.Sprintf("a machine that is unloaded takes %d bytes", used))
	}
}
