package assert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// admin is about topics and configs (chapters 7.3 to 7.7 of the rules).
var admin = []assertion{
	{number: "T104", claim: "CreateTopics refuses each kind of wrong topic with its own error", try: refusedTopics},
	{number: "T105", claim: "validate_only creates nothing, and answers as if it had", try: validateOnly},
	{number: "T106", claim: "DeleteTopics wants a name or an id; a topic created again has another id", try: deletedTopics},
	{number: "T107", claim: "CreatePartitions to the count that is there is error 37", try: samePartitionCount},
	{number: "T108", claim: "IncrementalAlterConfigs appends to lists only, once, and DELETE restores the default", try: incrementalConfigs},
	// Alone, since it changes the retention that every topic inherits.
	{number: "T109", claim: "synonyms name every level that sets a value, strongest first", try: synonyms, alone: true},
	{number: "T110", claim: "ElectLeaders for all elects nobody who leads, and for one that leads is error 84", try: electLeaders},
	{number: "T113", claim: "SCRAM credentials with few iterations, of one user twice, and missing ones are refused", try: scramCredentials},
}

// newTopic is a row of CreateTopics for one partition with one replica.
func newTopic(name string) kmsg.CreateTopicsRequestTopic {
	row := kmsg.NewCreateTopicsRequestTopic()
	row.Topic, row.NumPartitions, row.ReplicationFactor = name, 1, 1
	return row
}

func assigned(partitions ...int32) (rows []kmsg.CreateTopicsRequestTopicReplicaAssignment) {
	for _, p := range partitions {
		row := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		row.Partition, row.Replicas = p, []int32{1}
		rows = append(rows, row)
	}
	return rows
}

func refusedTopics(c *check) {
	n := c.dial()
	collides := c.create(newTopic(c.newName() + "_b"))
	n.awaitServing(collides, 1)
	for _, r := range []struct {
		what string
		name string
		want *kerr.Error
		with func(*kmsg.CreateTopicsRequestTopic)
	}{
		{"250 characters", strings.Repeat("x", 250), kerr.InvalidTopicException, nil},
		{"a dot", ".", kerr.InvalidTopicException, nil},
		{"a blank", "a b", kerr.InvalidTopicException, nil},
		{"a dot where a topic has an underscore", strings.TrimSuffix(collides.name, "_b") + ".b", kerr.InvalidTopicException, nil},
		{"a topic that exists", collides.name, kerr.TopicAlreadyExists, nil},
		{"more replicas than brokers", c.newName(), kerr.InvalidReplicationFactor, func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 2 }},
		{"no replicas", c.newName(), kerr.InvalidReplicationFactor, func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicationFactor = 0 }},
		{"no partitions", c.newName(), kerr.InvalidPartitions, func(t *kmsg.CreateTopicsRequestTopic) { t.NumPartitions = 0 }},
		{"a gap in the partitions", c.newName(), kerr.InvalidReplicaAssignment, func(t *kmsg.CreateTopicsRequestTopic) {
			t.NumPartitions, t.ReplicationFactor, t.ReplicaAssignment = -1, -1, assigned(0, 2)
		}},
		{"a count beside an assignment", c.newName(), kerr.InvalidRequest, func(t *kmsg.CreateTopicsRequestTopic) { t.ReplicaAssignment = assigned(0) }},
		{"an unknown config", c.newName(), kerr.InvalidConfig, func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "no.such.key", Value: kmsg.StringPtr("1")}}
		}},
		{"a value that is no number", c.newName(), kerr.InvalidConfig, func(t *kmsg.CreateTopicsRequestTopic) {
			t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("soon")}}
		}},
	} {
		row := newTopic(r.name)
		if r.with != nil {
			r.with(&row)
		}
		resp := ask[*kmsg.CreateTopicsResponse](n, createTopics(c, row))
		c.wantCode(r.what, resp.Topics[0].ErrorCode, r.want)
		if r.want != kerr.TopicAlreadyExists {
			equal(c, r.what+": there is a topic", n.metadataOf(r.name).ErrorCode == 0, false)
		}
	}
	twice := newTopic(c.newName())
	resp := ask[*kmsg.CreateTopicsResponse](n, createTopics(c, twice, twice))
	equal(c, "rows for a name that is there twice", len(resp.Topics), 1)
	c.wantCode("a name that is there twice", resp.Topics[0].ErrorCode, kerr.InvalidRequest)
}

