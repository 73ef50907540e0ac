package broker

import (
	"time"

	"github.com/kbroker/kbroker/replica"
)

// keepRetention removes what is too old or too much every log.retention.check.interval.ms, at first after
// log.initial.task.delay.ms (rule 3.6.1). It is a goroutine that Stop ends by closing b.stopping.
func (b *Broker) keepRetention() {
	defer b.background.Done()
	settings := &b.o.Config.Broker().Log
	timer := time.NewTimer(settings.InitialTaskDelay)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-b.stopping:
			return
		}
		b.retain()
		timer.Reset(settings.RetentionCheck)
	}
}

// retain is one look at every partition, unless the node stops meanwhile.
func (b *Broker) retain() {
	b.replicas.Each(func(p *replica.Partition) bool {
		select {
		case <-b.stopping:
			return false
		default:
		}
		if err := p.Retain(time.Now()); err != nil {
			b.logger.Warn("retention did not complete; it is tried again at the next check", "topic", p.Topic, "partition", p.Index, "err", err)
		}
		return true
	})
}
