package log

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// entries prints the entries of an index file up to the zeros that fill a preallocated one (rule 3.2.6). A damaged
// one does not end it: the error is for the first that check refuses.
func (d *dumper) entries(name string, width int64, check func(prev, entry []byte) error, print func(entry []byte)) error {
	info, err := d.fs.Stat(name)
	if err != nil {
		return err
	}
	x := &entryFile{fs: d.fs, width: width, path: name, readOnly: true}
	x.written = info.Size() / width // without what is left over at the end
	defer x.close()
	var prev []byte
	var damage error
	err = x.scan(0, func(i int64, entry []byte) error {
		alone := info.Size() == width // the timestamp 0 of a segment's first record may well be the only entry
		if strings.Trim(string(entry), "\x00") == "" && !alone {
			return errStop
		}
		print(entry)
		if err := check(prev, entry); err != nil && damage == nil {
			damage = fmt.Errorf("entry %d: %w", i, err)
		}
		prev = append(prev[:0], entry...)
		return nil
	})
	if err != nil && err != errStop {
		return err
	}
	if rest := info.Size() % width; rest != 0 && damage == nil {
		damage = fmt.Errorf("%d stray bytes at the end: %w", rest, ErrCorrupt)
	}
	return damage
}

func (d *dumper) offsetIndex(name string) error {
	base, err := segmentBase(name)
	if err != nil {
		return err
	}
	x := &offsetIndex{base: base}
	logSize := int64(1) << 62
	if info, err := d.fs.Stat(strings.TrimSuffix(name, ".index") + ".log"); err == nil {
		logSize = info.Size()
	}
	check := func(prev, entry []byte) error { return x.checkEntry(prev, entry, logSize) }
	return d.entries(name, offsetEntryBytes, check, func(entry []byte) {
		e := x.decode(0, entry)
		d.row("offset-index-entry", field{"offset", e.Offset}, field{"position", e.Position})
	})
}

func (d *dumper) timeIndex(name string) error {
	base, err := segmentBase(name)
	if err != nil {
		return err
	}
	x := &timeIndex{base: base}
	return d.entries(name, timeEntryBytes, x.checkEntry, func(entry []byte) {
		e := x.decode(0, entry)
		d.row("time-index-entry", field{"timestamp", e.Timestamp}, field{"offset", e.Offset})
	})
}

func (d *dumper) txnIndex(name string) error {
	base, err := segmentBase(name)
	if err != nil {
		return err
	}
	x := &txnIndex{base: base}
	return d.entries(name, txnEntryBytes, x.checkEntry, func(entry []byte) {
		t := decodeAbortedTxn(entry)
		d.row("aborted-transaction", field{"version", int32At(entry, 0) >> 16}, field{"producerId", t.ProducerID},
			field{"firstOffset", t.FirstOffset}, field{"lastOffset", t.LastOffset}, field{"lastStableOffset", t.LastStableOffset})
	})
}

func (d *dumper) snapshot(name string) error {
	entries, err := readSnapshot(d.fs, name)
	for _, e := range entries {
		fields := []field{
			{"producerId", e.ProducerID}, {"producerEpoch", e.Epoch}, {"coordinatorEpoch", e.CoordinatorEpoch},
			{"currentTxnFirstOffset", optional(e.TxnFirstOffset)}, {"lastTimestamp", e.LastTimestamp},
		}
		if e.LastOffset >= 0 {
			fields = append(fields, field{"firstSequence", subSequence(e.LastSequence, e.OffsetDelta)}, field{"lastSequence", e.LastSequence},
				field{"lastOffset", e.LastOffset}, field{"offsetDelta", e.OffsetDelta}, field{"timestamp", e.LastTimestamp})
		}
		d.row("producer", fields...)
	}
	return err
}

func (d *dumper) epochs(name string) error {
	data, err := readFileBounded(d.fs, name, maxEpochsBytes)
	if err != nil {
		return err
	}
	entries, err := parseEpochs(name, data)
	for _, e := range entries {
		d.row("leader-epoch", field{"epoch", e.Epoch}, field{"startOffset", e.StartOffset})
	}
	return err
}

func (d *dumper) checkpoint(name string) error {
	data, err := readFileBounded(d.fs, name, maxCheckpointBytes)
	if err != nil {
		return err
	}
	offsets, err := parseCheckpoint(name, data)
	for _, tp := range sortedKeys(offsets) {
		d.row("checkpoint", field{"topic", tp.Topic}, field{"partition", tp.Partition}, field{"offset", offsets[tp]})
	}
	return err
}

func (d *dumper) metaProperties(name string) error {
	m, err := ReadMetaProperties(d.fs, path.Dir(name))
	if err != nil {
		return err
	}
	fields := []field{{"cluster.id", m.ClusterID}, {"node.id", m.NodeID}}
	if m.DirectoryID != ([16]byte{}) {
		fields = append(fields, field{"directory.id", formatUUID(m.DirectoryID)})
	}
	if m.Format > 0 {
		fields = append(fields, field{"kbroker.format", m.Format})
	}
	d.row("meta-properties", fields...)
	return nil
}

func (d *dumper) partitionMetadata(name string) error {
	id, err := ReadPartitionMetadata(d.fs, path.Dir(name))
	if err == nil {
		d.row("partition-metadata", field{"topic_id", formatUUID(id)})
	}
	return err
}

func (d *dumper) cleanShutdown(name string) error {
	epoch, err := ReadCleanShutdown(d.fs, path.Dir(name))
	if err == nil {
		d.row("clean-shutdown", field{"brokerEpoch", epoch})
	}
	return err
}

func (d *dumper) marks(name string) error {
	data, err := readFileBounded(d.fs, name, maxMarksBytes)
	if err != nil {
		return err
	}
	m := &durableMarks{slots: make(map[MarkKey]markSlot)}
	if err := m.load(data); err != nil {
		return err
	}
	keys := make([]MarkKey, 0, len(m.slots))
	for key := range m.slots {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b MarkKey) int { return int(m.slots[a]) - int(m.slots[b]) })
	for _, key := range keys {
		v, _ := m.read(key)
		d.row("durable-mark", field{"slot", int32(m.slots[key])}, field{"topic_id", formatUUID(key.TopicID)},
			field{"partition", key.Partition}, field{"durableEnd", v.end}, field{"recoveryPoint", v.recovery.Offset},
			field{"recoverySegment", v.recovery.SegmentBase}, field{"recoveryPosition", v.recovery.Bytes})
	}
	return nil
}