func validateOnly(c *check) {
	n := c.dial()
	row := newTopic(c.newName())
	row.NumPartitions, row.Configs = 3, []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("12345")}}
	req := createTopics(c, row)
	for _, req.ValidateOnly = range []bool{true, false} {
		resp := ask[*kmsg.CreateTopicsResponse](n, req).Topics[0]
		c.wantCode("CreateTopics", resp.ErrorCode, nil)
		equal(c, "partitions", resp.NumPartitions, 3)
		equal(c, "replication factor", resp.ReplicationFactor, 1)
		equal(c, "has an id", resp.TopicID != [16]byte{}, true)
		retention := slices.IndexFunc(resp.Configs, func(r kmsg.CreateTopicsResponseTopicConfig) bool { return r.Name == "retention.ms" })
		if retention < 0 || *resp.Configs[retention].Value != "12345" || len(resp.Configs) < 20 {
			c.Errorf("the answer has %d configs, and retention.ms at %d; want all, with the value asked for", len(resp.Configs), retention)
		}
		if req.ValidateOnly {
			c.wantCode("the topic after validate_only", n.metadataOf(row.Topic).ErrorCode, kerr.UnknownTopicOrPartition)
		}
	}
	n.eventually("without validate_only the topic is there", func() bool { return n.metadataOf(row.Topic).ErrorCode == 0 })
}

func deletedTopics(c *check) {
	t, n := c.topic(), c.dial()
	for _, r := range []struct {
		what string
		name *string
		id   [16]byte
		want *kerr.Error
	}{
		{"name and id", &t.name, t.id, kerr.InvalidRequest},
		{"neither", nil, [16]byte{}, kerr.InvalidRequest},
		{"an unknown id", nil, [16]byte{1, 2, 3}, kerr.UnknownTopicID},
		{"an unknown name", kmsg.StringPtr(c.newName()), [16]byte{}, kerr.UnknownTopicOrPartition},
		{"a name", &t.name, [16]byte{}, nil},
		{"the name again", &t.name, [16]byte{}, kerr.UnknownTopicOrPartition},
	} {
		req := kmsg.NewPtrDeleteTopicsRequest()
		row := kmsg.NewDeleteTopicsRequestTopic()
		row.Topic, row.TopicID = r.name, r.id
		req.Version, req.TimeoutMillis, req.Topics = 6, 10_000, append(req.Topics, row)
		c.wantCode(r.what, ask[*kmsg.DeleteTopicsResponse](n, req).Topics[0].ErrorCode, r.want)
	}
	again := c.create(newTopic(t.name))
	equal(c, "the new topic has the old id", again.id == t.id, false)
	equal(c, "log end of the new topic", n.end(again), 0)
}

func samePartitionCount(c *check) {
	t, n := c.topicOf(2), c.dial()
	for _, r := range []struct {
		count int32
		want  *kerr.Error
	}{{2, kerr.InvalidPartitions}, {1, kerr.InvalidPartitions}, {3, nil}, {3, kerr.InvalidPartitions}} {
		req := newest(c, kmsg.NewPtrCreatePartitionsRequest())
		row := kmsg.NewCreatePartitionsRequestTopic()
		row.Topic, row.Count = t.name, r.count
		req.TimeoutMillis, req.Topics = 10_000, append(req.Topics, row)
		resp := ask[*kmsg.CreatePartitionsResponse](n, req)
		c.wantCode(fmt.Sprintf("CreatePartitions to %d", r.count), resp.Topics[0].ErrorCode, r.want)
	}
	n.awaitServing(t, 3)
}

// change is one change of IncrementalAlterConfigs; value is left out for DELETE.
type change struct {
	op         kmsg.IncrementalAlterConfigOp
	key, value string
}

func alteration(kind kmsg.ConfigResourceType, name string, changes ...change) kmsg.IncrementalAlterConfigsRequestResource {
	row := kmsg.NewIncrementalAlterConfigsRequestResource()
	row.ResourceType, row.ResourceName = kind, name
	for _, ch := range changes {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Op, config.Name = ch.op, ch.key
		if ch.op != kmsg.IncrementalAlterConfigOpDelete {
			config.Value = &ch.value
		}
		row.Configs = append(row.Configs, config)
	}
	return row
}

// alter returns the error codes of the rows.
func (n *conn) alter(rows ...kmsg.IncrementalAlterConfigsRequestResource) (codes []int16) {
	n.c.Helper()
	req := newest(n.c, kmsg.NewPtrIncrementalAlterConfigsRequest())
	req.Resources = rows
	for _, row := range ask[*kmsg.IncrementalAlterConfigsResponse](n, req).Resources {
		codes = append(codes, row.ErrorCode)
	}
	return codes
}

