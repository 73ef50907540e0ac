package handler

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// wantTopics is a Metadata request for topics, each a name or an id; without any it asks for none.
func wantTopics(auto bool, topics ...any) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = auto
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, t := range topics {
		r := kmsg.NewMetadataRequestTopic()
		switch t := t.(type) {
		case string:
			r.Topic = &t
		case metadata.UUID:
			r.TopicID = t
		case nil: // neither
		}
		req.Topics = append(req.Topics, r)
	}
	return req
}

func (cl *cluster) metadata(version int16, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	cl.t.Helper()
	return cl.ask(version, req).(*kmsg.MetadataResponse)
}

// codes returns the errors of the rows by name; a row without a name stands as its id.
func codes(resp *kmsg.MetadataResponse) map[string]int16 {
	got := map[string]int16{}
	for _, row := range resp.Topics {
		name := metadata.UUID(row.TopicID).String()
		if row.Topic != nil {
			name = *row.Topic
		}
		got[name] = row.ErrorCode
	}
	return got
}

// T100: rule 7.1.1.
func TestT100WhichTopics(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("a", 2, 1), topic("b", 1, 1))
	all := kmsg.NewPtrMetadataRequest() // null
	for v := int16(0); v <= 13; v++ {
		want := 0
		if v == 0 {
			want = 2 // an empty list is all there is for "all"
		}
		if got := len(cl.metadata(v, wantTopics(false)).Topics); got != want {
			t.Errorf("v%d: an empty list gives %d topics, want %d", v, got, want)
		}
		resp := cl.metadata(v, all)
		if got := codes(resp); len(got) != 2 || got["a"] != 0 || got["b"] != 0 {
			t.Errorf("v%d: all topics are %v", v, got)
		}
		checkMetadata(t, v, resp)
	}
}

// checkMetadata checks what is the same in every good response of newCluster: fields that a version has, and those that
// it has not.
func checkMetadata(t *testing.T, v int16, resp *kmsg.MetadataResponse) {
	t.Helper()
	if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != 1 || resp.Brokers[0].Host != "broker-1" || resp.Brokers[0].Port != 9092 {
		t.Errorf("v%d: brokers %+v", v, resp.Brokers)
	}
	if (v >= 1) != (resp.ControllerID == 1) {
		t.Errorf("v%d: controller %d", v, resp.ControllerID)
	}
	if (v >= 2) != (resp.ClusterID != nil && *resp.ClusterID == clusterID) {
		t.Errorf("v%d: cluster id %s", v, text(resp.ClusterID))
	}
	if resp.ErrorCode != 0 || resp.AuthorizedOperations != noOperations {
		t.Errorf("v%d: error %d, operations %d", v, resp.ErrorCode, resp.AuthorizedOperations)
	}
	for _, topic := range resp.Topics {
		if (v >= 10) == (topic.TopicID == [16]byte{}) || topic.AuthorizedOperations != noOperations || topic.IsInternal {
			t.Errorf("v%d: %+v", v, topic)
		}
		for i, p := range topic.Partitions {
			epoch := int32(-1)
			if v >= 7 {
				epoch = 0
			}
			if p.ErrorCode != 0 || p.Partition != int32(i) || p.Leader != 1 || p.LeaderEpoch != epoch ||
				!slices.Equal(p.Replicas, []int32{1}) || !slices.Equal(p.ISR, []int32{1}) || len(p.OfflineReplicas) > 0 {
				t.Errorf("v%d: partition %+v", v, p)
			}
		}
	}
}

// T101: rules 7.1.3 to 7.1.6, and the trap that versions below 4 mean yes.
func TestT101AutoCreation(t *testing.T) {
	cl := newCluster(t)
	for v := int16(0); v <= 13; v++ {
		name := fmt.Sprintf("auto-%d", v)
		req := wantTopics(v >= 4, name, "a b")
		got := codes(cl.metadata(v, req))
		if got[name] != kerr.UnknownTopicOrPartition.Code || got["a b"] != kerr.InvalidTopicException.Code {
			t.Errorf("v%d: first %v", v, got)
		}
		cl.eventually(name+" is created", func() bool { return codes(cl.metadata(v, req))[name] == 0 })
		if v < 4 {
			continue
		}
		name = "not-" + name
		for range 3 {
			checkCode(t, name, codes(cl.metadata(v, wantTopics(false, name)))[name], kerr.UnknownTopicOrPartition)
		}
	}
	cl.deps.Admin.AutoCreateTopics = false
	cl.metadata(0, wantTopics(true, "off"))
	cl.create(topic("later", 1, 1)) // whatever was asked of the controller before is done now
	for topic := range cl.deps.Metadata.Load().Topics {
		if topic.Name == "off" || topic.Name[:4] == "not-" {
			t.Errorf("%s was created", topic.Name)
		}
	}
}

