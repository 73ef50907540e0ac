package group

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClassic plays the scripts of testdata/classic: requests of named members, the time that passes, and what is
// answered, written and held after each step. A member remembers its id and generation from the last answer.
//
//	join NAME… [v=9] [id=ID] [instance=ID] [protocols=range:meta,roundrobin:meta] [session=10s] [rebalance=60s] [type=consumer]
//	sync NAME… [gen=N] [id=ID] [instance=ID] [protocol=NAME] [type=NAME] [assign=NAME:bytes,…]
//	heartbeat NAME… [gen=N] [id=ID] [instance=ID]
//	leave NAME… [v=5] [instance=ID]     instance alone: an administrator's way; unwritten: the record that is due waits
//	commit NAME… [gen=N] [id=ID] [txn]
//	pass DURATION [alive=NAME,…]        who is alive sends a heartbeat every three seconds
//	config [size=N] [delay=3s] [record=BYTES]   the last: how much can be written at once
//	crash                               the machine is loaded from its log
//	subscribes TOPIC…
//	describe
func TestClassic(t *testing.T) {
	datadriven.Walk(t, "testdata/classic", func(t *testing.T, path string) {
		l := newLab()
		l.printing = true
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "crash" {
				l.unload()
			}
			extra := l.step(t, d)
			if !slices.Contains(readArgs(d).names, "unwritten") {
				l.settle()
			}
			out := []string{l.take(), extra, l.state()}
			out = slices.DeleteFunc(out, func(s string) bool { return s == "" })
			return strings.Join(out, "\n") + "\n"
		})
	})
}

// args are a command's key=value pairs; names are those without a value.
type args struct {
	names []string
	vals  map[string]string
}

func readArgs(d *datadriven.TestData) args {
	a := args{vals: map[string]string{}}
	for _, c := range d.CmdArgs {
		if len(c.Vals) == 0 {
			a.names = append(a.names, c.Key)
			continue
		}
		a.vals[c.Key] = strings.Join(c.Vals, ",")
	}
	return a
}

func (a args) text(key, def string) string {
	if v, ok := a.vals[key]; ok {
		return v
	}
	return def
}

func (a args) pointer(key string) *string {
	if v, ok := a.vals[key]; ok {
		return &v
	}
	return nil
}

func (a args) number(t *testing.T, key string, def int) int {
	n, err := strconv.Atoi(a.text(key, strconv.Itoa(def)))
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return n
}

func (a args) duration(t *testing.T, key, def string) time.Duration {
	d, err := time.ParseDuration(a.text(key, def))
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return d
}

// pairs reads a:x,b:y.
func (a args) pairs(key, def string) (out [][2]string) {
	for p := range strings.SplitSeq(a.text(key, def), ",") {
		if name, value, ok := strings.Cut(p, ":"); ok {
			out = append(out, [2]string{name, value})
		}
	}
	return out
}

func (l *lab) step(t *testing.T, d *datadriven.TestData) (extra string) {
	a := readArgs(d)
	switch d.Cmd {
	case "pass":
		l.live(a.duration(t, "", a.names[0]), strings.Split(a.text("alive", ""), ","))
	case "config":
		l.config.MaxSize = int32(a.number(t, "size", int(l.config.MaxSize)))
		l.most = a.number(t, "record", l.most)
		l.config.InitialRebalanceDelay = a.duration(t, "delay", l.config.InitialRebalanceDelay.String())
	case "crash":
		l.load()
	case "describe":
		return l.plain(l.describe())
	case "subscribes":
		for _, topic := range a.names {
			extra += fmt.Sprintf("%s %v ", topic, l.m.groups[labGroup].members.subscribes(topic))
		}
	case "leave":
		l.leave(l.leaveRequest(t, a))
	default:
		for _, name := range a.names {
			l.request(t, d.Cmd, l.actor(name), a)
		}
	}
	return extra
}

