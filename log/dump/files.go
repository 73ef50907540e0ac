package dump

import (
	"encoding/base64"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kbroker/kbroker/log"
)

func (d *dumper) offsetIndex(name string) error {
	base, err := segmentBase(name)
	if err != nil {
		return err
	}
	logSize := int64(1) << 62
	if info, err := d.fs.Stat(strings.TrimSuffix(name, ".index") + ".log"); err == nil {
		logSize = info.Size()
	}
	return log.ReadOffsetIndex(d.fs, name, base, logSize, func(offset, position int64) {
		d.row("offset-index-entry", field{"offset", offset}, field{"position", position})
	})
}

func (d *dumper) timeIndex(name string) error {
	base, err := segmentBase(name)
	if err != nil {
		return err
	}
	return log.ReadTimeIndex(d.fs, name, base, func(timestamp, offset int64) {
		d.row("time-index-entry", field{"timestamp", timestamp}, field{"offset", offset})
	})
}

func (d *dumper) txnIndex(name string) error {
	base, err := segmentBase(name)
	if err != nil {
		return err
	}
	return log.ReadTxnIndex(d.fs, name, base, func(version int16, t log.AbortedTxn) {
		d.row("aborted-transaction", field{"version", version}, field{"producerId", t.ProducerID},
			field{"firstOffset", t.FirstOffset}, field{"lastOffset", t.LastOffset}, field{"lastStableOffset", t.LastStableOffset})
	})
}

func (d *dumper) snapshot(name string) error {
	entries, err := log.ReadSnapshot(d.fs, name)
	for _, e := range entries {
		fields := []field{
			{"producerId", e.ProducerID}, {"producerEpoch", e.Epoch}, {"coordinatorEpoch", e.CoordinatorEpoch},
			{"currentTxnFirstOffset", optional(e.TxnFirstOffset)}, {"lastTimestamp", e.LastTimestamp},
		}
		if e.LastOffset >= 0 {
			fields = append(fields, field{"firstSequence", e.FirstSequence()}, field{"lastSequence", e.LastSequence},
				field{"lastOffset", e.LastOffset}, field{"offsetDelta", e.OffsetDelta}, field{"timestamp", e.LastTimestamp})
		}
		d.row("producer", fields...)
	}
	return err
}

func (d *dumper) epochs(name string) error {
	entries, err := log.ReadEpochs(d.fs, name)
	for _, e := range entries {
		d.row("leader-epoch", field{"epoch", e.Epoch}, field{"startOffset", e.StartOffset})
	}
	return err
}

func (d *dumper) checkpoint(name string) error {
	if _, err := d.fs.Stat(name); err != nil { // to ReadCheckpoint a missing one is empty
		return err
	}
	offsets, err := log.ReadCheckpoint(d.fs, path.Dir(name), path.Base(name))
	for _, tp := range slices.SortedFunc(maps.Keys(offsets), log.TopicPartition.Compare) {
		d.row("checkpoint", field{"topic", tp.Topic}, field{"partition", tp.Partition}, field{"offset", offsets[tp]})
	}
	return err
}

func (d *dumper) metaProperties(name string) error {
	m, err := log.ReadMetaProperties(d.fs, path.Dir(name))
	if err != nil {
		return err
	}
	fields := []field{{"cluster.id", m.ClusterID}, {"node.id", m.NodeID}}
	if m.DirectoryID != ([16]byte{}) {
		fields = append(fields, field{"directory.id", base64.RawURLEncoding.EncodeToString(m.DirectoryID[:])})
	}
	if m.Format > 0 {
		fields = append(fields, field{"kbroker.format", m.Format})
	}
	d.row("meta-properties", fields...)
	return nil
}

func (d *dumper) partitionMetadata(name string) error {
	id, err := log.ReadPartitionMetadata(d.fs, path.Dir(name))
	if err == nil {
		d.row("partition-metadata", field{"topic_id", base64.RawURLEncoding.EncodeToString(id[:])})
	}
	return err
}

func (d *dumper) cleanShutdown(name string) error {
	epoch, err := log.ReadCleanShutdown(d.fs, path.Dir(name))
	if err == nil {
		d.row("clean-shutdown", field{"brokerEpoch", epoch})
	}
	return err
}

func (d *dumper) marks(name string) error {
	marks, err := log.ReadMarks(d.fs, name)
	for _, m := range marks {
		d.row("durable-mark", field{"slot", m.Slot}, field{"topic_id", base64.RawURLEncoding.EncodeToString(m.Key.TopicID[:])},
			field{"partition", m.Key.Partition}, field{"durableEnd", m.End}, field{"recoveryPoint", m.Recovery.Offset},
			field{"recoverySegment", m.Recovery.SegmentBase}, field{"recoveryPosition", m.Recovery.Bytes})
	}
	return err
}
