package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kbroker/kbroker/metadata"
)

// TestScripts plays the scripts in testdata/scripts: what is decided, record by record. A script's commands are
//
//	register id=N [incarnation=N] [dir=N] [rack=R]
//	heartbeat id=N [epoch=N] [fence] [shutdown]
//	create [validate]        a line per topic: name partitions factor [partition:broker,broker…]… [config=value]…
//	delete                   a line per topic: its name, or a number that no topic has as its id
//	partitions [validate]    a line per topic: name count [broker,broker…]…
//	config [validate]        a line per resource: type name [config=value]… [config]…
//	ids id=N [epoch=N]       a block of producer ids
//	elect [unclean]          a line per partition: topic partition
//	move [any-factor]        a line per partition: topic partition [broker,broker…], without brokers to call it off
//	unregister id=N
//	features [validate]      a line per feature: name level type
//	quota [validate]         a line per entity: user=U client-id=C ip=A (without a name: the default), then key:value or key:
//	scram                    a line per user: name mechanism [iterations], without iterations to delete
//	isr id=N [epoch=N]       a line per partition: topic partition leader-epoch partition-epoch broker[@epoch]…
//
// epoch is that of the broker's registration unless it is given. What is printed are the results, then the records.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		m := newMachine(1)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return m.script(t, d) })
	})
}

func (m *machine) script(t *testing.T, d *datadriven.TestData) string {
	cmd, results := m.parse(t, d)
	calls, records, err := m.decide(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := calls[0].err; err != nil {
		fmt.Fprintln(&out, outcome(err))
	} else {
		for _, line := range results() {
			fmt.Fprintln(&out, line)
		}
	}
	for _, r := range records {
		fmt.Fprintln(&out, describe(r))
	}
	return out.String()
}

// outcome is an error as text: its Kafka name and its words.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return kafkaError(err).Message + ": " + err.Error()
}

func outcomes(errs []error) []string {
	var lines []string
	for _, err := range errs {
		lines = append(lines, outcome(err))
	}
	return lines
}

