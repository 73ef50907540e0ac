package tools

// topicMasks are for descriptions of topics. Kafka's format tool writes min.insync.replicas into the defaults of a cluster
// that has eligible leader replicas, so that all topics seem to have it set.
var topicMasks = []string{`TopicId: \S+`, `min\.insync\.replicas=1,?`}

// ownWords says why a message is not compared.
const ownWords = "an error has its code from Kafka and its text from kbroker"

func topics(args ...string) []string {
	return append([]string{"--bootstrap-server", "{bootstrap}"}, args...)
}

var topicSteps = []step{
	{
		name: "topics-create", class: "TopicCommand", want: []string{`^Created topic orders\.$`},
		args: topics("--create", "--topic", "orders", "--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=86400000"),
	},
	{
		name: "topics-create-again", class: "TopicCommand", exit: 1, alone: ownWords, want: []string{`topic "orders" exists already`},
		args: topics("--create", "--topic", "orders", "--partitions", "3"),
	},
	{
		name: "topics-create-if-not-exists", class: "TopicCommand", want: []string{`^$`},
		args: topics("--create", "--topic", "orders", "--if-not-exists"),
	},
	{
		name: "topics-create-too-many-replicas", class: "TopicCommand", exit: 1, alone: ownWords, want: []string{`replication factor 3`},
		args: topics("--create", "--topic", "wide", "--replication-factor", "3"),
	},
	{
		name: "topics-create-unknown-config", class: "TopicCommand", exit: 1, alone: ownWords, want: []string{`nonsense`},
		args: topics("--create", "--topic", "odd", "--config", "nonsense=1"),
	},
	{
		name: "topics-create-bad-name", class: "TopicCommand", exit: 1, alone: ownWords, want: []string{`topic name "no spaces"`},
		args: topics("--create", "--topic", "no spaces"),
	},
	{
		name: "topics-create-assigned", class: "TopicCommand", want: []string{`^Created topic assigned\.$`},
		args: topics("--create", "--topic", "assigned", "--replica-assignment", "1,1"),
	},
	{name: "topics-create-doomed", class: "TopicCommand", want: []string{`doomed`}, args: topics("--create", "--topic", "doomed")},
	{name: "topics-list", class: "TopicCommand", want: []string{`^doomed$`, `^orders$`}, args: topics("--list")},
	{
		name: "topics-describe", class: "TopicCommand", masks: topicMasks, args: topics("--describe", "--topic", "orders"),
		want: []string{`PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention.ms=86400000`, `Partition: 2\s+Leader: 1\s+Replicas: 1\s+Isr: 1`},
	},
	{
		name: "topics-describe-all", class: "TopicCommand", sorted: true, masks: topicMasks, args: topics("--describe", "--exclude-internal"),
		want: []string{`Topic: assigned\s`, `Topic: doomed\s`, `Topic: orders\s`},
	},
	{
		name: "topics-describe-absent", class: "TopicCommand", exit: 1, want: []string{`Topic 'absent' does not exist as expected`},
		args: topics("--describe", "--topic", "absent"),
	},
	{name: "topics-alter", class: "TopicCommand", want: []string{`^$`}, args: topics("--alter", "--topic", "orders", "--partitions", "5")},
	{
		name: "topics-alter-down", class: "TopicCommand", exit: 1, alone: ownWords, want: []string{`can only grow`},
		args: topics("--alter", "--topic", "orders", "--partitions", "2"),
	},
	{
		name: "topics-describe-altered", class: "TopicCommand", masks: topicMasks, want: []string{`PartitionCount: 5`},
		args: topics("--describe", "--topic", "orders"),
	},
	{name: "topics-under-replicated", class: "TopicCommand", want: []string{`^$`}, args: topics("--describe", "--under-replicated-partitions")},
	{
		name: "topics-with-overrides", class: "TopicCommand", sorted: true, masks: topicMasks, want: []string{`orders`},
		alone: "Kafka's topics all have one", args: topics("--describe", "--topics-with-overrides"),
	},
	{name: "topics-delete", class: "TopicCommand", want: []string{`^$`}, args: topics("--delete", "--topic", "doomed")},
	{
		name: "topics-delete-absent", class: "TopicCommand", exit: 1, want: []string{`Topic 'doomed' does not exist as expected`},
		args: topics("--delete", "--topic", "doomed"),
	},
}
