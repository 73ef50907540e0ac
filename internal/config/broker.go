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
	Quotas  Quotas
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
	CheckpointHW          time.Duration // replica.high.watermark.checkpoint.interval.ms
	RecoveryThreads       int           // num.recovery.threads.per.data.dir
	CleanerEnabled        bool          // log.cleaner.enable
	CleanerBackoff        time.Duration // log.cleaner.backoff.ms
	CleanerThreads        int           // log.cleaner.threads
	CleanerDedupeBytes    int64         // log.cleaner.dedupe.buffer.size
	CleanerLoadFactor     float64       // log.cleaner.io.buffer.load.factor
	CleanerBufferBytes    int64         // log.cleaner.io.buffer.size
	CleanerBytesPerSecond float64       // log.cleaner.io.max.bytes.per.second
}

// Quotas is how client quotas are measured (rule 1.8.5).
type Quotas struct {
	Samples         int           // quota.window.num
	Window          time.Duration // quota.window.size.seconds
	MutationSamples int           // controller.quota.window.num
	MutationWindow  time.Duration // controller.quota.window.size.seconds
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

// Groups is about group coordinators (rule 8). Store.Group has what a single group may set otherwise.
type Groups struct {
	OffsetsPartitions        int32         // offsets.topic.num.partitions
	OffsetsReplicationFactor int16         // offsets.topic.replication.factor
	OffsetsSegmentBytes      int32         // offsets.topic.segment.bytes
	OffsetsCompression       Compression   // offsets.topic.compression.codec, of what the coordinator appends
	OffsetsRetention         time.Duration // offsets.retention.minutes (rule 8.6)
	OffsetsRetentionCheck    time.Duration // offsets.retention.check.interval.ms
	OffsetsLoadBytes         int           // offsets.load.buffer.size, of one read while a partition is loaded
	CommitTimeout            time.Duration // offsets.commit.timeout.ms: the longest wait for an append to be committed
	OffsetMetadataMaxBytes   int           // offset.metadata.max.bytes

	Protocols         []string      // group.coordinator.rebalance.protocols; classic is always among them
	AppendLinger      time.Duration // group.coordinator.append.linger.ms; negative: append as soon as nothing else is queued
	CachedBufferBytes int           // group.coordinator.cached.buffer.max.bytes: larger append buffers are not kept

	// Of classic groups (rules 8.2 and 8.3).
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms
	MaxSize               int           // group.max.size

	MaxBytes int64 // kbroker.group.max.bytes, of both protocols

	Consumer ConsumerGroups
}

// ConsumerGroups is about groups of the consumer protocol of KIP-848 (rule 8.7).
type ConsumerGroups struct {
	Assignors    []string        // group.consumer.assignors, the default one first
	MaxSize      int             // group.consumer.max.size
	Migration    MigrationPolicy // group.consumer.migration.policy
	RegexRefresh time.Duration   // group.consumer.regex.refresh.interval.ms

	// What a group has by default, and the bounds of what it may be given.
	GroupTiming
	MinSessionTimeout, MaxSessionTimeout         time.Duration // group.consumer.{min,max}.session.timeout.ms
	MinHeartbeatInterval, MaxHeartbeatInterval   time.Duration // group.consumer.{min,max}.heartbeat.interval.ms
	MinAssignmentInterval, MaxAssignmentInterval time.Duration // group.consumer.{min,max}.assignment.interval.ms
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