// parse returns a command, and what shows its results.
func (m *machine) parse(t *testing.T, d *datadriven.TestData) (command, func() []string) {
	id := optional(t, d, "id", 0)
	epoch := int64(-1)
	if b := m.image.Broker(metadata.BrokerID(id)); b != nil {
		epoch = b.Epoch
	}
	epoch = int64(optional(t, d, "epoch", int(epoch)))
	lines := strings.FieldsFunc(d.Input, func(r rune) bool { return r == '\n' })
	switch d.Cmd {
	case "register":
		rack := ""
		d.MaybeScanArgs(t, "rack", &rack)
		return &registerBroker{metadata.Broker{ID: metadata.BrokerID(id), Incarnation: metadata.UUID{15: byte(optional(t, d, "incarnation", 1))}, Rack: rack,
			Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 1}}, Directories: []metadata.UUID{{15: byte(optional(t, d, "dir", id))}}}}, nothing
	case "heartbeat":
		cmd := &heartbeat{broker: metadata.BrokerID(id), epoch: epoch, want: Heartbeat{WantFence: d.HasArg("fence"), WantShutdown: d.HasArg("shutdown")}}
		return cmd, func() []string { return []string{fmt.Sprintf("%+v", cmd.state)} }
	case "create":
		return m.parseCreate(t, d, lines)
	case "delete":
		cmd := &deleteTopics{}
		for _, name := range lines {
			topic := m.image.Topic(name)
			if topic == nil {
				topic = &metadata.Topic{ID: metadata.UUID{1, 2, 3}}
			}
			cmd.ids = append(cmd.ids, topic.ID)
		}
		return cmd, func() []string { return outcomes(cmd.errs) }
	case "partitions":
		cmd := &createPartitions{validateOnly: d.HasArg("validate")}
		for _, line := range lines {
			f := strings.Fields(line)
			p := MorePartitions{Topic: f[0], Count: int32(number(t, f[1]))}
			for _, ids := range f[2:] {
				p.Assignments = append(p.Assignments, brokers(t, ids))
			}
			cmd.topics = append(cmd.topics, p)
		}
		return cmd, func() []string { return outcomes(cmd.errs) }
	case "config":
		return m.parseConfig(t, d, lines)
	case "ids":
		cmd := &allocateProducerIDs{broker: metadata.BrokerID(id), epoch: epoch}
		return cmd, func() []string { return []string{fmt.Sprint("first ", cmd.first)} }
	case "elect":
		cmd := &electLeaders{unclean: d.HasArg("unclean")}
		for _, line := range lines {
			f := strings.Fields(line)
			cmd.partitions = append(cmd.partitions, PartitionName{f[0], int32(number(t, f[1]))})
		}
		return cmd, func() []string { return outcomes(cmd.errs) }
	case "move":
		cmd := &reassign{sameFactor: !d.HasArg("any-factor")}
		for _, line := range lines {
			f := strings.Fields(line)
			r := Reassignment{PartitionName: PartitionName{f[0], int32(number(t, f[1]))}}
			if len(f) > 2 {
				r.Replicas = brokers(t, f[2])
			}
			cmd.moves = append(cmd.moves, r)
		}
		return cmd, func() []string { return outcomes(cmd.errs) }
	case "unregister":
		return &unregisterBroker{metadata.BrokerID(id)}, nothing
	case "features":
		cmd := &updateFeatures{validateOnly: d.HasArg("validate")}
		for _, line := range lines {
			f := strings.Fields(line)
			cmd.updates = append(cmd.updates, FeatureUpdate{f[0], int16(number(t, f[1])), UpgradeType(number(t, f[2]))})
		}
		return cmd, nothing
	case "quota":
		return parseQuotas(t, d, lines)
	case "scram":
		cmd := &alterScram{}
		for _, line := range lines {
			f := strings.Fields(line)
			a := ScramAlteration{User: metadata.ScramUser{Name: f[0], Mechanism: metadata.ScramMechanism(number(t, f[1]))}}
			if len(f) > 2 {
				a.Credential = &metadata.ScramCredential{Salt: []byte("s"), StoredKey: []byte("k"), ServerKey: []byte("v"), Iterations: int32(number(t, f[2]))}
			}
			cmd.alterations = append(cmd.alterations, a)
		}
		return cmd, func() []string { return outcomes(cmd.errs) }
	case "isr":
		return m.parseISR(t, metadata.BrokerID(id), epoch, lines)
	}
	t.Fatalf("unknown command %q", d.Cmd)
	return nil, nil
}

func parseQuotas(t *testing.T, d *datadriven.TestData, lines []string) (command, func() []string) {
	cmd := &alterClientQuotas{validateOnly: d.HasArg("validate")}
	for _, line := range lines {
		a := QuotaAlteration{Set: map[string]*float64{}}
		for _, word := range strings.Fields(line) {
			if key, value, ok := strings.Cut(word, ":"); ok {
				if a.Set[key] = nil; value != "" {
					f, err := strconv.ParseFloat(value, 64)
					if err != nil {
						t.Fatal(err)
					}
					a.Set[key] = &f
				}
				continue
			}
			kind, name, named := strings.Cut(word, "=")
			part := metadata.QuotaName{Kind: metadata.QuotaDefault}
			if named {
				part = metadata.QuotaName{Kind: metadata.QuotaNamed, Name: name}
			}
			switch kind {
			case "user":
				a.Entity.User = part
			case "client-id":
				a.Entity.ClientID = part
			case "ip":
				a.Entity.IP = part
			}
		}
		cmd.alterations = append(cmd.alterations, a)
	}
	return cmd, func() []string { return outcomes(cmd.errs) }
}

func nothing() []string { return nil }