// live lets time pass while some members send heartbeats, the answers to which are not printed.
func (l *lab) live(d time.Duration, names []string) {
	const every = 3 * time.Second
	for ; d > 0; d -= every {
		l.pass(min(d, every))
		printed := l.out
		for _, name := range names {
			if who := l.actors[name]; who != nil {
				req := kmsg.NewPtrHeartbeatRequest()
				req.Group, req.MemberID, req.Generation = labGroup, who.id, who.generation
				l.heartbeat(who, req)
			}
		}
		l.out = printed
	}
}

func (l *lab) request(t *testing.T, cmd string, who *actor, a args) {
	id, generation := a.text("id", who.id), int32(a.number(t, "gen", int(who.generation)))
	switch cmd {
	case "join":
		l.join(who, l.joinRequest(t, who, id, a))
	case "sync":
		req := kmsg.NewPtrSyncGroupRequest()
		req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 5, labGroup, id, generation, a.pointer("instance")
		req.ProtocolType, req.Protocol = a.pointer("type"), a.pointer("protocol")
		for _, p := range a.pairs("assign", "") {
			row := kmsg.NewSyncGroupRequestGroupAssignment()
			row.MemberID, row.MemberAssignment = l.actor(p[0]).id, []byte(p[1])
			req.GroupAssignment = append(req.GroupAssignment, row)
		}
		l.sync(who, req)
	case "heartbeat":
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation, req.InstanceID = labGroup, id, generation, a.pointer("instance")
		l.heartbeat(who, req)
	case "commit":
		c := &commitIdentity{version: 8, memberID: id, instanceID: a.pointer("instance"), epoch: generation, transactional: a.text("txn", "") != ""}
		err := l.m.groups[labGroup].members.checkCommit(l.now, c)
		l.out = append(l.out, fmt.Sprintf("%s: commit: %s", who.name, errorText(code(err))))
	default:
		t.Fatalf("no command %q", cmd)
	}
}

func (l *lab) joinRequest(t *testing.T, who *actor, id string, a args) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = int16(a.number(t, "v", 9)), labGroup, id, a.pointer("instance")
	req.SessionTimeoutMillis = int32(a.duration(t, "session", "10s").Milliseconds())
	req.RebalanceTimeoutMillis = int32(a.duration(t, "rebalance", "60s").Milliseconds())
	req.ProtocolType = a.text("type", consumerProtocolType)
	for _, p := range a.pairs("protocols", "range:"+who.name) {
		row := kmsg.NewJoinGroupRequestProtocol()
		row.Name, row.Metadata = p[0], []byte(p[1])
		req.Protocols = append(req.Protocols, row)
	}
	return req
}

func (l *lab) leaveRequest(t *testing.T, a args) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = int16(a.number(t, "v", 5)), labGroup
	a.names = slices.DeleteFunc(a.names, func(name string) bool { return name == "unwritten" })
	for _, name := range a.names {
		row := kmsg.NewLeaveGroupRequestMember()
		row.MemberID, row.InstanceID = l.actor(name).id, a.pointer("instance")
		req.MemberID = row.MemberID
		req.Members = append(req.Members, row)
	}
	if len(a.names) == 0 {
		row := kmsg.NewLeaveGroupRequestMember()
		row.InstanceID = a.pointer("instance")
		req.Members = append(req.Members, row)
	}
	return req
}

func (l *lab) describe() string {
	row := kmsg.NewDescribeGroupsResponseGroup()
	row.Group = labGroup
	found := l.m.DescribeClassic(&row)
	s := fmt.Sprintf("found %v: %s %q %q", found, row.State, row.ProtocolType, row.Protocol)
	for _, m := range row.Members {
		s += fmt.Sprintf("; %s%s %s %s %q %q", m.MemberID, instanceText(m.InstanceID), m.ClientID, m.ClientHost, m.ProtocolMetadata, m.MemberAssignment)
	}
	return s
}