// describe asks for one key of a resource, with synonyms.
func (n *conn) describe(kind kmsg.ConfigResourceType, name, key string) kmsg.DescribeConfigsResponseResourceConfig {
	n.c.Helper()
	req := newest(n.c, kmsg.NewPtrDescribeConfigsRequest())
	row := kmsg.NewDescribeConfigsRequestResource()
	row.ResourceType, row.ResourceName, row.ConfigNames = kind, name, []string{key}
	req.IncludeSynonyms, req.Resources = true, append(req.Resources, row)
	resp := ask[*kmsg.DescribeConfigsResponse](n, req).Resources[0]
	if resp.ErrorCode != 0 || len(resp.Configs) != 1 || resp.Configs[0].Value == nil {
		n.c.Fatalf("describing %s of %q: %s, %d rows", key, name, codeName(resp.ErrorCode), len(resp.Configs))
	}
	return resp.Configs[0]
}

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
)

// wantConfig waits until a topic's config has a value from a source: a broker applies changes a little later.
func (n *conn) wantConfig(t topic, key, value string, source kmsg.ConfigSource) {
	n.c.Helper()
	n.eventually(fmt.Sprintf("%s is %q from source %d", key, value, source), func() bool {
		row := n.describe(ofTopic, t.name, key)
		return *row.Value == value && row.Source == source
	})
}

func incrementalConfigs(c *check) {
	t, n := c.topic("cleanup.policy=delete"), c.dial()
	usual := *n.describe(ofTopic, t.name, "segment.ms").Value
	for _, r := range []struct {
		what   string
		change change
		want   *kerr.Error
	}{
		{"APPEND to a list", change{kmsg.IncrementalAlterConfigOpAppend, "cleanup.policy", "compact"}, nil},
		{"the same again", change{kmsg.IncrementalAlterConfigOpAppend, "cleanup.policy", "compact"}, nil},
		{"APPEND to a number", change{kmsg.IncrementalAlterConfigOpAppend, "segment.ms", "1"}, kerr.InvalidConfig},
		{"SET", change{kmsg.IncrementalAlterConfigOpSet, "segment.ms", "77777"}, nil},
		{"SET of an unknown key", change{kmsg.IncrementalAlterConfigOpSet, "no.such.key", "1"}, kerr.InvalidConfig},
	} {
		c.wantCode(r.what, n.alter(alteration(ofTopic, t.name, r.change))[0], r.want)
	}
	n.wantConfig(t, "cleanup.policy", "delete,compact", kmsg.ConfigSourceDynamicTopicConfig)
	n.wantConfig(t, "segment.ms", "77777", kmsg.ConfigSourceDynamicTopicConfig)

	one := alteration(ofTopic, t.name, change{kmsg.IncrementalAlterConfigOpSet, "segment.ms", "88888"})
	for _, code := range n.alter(one, one) {
		c.wantCode("the same topic twice", code, kerr.InvalidRequest)
	}
	c.wantCode("SUBTRACT", n.alter(alteration(ofTopic, t.name, change{kmsg.IncrementalAlterConfigOpSubtract, "cleanup.policy", "delete"}))[0], nil)
	c.wantCode("DELETE", n.alter(alteration(ofTopic, t.name, change{op: kmsg.IncrementalAlterConfigOpDelete, key: "segment.ms"}))[0], nil)
	n.wantConfig(t, "cleanup.policy", "compact", kmsg.ConfigSourceDynamicTopicConfig)
	n.wantConfig(t, "segment.ms", usual, kmsg.ConfigSourceDefaultConfig)
}

