package controller

import "github.com/kbroker/kbroker/metadata"

// producerIDBlock is how many producer ids a broker is given at once (rule 4.5.6).
const producerIDBlock = 1000

// allocateProducerIDs gives a broker a block of producer ids.
type allocateProducerIDs struct {
	broker metadata.BrokerID
	epoch  int64

	first int64
}

func (a *allocateProducerIDs) decide(d *decision) error {
	if _, err := registered(d.head, a.broker, a.epoch); err != nil {
		return err
	}
	a.first = d.head.NextProducerID
	return d.write(&metadata.ProducerIDBlockRecord{Broker: a.broker, Next: a.first + producerIDBlock})
}
