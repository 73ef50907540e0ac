package broker

import (
	"time"

	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/replica"
)

// keepHighWatermarks writes the checkpoint of high watermarks every replica.high.watermark.checkpoint.interval.ms, when
// one of them has moved (rule 3.5.2). It is a goroutine that Stop ends by closing b.stopping.
func (b *Broker) keepHighWatermarks() {
	defer b.background.Done()
	tick := time.NewTicker(b.o.Config.Broker().Log.CheckpointHW)
	defer tick.Stop()
	var written int64
	for {
		select {
		case <-tick.C:
		case <-b.stopping:
			return
		}
		// The sum moves when any of them does: within a leader epoch none falls.
		var sum int64
		b.replicas.Each(func(p *replica.Partition) bool { sum += p.HighWatermark(); return true })
		if sum == written {
			continue
		}
		if err := b.writeHighWatermarks(); err != nil {
			b.logger.Warn("cannot write the high watermarks; a restart takes what the logs hold", "err", err)
			continue
		}
		written = sum
	}
}

// writeHighWatermarks writes the checkpoint of high watermarks.
func (b *Broker) writeHighWatermarks() error {
	if b.replicas == nil {
		return nil
	}
	return b.logs.WriteHighWatermarks(func(l *log.Log) int64 {
		tp := l.TopicPartition()
		if p := b.replicas.LookupName(tp.Topic, tp.Partition); p != nil && p.Log() == l {
			return p.HighWatermark()
		}
		return -1
	})
}
