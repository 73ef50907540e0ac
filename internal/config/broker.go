package config

import "time"

// Broker is what one broker acts upon: its static settings under the dynamic ones. A Store makes a new one with every
// change. Sizes are in bytes; a limit of 2147483647 is none.
type Broker struct {
	NodeID    int32
	Rack      string // empty: none
	ClusterID string // empty: made at the first start
	LogDirs   []string

	Listeners   []Listener // for clients, in the order given; the inter-broker listener is among them
	Controllers []Listener // for the quorum; a single node opens none
	Advertised  []Endpoint // by listener name; empty: answer with the address that the client dialled
	InterBroker string     // name of the listener that brokers use among each other
	HTTP        []string   // host:port of health, metrics and pprof; empty: none

	Network Network
	Limits  Limits
	Log     LogDefaults
	Topic   Topic // a topic without overrides

	Topics      TopicDefaults
	Producers   Producers
	Groups      Groups
	Transaction Transaction
}

// Network bounds what connections may cost (rule 1.6).
type Network struct {
	MaxRequestBytes    int32          // socket.request.max.bytes
	MaxConnections     int            // max.connections
	MaxPerIP           int            // max.connections.per.ip
	PerIP              map[string]int // max.connections.per.ip.overrides
	AcceptRate         int            // max.connection.creation.rate, per second
	Idle               time.Duration  // connections.max.idle.ms; the longest there is for never
	QueuedBytes        int64          // queued.max.request.bytes; 0: the server's own bound
	SendBufferBytes    int            // -1: the system's own
	ReceiveBufferBytes int            // -1: the system's own
	Backlog            int            // socket.listen.backlog.size
}

// Limits bounds what single requests may ask for.
type Limits struct {
	FetchMaxBytes         int32 // fetch.max.bytes
	FetchSessions         int   // max.incremental.fetch.session.cache.slots
	PartitionsPerResponse int32 // max.request.partition.size.limit
}

// LogDefaults is what concerns all logs of a broker and no topic alone.
type LogDefaults struct {
	RetentionCheck        time.Duration // log.retention.check.interval.ms
	InitialTaskDelay      time.Duration // log.initial.task.delay.ms
	CheckpointRecovery    time.Duration // log.flush.offset.checkpoint.interval.ms
	CheckpointStart       time.Duration // log.flush.start.offset.checkpoint.interval.ms
	CheckpointHW          time.Duration // replica.high.watermark.checkpoint.interval.ms
	RecoveryThreads       int           // num.recovery.threads.per.data.dir
	CleanerEnabled        bool          // log.cleaner.enable
	CleanerBackoff        time.Duration // log.cleaner.backoff.ms
	CleanerThreads        int           // log.cleaner.threads
	CleanerDedupeBytes    int64         // log.cleaner.dedupe.buffer.size
	CleanerBytesPerSecond float64       // log.cleaner.io.max.bytes.per.second
}

// TopicDefaults is how topics come into being and go.
type TopicDefaults struct {
	AutoCreate        bool  // auto.create.topics.enable
	Partitions        int32 // num.partitions
	ReplicationFactor int16 // default.replication.factor
	Delete            bool  // delete.topic.enable
}

// Producers is about idempotent producers (rule 4.4).
type Producers struct {
	Expiration      time.Duration // producer.id.expiration.ms
	ExpirationCheck time.Duration // producer.id.expiration.check.interval.ms
}

// Groups is about group coordinators (rule 8).
type Groups struct {
	OffsetsPartitions        int32 // offsets.topic.num.partitions
	OffsetsReplicationFactor int16 // offsets.topic.replication.factor
	OffsetsSegmentBytes      int32
	OffsetsRetention         time.Duration
	OffsetsRetentionCheck    time.Duration
	OffsetMetadataMaxBytes   int
	InitialRebalanceDelay    time.Duration
	MinSessionTimeout        time.Duration
	MaxSessionTimeout        time.Duration
	MaxSize                  int
}

// Transaction is about transaction coordinators (rule 5).
type Transaction struct {
	StatePartitions        int32
	StateReplicationFactor int16
	StateSegmentBytes      int32
	MaxTimeoutMillis       int32 // transaction.max.timeout.ms (rule 5.3)
	IDExpiration           time.Duration
	AbortTimedOutInterval  time.Duration
	Verification           bool
}
