package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
)

// deleteBy is an entry of a DeleteTopics request, by name, by id, by both or by neither.
func deleteBy(name string, id [16]byte) kmsg.DeleteTopicsRequestTopic {
	t := kmsg.NewDeleteTopicsRequestTopic()
	if t.TopicID = id; name != "" {
		t.Topic = &name
	}
	return t
}

func (cl *cluster) deleteTopics(p acl.Principal, version int16, topics ...kmsg.DeleteTopicsRequestTopic) []kmsg.DeleteTopicsResponseTopic {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 5000
	req.Topics = topics
	for _, t := range topics {
		if version < 6 {
			req.TopicNames = append(req.TopicNames, *t.Topic)
		}
	}
	return cl.askAs(p, version, req).(*kmsg.DeleteTopicsResponse).Topics
}

// T106: rules 7.5.2 and 7.5.5.
func TestT106DeleteTopics(t *testing.T) {
	cl := newCluster(t)
	ts := cl.create(topic("q1", 1, 1), topic("q2", 1, 1), topic("q3", 1, 1), topic("q4", 1, 1))
	nobody, zero := [16]byte{1, 2, 3}, [16]byte{}
	type key struct {
		name string
		id   [16]byte
	}
	want := map[key]*kerr.Error{
		{"q1", ts[0].ID}:       nil,
		{"q2", ts[1].ID}:       nil,
		{"q3", ts[2].ID}:       kerr.InvalidRequest, // by both at once
		{"q4", ts[3].ID}:       kerr.InvalidRequest, // by its name and, in another entry, by its id
		{"", zero}:             kerr.InvalidRequest,
		{"nope", zero}:         kerr.UnknownTopicOrPartition,
		{"a b", zero}:          kerr.UnknownTopicOrPartition,
		{"", nobody}:           kerr.UnknownTopicID,
		{"twice", zero}:        kerr.InvalidRequest,
		{"", [16]byte{15: 99}}: kerr.InvalidRequest,
	}
	rows := cl.deleteTopics(acl.Anonymous, 6, deleteBy("q1", zero), deleteBy("", ts[1].ID), deleteBy("q3", ts[2].ID),
		deleteBy("q4", zero), deleteBy("", ts[3].ID), deleteBy("", zero), deleteBy("nope", zero), deleteBy("a b", zero),
		deleteBy("", nobody), deleteBy("twice", zero), deleteBy("twice", zero), deleteBy("", [16]byte{15: 99}), deleteBy("", [16]byte{15: 99}))
	if len(rows) != len(want) {
		t.Errorf("%d rows, want %d", len(rows), len(want))
	}
	for _, row := range rows {
		k := key{id: row.TopicID}
		if row.Topic != nil {
			k.name = *row.Topic
		}
		err, ok := want[k]
		if !ok {
			t.Errorf("an unexpected row %v: %d %s", k, row.ErrorCode, text(row.ErrorMessage))
			continue
		}
		checkCode(t, k.name, row.ErrorCode, err)
	}
	im := cl.deps.Metadata.Load()
	for name, there := range map[string]bool{"q1": false, "q2": false, "q3": true, "q4": true} {
		if (im.Topic(name) != nil) != there {
			t.Errorf("topic %s: there is %t", name, im.Topic(name) != nil)
		}
	}
	if again := cl.create(topic("q1", 1, 1)); again[0].ID == ts[0].ID {
		t.Error("a topic that was created anew has its old id")
	}
}

func TestDeleteTopicsOfEveryVersion(t *testing.T) {
	cl := newCluster(t)
	for v := int16(1); v <= 6; v++ {
		cl.create(topic("t", 1, 1))
		for _, row := range cl.deleteTopics(acl.Anonymous, v, deleteBy("t", [16]byte{}), deleteBy("nope", [16]byte{})) {
			if *row.Topic == "t" {
				checkCode(t, "t", row.ErrorCode, nil)
				continue
			}
			checkCode(t, "nope", row.ErrorCode, kerr.UnknownTopicOrPartition)
			if (v >= 5) != (row.ErrorMessage != nil) {
				t.Errorf("v%d: message %s", v, text(row.ErrorMessage))
			}
		}
	}
}

// Rules 7.5.1 and 7.4.9.
func TestDeleteTopicsRefused(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("t", 1, 1))
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, deleteBy("t", [16]byte{})), 0
	checkCode(t, "no time", cl.ask(6, req).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode, kerr.RequestTimedOut)
	cl.deps.Admin.DeleteTopics = false
	for v := int16(1); v <= 6; v++ {
		want := kerr.TopicDeletionDisabled
		if v < 3 {
			want = kerr.InvalidRequest
		}
		checkCode(t, "disabled", cl.deleteTopics(acl.Anonymous, v, deleteBy("t", [16]byte{}))[0].ErrorCode, want)
	}
	if cl.deps.Metadata.Load().Topic("t") == nil {
		t.Error("the topic is gone")
	}
}

// Rule 7.5.3.
func TestDeleteTopicsAuthorization(t *testing.T) {
	cl := newCluster(t)
	ts := cl.create(topic("seen", 1, 1), topic("hidden", 1, 1), topic("hers", 1, 1))
	alice := acl.Principal{Type: "User", Name: "alice"}
	g := grants{}
	g.grant(alice, acl.Describe, acl.Topic, "seen")
	g.grant(alice, acl.Delete, acl.Topic, "hers")
	cl.deps.Authorizer = g
	zero := [16]byte{}
	rows := cl.deleteTopics(alice, 6, deleteBy("hers", zero), deleteBy("seen", zero), deleteBy("hidden", zero), deleteBy("nope", zero))
	for _, row := range rows {
		want := kerr.TopicAuthorizationFailed
		if *row.Topic == "hers" {
			want = nil
		}
		checkCode(t, *row.Topic, row.ErrorCode, want)
	}
	for _, row := range cl.deleteTopics(alice, 6, deleteBy("", ts[0].ID), deleteBy("", ts[1].ID)) {
		if row.TopicID == ts[0].ID {
			checkCode(t, "seen by id", row.ErrorCode, kerr.TopicAuthorizationFailed)
			continue
		}
		checkCode(t, "hidden by id", row.ErrorCode, kerr.UnknownTopicID)
		if row.Topic != nil {
			t.Errorf("the name %q is told", *row.Topic)
		}
	}
}
