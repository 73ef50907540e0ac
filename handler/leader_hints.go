package handler

import (
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/wire"
)

// leaderHints collects the leaders that a Produce or Fetch response names in NOT_LEADER_OR_FOLLOWER rows, so that their
// addresses follow once each at the end (KIP-951, rule 6.1.10).
type leaderHints struct{ leaders []metadata.BrokerID }

// tag ends a row with CurrentLeader as tagged field number, or with no tags when the leader is unknown.
func (h *leaderHints) tag(e *encoder, number uint32, d *Deps, name string, id metadata.UUID, partition int32) {
	im := d.Metadata.Load()
	t := im.Topic(name)
	if name == "" {
		t = im.TopicByID(id)
	}
	if t == nil || partition < 0 || int(partition) >= len(t.Partitions) || t.Partitions[partition].Leader < 0 {
		e.noTags()
		return
	}
	p := t.Partitions[partition]
	h.add(p.Leader)
	e.uvarint(1)
	e.uvarint(number)
	e.uvarint(4 + 4 + 1)
	e.int32(p.Leader)
	e.int32(int32(p.LeaderEpoch))
	e.noTags()
}

func (h *leaderHints) add(id metadata.BrokerID) {
	for _, l := range h.leaders {
		if l == id {
			return
		}
	}
	h.leaders = append(h.leaders, id)
}

// append ends the response with NodeEndpoints (tag 0): the leaders' addresses, as this client is told them by Metadata.
func (h *leaderHints) append(e *encoder, d *Deps, who *Session) {
	im := d.Metadata.Load()
	type node struct {
		b *metadata.Broker
		e Endpoint
	}
	var known []node
	for _, id := range h.leaders {
		if b := im.Broker(id); b != nil {
			if at, ok := d.endpoint(&Context{Session: who}, b); ok {
				known = append(known, node{b, at})
			}
		}
	}
	if len(known) == 0 {
		e.noTags()
		return
	}
	body := encoder{&wire.Out{}, true}
	body.array(len(known))
	for _, k := range known {
		body.int32(k.b.ID)
		body.text(k.e.Host)
		body.int32(k.e.Port)
		body.nullable(k.b.Rack)
		body.noTags()
	}
	e.uvarint(1)
	e.uvarint(0)
	e.uvarint(uint32(len(body.out.B)))
	e.raw(body.out.B)
}