// Rule 7.1.7: topics of coordinators have settings of their own, and are not made by a broker that has none for them.
func TestAutoCreationOfInternalTopics(t *testing.T) {
	cl := newCluster(t)
	names := []any{"__consumer_offsets", "__transaction_state", "__cluster_metadata"}
	cl.metadata(9, wantTopics(true, names...))
	cl.eventually("__consumer_offsets is there", func() bool { return cl.deps.Metadata.Load().Topic("__consumer_offsets") != nil })
	resp := cl.metadata(9, wantTopics(true, names...))
	for _, row := range resp.Topics {
		internal := *row.Topic != "__cluster_metadata"
		if row.IsInternal != internal {
			t.Errorf("%s: internal is %t", *row.Topic, row.IsInternal)
		}
		if *row.Topic == "__consumer_offsets" && len(row.Partitions) != 50 {
			t.Errorf("%d partitions", len(row.Partitions))
		}
	}
	if n := cl.deps.Metadata.Load().NumTopics(); n != 1 {
		t.Errorf("%d topics", n)
	}
}

// A topic that cannot be created is asked of the controller once in a while, not each time that a client asks.
func TestAutoCreationThatFails(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("a.b", 1, 1))
	creation := newAutoCreation(cl.deps)
	creation.start(t.Context(), []string{"a_b"})
	cl.eventually("the failure is remembered", func() bool {
		creation.mu.Lock()
		defer creation.mu.Unlock()
		return !creation.busy["a_b"].IsZero()
	})
	if topics := creation.claim([]string{"a_b", "c", "c"}); len(topics) != 1 || topics[0].Name != "c" {
		t.Errorf("claimed %+v, want c once", topics)
	}
	checkCode(t, "a_b", codes(cl.metadata(9, wantTopics(true, "a_b")))["a_b"], kerr.UnknownTopicOrPartition)
}

// T102: rules 7.1.2 and 7.1.3.
func TestT102ByID(t *testing.T) {
	cl := newCluster(t)
	ts := cl.create(topic("a", 1, 1), topic("b", 1, 1))
	unknown := metadata.UUID{1, 2, 3}
	resp := cl.metadata(12, wantTopics(true, ts[0].ID, unknown, ts[0].ID, unknown, "b"))
	want := map[string]int16{"a": 0, unknown.String(): kerr.UnknownTopicID.Code}
	if got := codes(resp); len(resp.Topics) != len(want) || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, req := range []*kmsg.MetadataRequest{wantTopics(false, ts[0].ID, "b"), wantTopics(false, nil, "b")} {
		for v := int16(10); v <= 12; v++ {
			if v == 12 && req.Topics[0].TopicID != [16]byte{} {
				continue // good there
			}
			resp := cl.metadata(v, req)
			if len(resp.Topics) != 2 || len(resp.Brokers) != 0 || resp.ControllerID != -1 {
				t.Errorf("v%d: %+v", v, resp)
			}
			for _, row := range resp.Topics {
				checkCode(t, fmt.Sprintf("v%d %s", v, text(row.Topic)), row.ErrorCode, kerr.InvalidRequest)
			}
		}
	}
}

// T103: rule 1.6.6.
func TestT103Listeners(t *testing.T) {
	cl := newCluster(t)
	local := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 9092}
	remote := &net.TCPAddr{IP: net.IPv4(172, 17, 0, 1), Port: 50000}
	s := Session{Principal: acl.Anonymous, RemoteHost: "172.17.0.1", Local: local, Remote: remote}
	gateway := netip.MustParseAddr("172.17.0.1")
	tests := []struct {
		what      string
		addresses Addresses
		listener  string
		sni       string
		want      string
	}{
		{"set explicitly", Addresses{Explicit: map[string]bool{"PLAINTEXT": true}, Gateway: gateway}, "PLAINTEXT", "", "broker-1:9092"},
		{"another listener", Addresses{Explicit: map[string]bool{"EXTERNAL": true}}, "EXTERNAL", "", "example.com:19092"},
		{"not set", Addresses{}, "PLAINTEXT", "", "10.1.2.3:9092"},
		{"through a published port", Addresses{Gateway: gateway}, "PLAINTEXT", "", "localhost:9092"},
		{"over TLS", Addresses{Gateway: gateway}, "PLAINTEXT", "kafka.example.org", "kafka.example.org:9092"},
	}
	for _, test := range tests {
		cl.deps.Admin.Addresses = test.addresses
		s.ListenerName, s.ServerName = test.listener, test.sni
		b := cl.askOn(&s, 12, wantTopics(false)).(*kmsg.MetadataResponse).Brokers
		if len(b) != 1 || (Endpoint{b[0].Host, b[0].Port}).String() != test.want {
			t.Errorf("%s: %+v, want %s", test.what, b, test.want)
		}
	}
	s.ListenerName = "CONTROLLER"
	if b := cl.askOn(&s, 12, wantTopics(false)).(*kmsg.MetadataResponse); len(b.Brokers) != 0 || b.ControllerID != -1 {
		t.Errorf("on a listener that no broker has: %+v", b)
	}
}

