package record

// Info is what a log has to know of a batch when it appends it, so that it need not parse the batch again.
type Info struct {
	// Size is the length of the whole batch in bytes.
	Size            int32
	LastOffsetDelta int32
	RecordCount     int32
	// MaxTimestamp is the largest timestamp of the records in milliseconds, NoTimestamp when they have none.
	MaxTimestamp int64
	// OffsetOfMaxTimestamp is the offset, relative to the base offset, of the first record with MaxTimestamp.
	OffsetOfMaxTimestamp int32
	// LogAppendTime is the broker's time in milliseconds on a topic with LogAppendTime, NoTimestamp with CreateTime.
	LogAppendTime int64

	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Transactional bool
	Control       bool
	Codec         Codec
}

// HasProducerID reports whether the batch comes from an idempotent or transactional producer.
func (i *Info) HasProducerID() bool { return i.ProducerID >= 0 }

// LastSequence returns the sequence number of the last record, or NoSequence (rule 2.1.4).
func (i *Info) LastSequence() int32 {
	if i.BaseSequence == NoSequence {
		return NoSequence
	}
	return AddSequence(i.BaseSequence, i.LastOffsetDelta)
}

// Info summarises a batch from its header alone, as a follower or a log scan needs it. It takes the header's word for
// the largest timestamp and puts it at the last offset, which is where Kafka's time index puts it too; Validate knows
// better and says so in its Result.
func (b Batch) Info() Info {
	attrs := b.Attributes()
	i := Info{
		Size:                 int32(b.Size()),
		LastOffsetDelta:      b.LastOffsetDelta(),
		RecordCount:          b.RecordCount(),
		MaxTimestamp:         b.MaxTimestamp(),
		OffsetOfMaxTimestamp: b.LastOffsetDelta(),
		LogAppendTime:        NoTimestamp,
		ProducerID:           b.ProducerID(),
		ProducerEpoch:        b.ProducerEpoch(),
		BaseSequence:         b.BaseSequence(),
		Transactional:        attrs&attrTransactional != 0,
		Control:              attrs&attrControl != 0,
		Codec:                Codec(attrs & attrCodecMask),
	}
	if attrs&attrLogAppendTime != 0 {
		i.LogAppendTime = i.MaxTimestamp
	}
	return i
}
