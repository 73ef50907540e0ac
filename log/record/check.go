package record

import "github.com/twmb/franz-go/pkg/kerr"

// checker is the judge of Validate: it collects the records that may not be appended.
type checker struct {
	compact bool          // records need a key
	topic   TimestampType // message.timestamp.type
	lo, hi  int64         // limits on timestamps with CreateTime

	// claimed says that the producer set the LogAppendTime bit itself, and claimedTime is what it says all records'
	// timestamps are (rules 2.2.2 and 2.4.10).
	claimed     bool
	claimedTime int64

	found        int
	badTimestamp bool
	records      []RecordError
}

// begin prepares for a batch and tells w which records to show.
func (c *checker) begin(b Batch, o *ValidateOptions, w *walk) {
	*c = checker{
		compact:     o.Compact && !b.IsControl(),
		topic:       o.TimestampType,
		lo:          o.Now - o.BeforeMaxMs,
		hi:          o.Now + min(o.AfterMaxMs, maxInt64-o.Now),
		claimed:     b.TimestampType() == LogAppendTime,
		claimedTime: b.MaxTimestamp(),
	}
	w.dense = true
	w.keyed = c.compact
	switch {
	case c.claimed:
		w.lo, w.hi = maxInt64, minInt64 // every record
	case c.topic == CreateTime:
		w.lo, w.hi = c.lo, c.hi
	}
}

// Texts of record errors. They are the same for every record, so that a batch full of bad ones costs no more to refuse
// than a list of numbers.
const (
	noKey           = "a record on a compacted topic needs a key"
	badTime         = "the timestamp is further from the broker's time than the topic allows"
	claimsAppend    = "the producer marked the batch as LogAppendTime, which only the broker may"
	rejectedTimes   = "one or more records have a timestamp that the topic does not allow"
	rejectedRecords = "one or more records may not be appended"
)

// judge notes what is wrong with one record, a missing key before a bad timestamp, and lets the walk go on: all
// offending records are listed (rule 2.4.11).
func (c *checker) judge(w *walk, _ int32, timestamp int64, hasKey bool) bool {
	if c.claimed {
		timestamp = c.claimedTime
	}
	switch {
	case c.compact && !hasKey:
		c.reject(w.index, noKey, false)
	case c.topic == CreateTime && timestamp != NoTimestamp:
		if timestamp < c.lo || timestamp > c.hi {
			c.reject(w.index, badTime, true)
		}
	case c.claimed:
		c.reject(w.index, claimsAppend, true)
	}
	return false
}

func (c *checker) reject(index int32, text string, timestamp bool) {
	c.found++
	c.badTimestamp = c.badTimestamp || timestamp
	if len(c.records) < MaxRecordErrors {
		c.records = append(c.records, RecordError{Index: index, Message: text})
	}
}

// err returns the error for the records found. Timestamps decide the code when both kinds occur (rule 2.4.11).
func (c *checker) err() error {
	switch {
	case c.found == 0:
		return nil
	case c.badTimestamp:
		return &Error{Err: kerr.InvalidTimestamp, Message: rejectedTimes, Records: c.records, WithLogStart: true}
	default:
		return &Error{Err: kerr.InvalidRecord, Message: rejectedRecords, Records: c.records, WithLogStart: true}
	}
}