// T112 and rule 7.1.4: what is not allowed looks the same whether it exists or not.
func TestT112Unauthorized(t *testing.T) {
	cl := newCluster(t)
	ts := cl.create(topic("seen", 1, 1), topic("hidden", 1, 1))
	alice := acl.Principal{Type: "User", Name: "alice"}
	g := grants{}
	g.grant(alice, acl.Describe, acl.Topic, "seen")
	g.grant(alice, acl.Describe, acl.Topic, "new")
	cl.deps.Authorizer = g
	ask := func(req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
		return cl.askAs(alice, 12, req).(*kmsg.MetadataResponse)
	}
	resp := ask(wantTopics(true, "seen", "hidden", "nope", "new"))
	for _, row := range resp.Topics {
		if *row.Topic == "seen" {
			checkCode(t, "seen", row.ErrorCode, nil)
			continue
		}
		checkCode(t, *row.Topic, row.ErrorCode, kerr.TopicAuthorizationFailed) // "new" for want of CREATE
		if row.TopicID != [16]byte{} || row.IsInternal || len(row.Partitions) > 0 {
			t.Errorf("%+v", row)
		}
	}
	if got := codes(ask(kmsg.NewPtrMetadataRequest())); len(got) != 1 || got["seen"] != 0 {
		t.Errorf("all topics are %v", got)
	}
	for _, row := range ask(wantTopics(false, ts[1].ID)).Topics {
		checkCode(t, "by id", row.ErrorCode, kerr.TopicAuthorizationFailed)
		if row.Topic != nil || row.TopicID != ts[1].ID {
			t.Errorf("%+v", row)
		}
	}
	g.grant(alice, acl.Create, acl.Topic, "new")
	checkCode(t, "new", codes(ask(wantTopics(true, "new")))["new"], kerr.UnknownTopicOrPartition)
	cl.eventually("new is created", func() bool { return codes(ask(wantTopics(true, "new")))["new"] == 0 })
}

// Rule 7.1.12; the numbers are those of Kafka 4.3.1.
func TestAuthorizedOperations(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("a", 1, 1))
	req := wantTopics(false, "a", "nope")
	req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
	for v := int16(8); v <= 13; v++ {
		resp := cl.metadata(v, req)
		cluster := int32(noOperations)
		if v <= 10 {
			cluster = 8096
		}
		if resp.AuthorizedOperations != cluster {
			t.Errorf("v%d: cluster %d, want %d", v, resp.AuthorizedOperations, cluster)
		}
		for _, row := range resp.Topics {
			if row.AuthorizedOperations != 3576 {
				t.Errorf("v%d %s: %d", v, *row.Topic, row.AuthorizedOperations)
			}
		}
	}
	cl.deps.Authorizer = grants{}
	if resp := cl.metadata(8, req); resp.AuthorizedOperations != 0 || resp.Topics[0].AuthorizedOperations != noOperations {
		t.Errorf("without DESCRIBE: cluster %d, topic %d", resp.AuthorizedOperations, resp.Topics[0].AuthorizedOperations)
	}
}

