package handler

import (
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/metadata"
)

// partitionView shows partitions of an image to one client.
type partitionView struct {
	d     *Deps
	c     *Context
	image *metadata.Image
}

// leader returns the leader of a partition as the client can reach it, and an error code with -1 when it cannot (rule
// 7.1.11): noListener is for a leader that does not have the listener that the client uses.
func (v *partitionView) leader(p *metadata.PartitionRegistration, noListener *kerr.Error) (id metadata.BrokerID, code int16) {
	b := v.image.Broker(p.Leader)
	switch {
	case b == nil || b.Fenced:
		return metadata.NoBroker, kerr.LeaderNotAvailable.Code
	case b.Listener(v.c.ListenerName) == nil:
		return metadata.NoBroker, noListener.Code
	}
	return p.Leader, 0
}

// alive reports whether a broker can be reached by the client.
func (v *partitionView) alive(id metadata.BrokerID) bool {
	b := v.image.Broker(id)
	return b != nil && !b.Fenced && b.Listener(v.c.ListenerName) != nil
}

// offline returns the replicas that are on brokers which are not alive, nil when there are none.
func (v *partitionView) offline(p *metadata.PartitionRegistration) []metadata.BrokerID {
	var offline []metadata.BrokerID
	for _, id := range p.Replicas {
		if b := v.image.Broker(id); b == nil || b.Fenced {
			offline = append(offline, id)
		}
	}
	return offline
}

// reachable returns the brokers of a list that the client can reach: the list itself when that is all of them.
func (v *partitionView) reachable(ids []metadata.BrokerID) []metadata.BrokerID {
	for i, id := range ids {
		if v.alive(id) {
			continue
		}
		some := append([]metadata.BrokerID(nil), ids[:i]...)
		for _, id := range ids[i+1:] {
			if v.alive(id) {
				some = append(some, id)
			}
		}
		return some
	}
	return ids
}

// unknownTopic is the error of a name that no topic has (rule 7.1.3).
func unknownTopic(name string) *kerr.Error {
	if metadata.CheckTopicName(name) != nil {
		return kerr.InvalidTopicException
	}
	return kerr.UnknownTopicOrPartition
}

// anyBroker picks the broker that clients are told is the controller. They send it what the active controller has to
// do, and any broker passes that on (rule 7.1.9).
func anyBroker(alive []metadata.BrokerID) metadata.BrokerID {
	if len(alive) == 0 {
		return metadata.NoBroker
	}
	return alive[rand.IntN(len(alive))]
}