// synonyms is rule 7.7.3. Kafka names the default of log.retention.hours only where log.retention.ms is set.
func synonyms(c *check) {
	t, n := c.topic("retention.ms=11111"), c.dial()
	set := func(value string) change {
		return change{kmsg.IncrementalAlterConfigOpSet, "log.retention.ms", value}
	}
	unset := change{op: kmsg.IncrementalAlterConfigOpDelete, key: "log.retention.ms"}
	c.Cleanup(func() { n.alter(alteration(ofBroker, "", unset), alteration(ofBroker, "1", unset)) })
	for _, code := range n.alter(alteration(ofBroker, "", set("33333")), alteration(ofBroker, "1", set("22222"))) {
		c.wantCode("setting log.retention.ms", code, nil)
	}
	want := []string{
		fmt.Sprint(kmsg.ConfigSourceDynamicTopicConfig, " retention.ms=11111"),
		fmt.Sprint(kmsg.ConfigSourceDynamicBrokerConfig, " log.retention.ms=22222"),
		fmt.Sprint(kmsg.ConfigSourceDynamicDefaultBrokerConfig, " log.retention.ms=33333"),
		fmt.Sprint(kmsg.ConfigSourceDefaultConfig, " log.retention.hours=168"),
	}
	var have []string
	n.eventually("the broker has applied what was set", func() bool {
		have = nil
		for _, s := range n.describe(ofTopic, t.name, "retention.ms").ConfigSynonyms {
			value := "null"
			if s.Value != nil {
				value = *s.Value
			}
			have = append(have, fmt.Sprintf("%v %s=%s", s.Source, s.Name, value))
		}
		return len(have) >= len(want)
	})
	if !slices.Equal(have, want) {
		c.Errorf("synonyms of retention.ms: %q, want %q", have, want)
	}
	n.wantConfig(t, "retention.ms", "11111", kmsg.ConfigSourceDynamicTopicConfig)
	c.wantCode("DELETE of the topic's own", n.alter(alteration(ofTopic, t.name, change{op: kmsg.IncrementalAlterConfigOpDelete, key: "retention.ms"}))[0], nil)
	n.wantConfig(t, "retention.ms", "22222", kmsg.ConfigSourceDynamicBrokerConfig)
}

// electLeaders is rule 7.8.1, so far as it goes where every leader is the preferred one.
func electLeaders(c *check) {
	t, n := c.topicOf(2), c.dial()
	for election := int8(0); election <= 1; election++ {
		req := newest(c, kmsg.NewPtrElectLeadersRequest())
		req.ElectionType, req.TimeoutMillis = election, 10_000
		all := ask[*kmsg.ElectLeadersResponse](n, req)
		c.wantCode("electing all leaders", all.ErrorCode, nil)
		for _, row := range all.Topics {
			if row.Topic == t.name {
				equal(c, "partitions with a new leader", len(row.Partitions), 0)
			}
		}
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: t.name, Partitions: []int32{1}}}
		rows := ask[*kmsg.ElectLeadersResponse](n, req).Topics
		if len(rows) != 1 || len(rows[0].Partitions) != 1 {
			c.Fatalf("the answer about one partition is %+v", rows)
		}
		c.wantCode("electing a leader again", rows[0].Partitions[0].ErrorCode, kerr.ElectionNotNeeded)
	}
}

// scramCredentials is rules 7.10.1 and 7.10.2. There are credentials whether or not a listener asks for them.
func scramCredentials(c *check) {
	const sha256 = 1
	user, n := c.newName(), c.dial()
	type (
		upsert = kmsg.AlterUserSCRAMCredentialsRequestUpsertion
		remove = kmsg.AlterUserSCRAMCredentialsRequestDeletion
	)
	good := upsert{Name: user, Mechanism: sha256, Iterations: 4096, Salt: []byte("salt"), SaltedPassword: []byte("password")}
	weak := good
	weak.Iterations = 100
	gone := remove{Name: user, Mechanism: sha256}
	for _, r := range []struct {
		what    string
		upserts []upsert
		removes []remove
		want    *kerr.Error
		stored  bool // there are credentials afterwards
	}{
		{"removing what is not there", nil, []remove{gone}, kerr.ResourceNotFound, false},
		{"100 iterations", []upsert{weak}, nil, kerr.UnacceptableCredential, false},
		{"a user twice", []upsert{good, good}, nil, kerr.DuplicateResource, false},
		{"4096 iterations", []upsert{good}, nil, nil, true},
		{"a user to be stored and removed", []upsert{good}, []remove{gone}, kerr.DuplicateResource, true},
		{"100 iterations in place of 4096", []upsert{weak}, nil, kerr.UnacceptableCredential, true},
		{"removing", nil, []remove{gone}, nil, false},
	} {
		req := newest(c, kmsg.NewPtrAlterUserSCRAMCredentialsRequest())
		req.Upsertions, req.Deletions = r.upserts, r.removes
		results := ask[*kmsg.AlterUserSCRAMCredentialsResponse](n, req).Results
		equal(c, r.what+": rows", len(results), 1)
		c.wantCode(r.what, results[0].ErrorCode, r.want)
		describe := newest(c, kmsg.NewPtrDescribeUserSCRAMCredentialsRequest())
		describe.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: user}}
		n.eventually(fmt.Sprintf("after %s there are credentials: %t", r.what, r.stored), func() bool {
			row := ask[*kmsg.DescribeUserSCRAMCredentialsResponse](n, describe).Results[0]
			return (row.ErrorCode == 0 && len(row.CredentialInfos) == 1) == r.stored
		})
	}
}