// Rule 7.1.11, on an image of a cluster with dead brokers and brokers that lack a listener.
func TestPartitionsWithoutLeader(t *testing.T) {
	plain := metadata.Listener{Name: "PLAINTEXT", Host: "h", Port: 1}
	other := metadata.Listener{Name: "OTHER", Host: "h", Port: 2}
	id := metadata.UUID{1}
	partition := func(i, leader int32, replicas ...int32) metadata.Record {
		return &metadata.PartitionRecord{Topic: id, Partition: i, PartitionRegistration: metadata.PartitionRegistration{
			Replicas: replicas, ISR: replicas[:1], Leader: leader}}
	}
	im, err := new(metadata.Image).Apply(1,
		&metadata.RegisterBrokerRecord{Broker: metadata.Broker{ID: 1, Listeners: []metadata.Listener{plain}}},
		&metadata.RegisterBrokerRecord{Broker: metadata.Broker{ID: 2, Listeners: []metadata.Listener{plain}, Fenced: true}},
		&metadata.RegisterBrokerRecord{Broker: metadata.Broker{ID: 3, Listeners: []metadata.Listener{other}, Rack: "r"}},
		&metadata.TopicRecord{Name: "t", ID: id}, partition(0, -1, 2, 1), partition(1, 3, 3, 1), partition(2, 1, 1, 3))
	if err != nil {
		t.Fatal(err)
	}
	cl := &cluster{t: t, deps: &Deps{NodeID: 1, Metadata: new(metadata.Cell), Authorizer: acl.AllowAll{},
		Admin: Admin{Addresses: Addresses{Explicit: map[string]bool{"PLAINTEXT": true}}, MaxDescribedPartitions: 10}}}
	cl.deps.Metadata.Store(im)
	cl.rows = []API{metadataAPI(cl.deps), describeTopicPartitionsAPI(cl.deps)}
	type row struct {
		code              int16
		leader            int32
		replicas, offline []int32
	}
	want := map[int16][]row{
		13: {{5, -1, []int32{2, 1}, []int32{2}}, {72, -1, []int32{3, 1}, nil}, {0, 1, []int32{1, 3}, nil}},
		6:  {{5, -1, []int32{2, 1}, []int32{2}}, {72, -1, []int32{3, 1}, nil}, {0, 1, []int32{1, 3}, nil}},
		5:  {{5, -1, []int32{2, 1}, []int32{2}}, {5, -1, []int32{3, 1}, nil}, {0, 1, []int32{1, 3}, nil}},
		1:  {{5, -1, []int32{2, 1}, nil}, {5, -1, []int32{3, 1}, nil}, {0, 1, []int32{1, 3}, nil}},
		0:  {{5, -1, []int32{1}, nil}, {5, -1, []int32{1}, nil}, {9, 1, []int32{1}, nil}},
	}
	for v, rows := range want {
		resp := cl.metadata(v, wantTopics(false, "t"))
		if len(resp.Brokers) != 1 {
			t.Errorf("v%d: brokers %+v", v, resp.Brokers)
		}
		for i, p := range resp.Topics[0].Partitions {
			w := rows[i]
			if p.ErrorCode != w.code || p.Leader != w.leader || !slices.Equal(p.Replicas, w.replicas) || !slices.Equal(p.OfflineReplicas, w.offline) {
				t.Errorf("v%d partition %d: %+v, want %+v", v, i, p, w)
			}
		}
	}
	resp := cl.ask(0, kmsg.NewPtrDescribeTopicPartitionsRequest()).(*kmsg.DescribeTopicPartitionsResponse)
	for i, code := range []int16{5, 72, 0} {
		if len(resp.Topics[0].Partitions) > i && resp.Topics[0].Partitions[i].ErrorCode != code {
			t.Errorf("DescribeTopicPartitions, partition %d: %+v", i, resp.Topics[0].Partitions[i])
		}
	}
}

func TestDefaultGateway(t *testing.T) {
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" +
		"eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
	if got := DefaultGateway([]byte(table)).String(); got != "172.17.0.1" {
		t.Errorf("gateway %s", got)
	}
	for _, none := range []string{"", "Iface\n", "a\t00000000\tzz\n", "a\t00000000\t00000000\n"} {
		if got := DefaultGateway([]byte(none)); got.IsValid() {
			t.Errorf("%q has gateway %v", none, got)
		}
	}
}

// Rule 7.1.16: the response to "all topics" allocates for the response and the topics, not for each partition.
func BenchmarkMetadataAllTopics(b *testing.B) {
	records := []metadata.Record{&metadata.RegisterBrokerRecord{Broker: metadata.Broker{ID: 1,
		Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 1}}}}}
	for i := range 1000 {
		id := metadata.UUID{1, byte(i >> 8), byte(i)}
		records = append(records, &metadata.TopicRecord{Name: fmt.Sprintf("topic-%d", i), ID: id})
		for p := range int32(20) {
			records = append(records, &metadata.PartitionRecord{Topic: id, Partition: p, PartitionRegistration: metadata.PartitionRegistration{
				Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}})
		}
	}
	im, err := new(metadata.Image).Apply(1, records...)
	if err != nil {
		b.Fatal(err)
	}
	d := &Deps{NodeID: 1, Metadata: new(metadata.Cell), Authorizer: acl.AllowAll{}}
	d.Metadata.Store(im)
	row := metadataAPI(d)
	c := &Context{Session: &Session{ListenerName: "PLAINTEXT"}, Ctx: b.Context(), Version: 12}
	req := kmsg.NewPtrMetadataRequest()
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		resp := row.Handle(c, req)
		resp.SetVersion(12)
		out = resp.AppendTo(out[:0])
	}
	b.SetBytes(int64(len(out)))
}
