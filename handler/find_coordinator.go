package handler

import (
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/coordinator/group"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// Types of coordinators (rule 8.2.1).
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
	shareCoordinator       = 2
)

// findCoordinatorAPI serves FindCoordinator (key 10, versions 0 to 6; rule 8.2).
func findCoordinatorAPI(d *Deps) API {
	creation := newAutoCreation(d)
	// Clients ask for ever, and their users look here: once is enough, though.
	unserved := sync.OnceFunc(func() {
		d.Logger.Warn("a client asks for the coordinator of transactions or of share groups, which this broker does not have yet: " +
			"it will ask again and again; leave its transactional id out")
	})
	checks := []Check{{acl.Group, acl.Describe}, {acl.TransactionalID, acl.Describe}, {acl.Cluster, acl.ClusterAction}}
	return api(0, 6, checks, func(c *Context, req *kmsg.FindCoordinatorRequest) *kmsg.FindCoordinatorResponse {
		s := coordinatorSearch{partitionView: partitionView{d: d, c: c, image: d.Metadata.Load()}, creation: creation, kind: req.CoordinatorType, unserved: unserved}
		resp := kmsg.NewPtrFindCoordinatorResponse()
		if c.Version >= 4 {
			for _, key := range req.CoordinatorKeys {
				resp.Coordinators = append(resp.Coordinators, s.row(key))
			}
			return resp
		}
		row := s.row(req.CoordinatorKey)
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = row.ErrorCode, row.ErrorMessage, row.NodeID, row.Host, row.Port
		return resp
	})
}

// coordinatorSearch is one FindCoordinator request. Any broker answers it from metadata (rule 8.2.5).
type coordinatorSearch struct {
	partitionView
	creation *autoCreation
	kind     int8
	unserved func() // told when there is no such coordinator
}

// row says where the coordinator of one key is. Error rows name no node (rule 8.2.6).
func (s *coordinatorSearch) row(key string) kmsg.FindCoordinatorResponseCoordinator {
	row := kmsg.NewFindCoordinatorResponseCoordinator()
	row.Key, row.NodeID, row.Port = key, metadata.NoBroker, -1
	b, err := s.find(key)
	if err != nil {
		row.ErrorCode, row.ErrorMessage = err.Code, &err.Description
		return row
	}
	e, _ := s.d.endpoint(s.c, b)
	row.NodeID, row.Host, row.Port, row.ErrorMessage = b.ID, e.Host, e.Port, new("")
	if s.c.Version < 4 {
		row.ErrorMessage = new("NONE")
	}
	return row
}

// find returns the broker that coordinates a key.
func (s *coordinatorSearch) find(key string) (*metadata.Broker, *kerr.Error) {
	switch s.kind {
	case groupCoordinator:
		if !s.d.allowed(s.c, acl.Describe, acl.Group, key) {
			return nil, kerr.GroupAuthorizationFailed
		}
		return s.leader(group.OffsetsTopic, func(n int) int32 { return group.PartitionOf(key, n) })
	case transactionCoordinator:
		if !s.d.allowed(s.c, acl.Describe, acl.TransactionalID, key) {
			return nil, kerr.TransactionalIDAuthorizationFailed
		}
		s.unserved()
		return nil, kerr.CoordinatorNotAvailable
	case shareCoordinator:
		if s.c.Version < 6 || !isShareKey(key) {
			return nil, kerr.InvalidRequest
		}
		if !s.d.allowed(s.c, acl.ClusterAction, acl.Cluster, acl.ClusterName) {
			return nil, kerr.ClusterAuthorizationFailed
		}
		s.unserved()
		return nil, kerr.CoordinatorNotAvailable
	}
	return nil, kerr.InvalidRequest
}

// leader returns the leader of the partition of an internal topic that a key belongs to. A topic that is missing is
// created meanwhile; the client asks again (rule 8.2.4).
func (s *coordinatorSearch) leader(topic string, partition func(n int) int32) (*metadata.Broker, *kerr.Error) {
	t := s.image.Topic(topic)
	if t == nil {
		s.creation.start(s.c.Ctx, []string{topic})
		return nil, kerr.CoordinatorNotAvailable
	}
	leader := t.Partitions[partition(len(t.Partitions))].Leader
	if !s.alive(leader) {
		return nil, kerr.CoordinatorNotAvailable
	}
	return s.image.Broker(leader), nil
}

// isShareKey reports whether a key has the form group:topicId:partition (rule 0.3.3).
func isShareKey(key string) bool {
	parts := strings.Split(key, ":")
	if len(parts) < 3 {
		return false
	}
	_, noID := metadata.ParseUUID(parts[len(parts)-2])
	_, noPartition := strconv.ParseInt(parts[len(parts)-1], 10, 32)
	return noID == nil && noPartition == nil
}
