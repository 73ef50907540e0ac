package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// subscription is what the members of a group consume.
type subscription struct {
	unknown bool // a member's metadata could not be read
	topics  map[string]bool
}

// subscribes implements membership (rules 8.4.13 and 8.4.15). It is asked rarely, so the members' metadata are read when
// it is asked first after a change. Metadata that cannot be read may name any topic.
func (g *classicGroup) subscribes(topic string) bool {
	if g.typ != consumerProtocolType || g.len() == 0 {
		return false
	}
	if g.protocol == nil {
		return true // nobody has agreed yet on what is to be read
	}
	if g.topics == nil {
		g.topics = g.readSubscription()
	}
	return g.topics.unknown || g.topics.topics[topic]
}

func (g *classicGroup) readSubscription() *subscription {
	s := &subscription{topics: map[string]bool{}}
	for m := range g.all {
		topics, err := subscribedTopics(m.metadata(*g.protocol))
		if err != nil {
			return &subscription{unknown: true}
		}
		for _, t := range topics {
			s.topics[t] = true
		}
	}
	return s
}

// subscribedTopics reads the topics of a consumer's embedded metadata (appendix B.1). They come first in every version, and
// like Kafka we read no further: what follows them may be of a version that nobody here knows.
func subscribedTopics(metadata []byte) ([]string, error) {
	v := kmsg.NewConsumerMemberMetadata()
	if len(metadata) >= 2 {
		metadata = slices.Clone(metadata)
		metadata[0], metadata[1] = 0, 0
	}
	err := v.ReadFrom(metadata)
	return v.Topics, err
}
