package group

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator"
	"github.com/kbroker/kbroker/metadata"
)

// TestConsumerScripts runs the scripts of testdata/consumer. Most of what they print was seen on Kafka 4.3.1.
//
//	topics a=4 b=2                      create topics, or give them more partitions
//	drop a                              delete a topic
//	hb m1 epoch=0 subs=a,b owned=a:0,1  a heartbeat in group g; "join" stands for what every join says
//	wait 1s                             time passes
//	state                               what the group is
//	join m1 / sync m1 / beat m1 / leave m1    of the classic protocol, with gen=, owned=, subs=, instance=
//	reload                              the coordinator is another one now
func TestConsumerScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/consumer", func(t *testing.T, path string) {
		s := &consumerScript{newConsumerLab(t)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.run(d)
		})
	})
}

type consumerScript struct{ *consumerLab }

func (s *consumerScript) run(d *datadriven.TestData) string {
	switch d.Cmd {
	case "topics":
		for _, a := range d.CmdArgs {
			n, _ := strconv.Atoi(a.Vals[0])
			s.topic(a.Key, int32(n))
		}
		return ""
	case "drop":
		s.metadata(&metadata.RemoveTopicRecord{ID: topicID(d.CmdArgs[0].Key)})
		return ""
	case "config":
		return s.configure(d)
	case "wait":
		pause, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			s.t.Fatal(err)
		}
		s.advance(pause)
		return s.records()
	case "reload":
		s.m = s.load(s.log)
		s.m.Loaded(s.now, &coordinator.Effects{})
		return ""
	case "state":
		if g := s.m.membersOf("g"); g != nil && g.kind() != "consumer" {
			return "a " + g.kind() + " group, " + g.state() + "\n"
		}
		return consumerDump(s.m)
	case "describe":
		return s.describe()
	case "hb":
		return s.heartbeat(d)
	case "commit":
		return s.commit(d)
	}
	return s.classic(d)
}

func (s *consumerScript) configure(d *datadriven.TestData) string {
	for _, a := range d.CmdArgs {
		n, _ := strconv.Atoi(a.Vals[0])
		switch a.Key {
		case "max":
			s.config.Consumer.MaxSize = n
		case "migration":
			s.config.Consumer.Upgrade = a.Vals[0] == "both" || a.Vals[0] == "upgrade"
			s.config.Consumer.Downgrade = a.Vals[0] == "both" || a.Vals[0] == "downgrade"
		case "session":
			s.timing["g"] = ConsumerTiming{SessionTimeout: time.Duration(n) * time.Second, HeartbeatInterval: 5 * time.Second, AssignmentInterval: time.Second}
		default:
			s.t.Fatalf("no setting %s", a.Key)
		}
	}
	return ""
}

func (s *consumerScript) records() string {
	if len(s.last) == 0 {
		return ""
	}
	return "records:" + s.types() + "\n"
}

// owned reads a:0,1;b:2.
func ownedTopics(text string) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	list := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for part := range strings.SplitSeq(text, ";") {
		name, numbers, ok := strings.Cut(part, ":")
		if !ok {
			continue
		}
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		t.TopicID = topicID(name)
		for n := range strings.SplitSeq(numbers, ",") {
			p, _ := strconv.Atoi(n)
			t.Partitions = append(t.Partitions, int32(p))
		}
		list = append(list, t)
	}
	return list
}

func (s *consumerScript) heartbeat(d *datadriven.TestData) string {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID = 1, "g", d.CmdArgs[0].Key
	var deny []string
	for _, a := range d.CmdArgs[1:] {
		v := strings.Join(a.Vals, ",")
		switch a.Key {
		case "join":
			req.MemberEpoch, req.RebalanceTimeoutMillis, req.Topics = 0, 30000, ownedTopics("")
		case "group":
			req.Group = v
		case "epoch":
			n, _ := strconv.Atoi(v)
			req.MemberEpoch = int32(n)
		case "rt":
			n, _ := strconv.Atoi(v)
			req.RebalanceTimeoutMillis = int32(n)
		case "subs":
			req.SubscribedTopicNames = strings.FieldsFunc(v, func(r rune) bool { return r == ',' })
		case "regex":
			if len(a.Vals) == 0 {
				v = strings.TrimSuffix(d.Input, "\n") // what the syntax of commands cannot hold
			}
			req.SubscribedTopicRegex = &v
		case "instance":
			req.InstanceID = &v
		case "rack":
			req.RackID = &v
		case "assignor":
			req.ServerAssignor = &v
		case "owned":
			req.Topics = ownedTopics(v)
		case "deny":
			deny = a.Vals
		default:
			s.t.Fatalf("%s: no argument %s", d.Pos, a.Key)
		}
	}
	return s.answer(s.beat(req, deny...))
}

func (s *consumerScript) answer(resp *kmsg.ConsumerGroupHeartbeatResponse) string {
	if resp.ErrorCode != 0 {
		return fmt.Sprintf("%s: %s\n", errorName(resp.ErrorCode), *resp.ErrorMessage)
	}
	assignment := "unchanged"
	if resp.Assignment != nil {
		var parts []string
		for _, t := range resp.Assignment.Topics {
			parts = append(parts, fmt.Sprintf("%s:%v", s.im.TopicByID(t.TopicID).Name, t.Partitions))
		}
		assignment = "[" + strings.Join(parts, " ") + "]"
	}
	return fmt.Sprintf("epoch=%d assignment=%s every %v\n%s", resp.MemberEpoch, assignment, time.Duration(resp.HeartbeatIntervalMillis)*time.Millisecond, s.records())
}

func (s *consumerScript) describe() string {
	row, err := s.m.DescribeConsumerGroup("g")
	if err != nil {
		return fmt.Sprintf("%s: %v\n", errorName(code(err)), err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s epoch=%d assignment=%d by %s\n", row.State, row.Epoch, row.AssignmentEpoch, row.AssignorName)
	show := func(a kmsg.Assignment) (parts []string) {
		for _, t := range a.TopicPartitions {
			parts = append(parts, fmt.Sprintf("%s:%v", t.Topic, t.Partitions))
		}
		return parts
	}
	for _, m := range row.Members {
		fmt.Fprintf(&b, "  %s type=%d epoch=%d has=%v target=%v\n", m.MemberID, m.MemberType, m.MemberEpoch, show(m.Assignment), show(m.TargetAssignment))
	}
	return b.String()
}

// commit asks whether a commit is taken for a partition.
func (s *consumerScript) commit(d *datadriven.TestData) string {
	c := &commitIdentity{version: 9, memberID: d.CmdArgs[0].Key}
	part := ""
	for _, a := range d.CmdArgs[1:] {
		switch a.Key {
		case "epoch":
			n, _ := strconv.Atoi(a.Vals[0])
			c.epoch = int32(n)
		case "version":
			n, _ := strconv.Atoi(a.Vals[0])
			c.version = int16(n)
		case "transactional":
			c.transactional = true
		case "of":
			part = a.Vals[0]
		}
	}
	if c.memberID == "-" {
		c.memberID = ""
	}
	g := s.m.groups["g"].members
	err := g.checkCommit(s.now, c)
	if cg, ok := g.(*consumerGroup); ok && err == nil && part != "" {
		o := ownedTopics(part)
		err = cg.checkCommitPartition(c, partitionOf(o))
	}
	return errorName(code(err)) + "\n"
}