func (m *machine) parseCreate(t *testing.T, d *datadriven.TestData, lines []string) (command, func() []string) {
	cmd := &createTopics{validateOnly: d.HasArg("validate")}
	for _, line := range lines {
		f := strings.Fields(line)
		topic := NewTopic{Name: f[0], Partitions: int32(number(t, f[1])), ReplicationFactor: int16(number(t, f[2]))}
		for _, word := range f[3:] {
			if p, ids, ok := strings.Cut(word, ":"); ok {
				topic.Assignments = append(topic.Assignments, Assignment{int32(number(t, p)), brokers(t, ids)})
			} else if name, value, ok := strings.Cut(word, "="); ok {
				topic.Configs = append(topic.Configs, ConfigSetting{name, &value})
			} else {
				topic.Configs = append(topic.Configs, ConfigSetting{word, nil})
			}
		}
		cmd.topics = append(cmd.topics, topic)
	}
	return cmd, func() []string {
		var lines []string
		for _, r := range cmd.results {
			line := outcome(r.Err)
			if r.Err == nil {
				line = fmt.Sprintf("id %d partitions %d factor %d configs %v", r.ID[15], r.Partitions, r.ReplicationFactor, r.Configs)
			}
			lines = append(lines, line)
		}
		return lines
	}
}

func (m *machine) parseConfig(t *testing.T, d *datadriven.TestData, lines []string) (command, func() []string) {
	cmd := &alterConfigs{validateOnly: d.HasArg("validate")}
	for _, line := range lines {
		f := strings.Fields(line)
		name, err := strconv.Unquote(f[1])
		if err != nil {
			name = f[1]
		}
		a := ConfigAlteration{Resource: metadata.ConfigResource{Type: metadata.ConfigType(number(t, f[0])), Name: name}, Set: map[string]*string{}}
		for _, word := range f[2:] {
			if config, value, ok := strings.Cut(word, "="); ok {
				a.Set[config] = &value
			} else {
				a.Set[word] = nil
			}
		}
		cmd.alterations = append(cmd.alterations, a)
	}
	return cmd, func() []string { return outcomes(cmd.errs) }
}

func (m *machine) parseISR(t *testing.T, id metadata.BrokerID, epoch int64, lines []string) (command, func() []string) {
	cmd := &alterPartitions{broker: id, epoch: epoch}
	for _, line := range lines {
		f := strings.Fields(line)
		p := ISRProposal{Partition: int32(number(t, f[1])), LeaderEpoch: metadata.LeaderEpoch(number(t, f[2])), PartitionEpoch: metadata.PartitionEpoch(number(t, f[3]))}
		if topic := m.image.Topic(f[0]); topic != nil {
			p.Topic = topic.ID
		}
		for _, word := range f[4:] {
			member, at, given := strings.Cut(word, "@")
			b := ISRMember{ID: metadata.BrokerID(number(t, member))}
			if known := m.image.Broker(b.ID); known != nil {
				b.Epoch = known.Epoch
			}
			if given {
				b.Epoch = int64(number(t, at))
			}
			p.ISR = append(p.ISR, b)
		}
		cmd.proposals = append(cmd.proposals, p)
	}
	return cmd, func() []string {
		var lines []string
		for _, o := range cmd.outcomes {
			line := outcome(o.Err)
			if o.Err == nil {
				line = fmt.Sprintf("isr %v leader %d/%d partition epoch %d", o.Partition.ISR, o.Partition.Leader, o.Partition.LeaderEpoch, o.Partition.PartitionEpoch)
			}
			lines = append(lines, line)
		}
		return lines
	}
}

func optional(t *testing.T, d *datadriven.TestData, name string, n int) int {
	d.MaybeScanArgs(t, name, &n)
	return n
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// brokers reads a list such as 1,2,3; "none" is the empty one.
func brokers(t *testing.T, s string) []metadata.BrokerID {
	t.Helper()
	if s == "none" {
		return []metadata.BrokerID{}
	}
	var ids []metadata.BrokerID
	for word := range slices.Values(strings.Split(s, ",")) {
		ids = append(ids, metadata.BrokerID(number(t, word)))
	}
	return ids
}
