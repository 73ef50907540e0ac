package config

// minDedupe is what the deduplication buffer of each cleaner thread is larger than, in bytes.
const minDedupe = 1 << 20

// checkLimits finds the values that their keys' rules allow and a Kafka broker does not start with. Topics may have
// some of them: one whose records are all old has said so itself.
func (l *layers) checkLimits(b *Broker) error {
	t := &b.Topic
	switch {
	case t.SegmentMillis < 1:
		return problem(l.supplier("segment.ms"), "is %d, and must be at least 1", t.SegmentMillis)
	case t.SegmentJitterMillis < 0:
		return problem(l.supplier("segment.jitter.ms"), "is %d, and cannot be negative", t.SegmentJitterMillis)
	case t.RetentionMillis == 0:
		return problem(l.supplier("retention.ms"), "is 0, which would delete all records at once; -1 keeps them for ever")
	case b.Log.CleanerThreads == 0:
		return problem("log.cleaner.threads", "is 0, and must be at least 1; log.cleaner.enable=false compacts nothing")
	case b.Log.CleanerDedupeBytes/int64(b.Log.CleanerThreads) <= minDedupe:
		return problem("log.cleaner.dedupe.buffer.size", "%d is not more than 1 MiB for each of %d cleaner threads",
			b.Log.CleanerDedupeBytes, b.Log.CleanerThreads)
	case b.Network.MaxPerIP == 0 && len(b.Network.PerIP) == 0:
		return problem("max.connections.per.ip",
			"is 0, so that nobody could connect; name those who may in max.connections.per.ip.overrides")
	}
	return nil
}

// supplier returns the name of the broker's setting that topics have their value of key from.
func (l *layers) supplier(key string) string {
	synonyms := TopicKeys.Key(key).Synonyms
	for _, syn := range synonyms {
		if _, _, ok := l.find(syn.Name); ok {
			return syn.Name
		}
	}
	return synonyms[0].Name
}
