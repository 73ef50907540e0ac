package tools

func configs(args ...string) []string {
	return append([]string{"--bootstrap-server", "{bootstrap}"}, args...)
}

const configCommand = "kafka.admin.ConfigCommand"

var configSteps = []step{
	{
		name: "configs-topic-alter", class: configCommand, want: []string{`^Completed updating config for topic lines\.$`},
		args: configs("--alter", "--entity-type", "topics", "--entity-name", "lines", "--add-config", "max.message.bytes=65536,cleanup.policy=[compact,delete]"),
	},
	{
		name: "configs-topic-describe", class: configCommand, want: []string{`max\.message\.bytes=65536 sensitive=false`, `cleanup\.policy=compact,delete`},
		args: configs("--describe", "--topic", "lines"),
	},
	{
		name: "configs-topic-delete", class: configCommand, want: []string{`^Completed`},
		args: configs("--alter", "--topic", "lines", "--delete-config", "cleanup.policy"),
	},
	{
		name: "configs-topic-all", class: configCommand, sorted: true, want: []string{`max\.message\.bytes=65536`, `retention\.ms=604800000`},
		args: configs("--describe", "--topic", "lines", "--all"), masks: []string{`^  kbroker\..*\n`, `^  min\.insync\.replicas=1 .*\n`},
	},
	{
		name: "configs-topic-bad", class: configCommand, exit: 1, alone: ownWords, want: []string{`InvalidConfigurationException`},
		args: configs("--alter", "--topic", "lines", "--add-config", "retention.ms=soon"),
	},
	{
		name: "configs-topic-absent", class: configCommand, exit: 1, alone: ownWords, want: []string{`UnknownTopicOrPartitionException`},
		args: configs("--alter", "--topic", "absent", "--add-config", "retention.ms=1"),
	},
	{
		name: "configs-broker-alter", class: configCommand, want: []string{`^Completed updating config for broker 1\.$`},
		args: configs("--alter", "--broker", "1", "--add-config", "message.max.bytes=2000000"),
	},
	{
		name: "configs-broker-describe", class: configCommand, want: []string{`message\.max\.bytes=2000000`},
		args: configs("--describe", "--broker", "1"),
	},
	{
		name: "configs-brokers-default", class: configCommand, want: []string{`^Completed updating default config for brokers in the cluster`},
		args: configs("--alter", "--broker-defaults", "--add-config", "log.retention.ms=86400000"),
	},
	{
		name: "configs-brokers-default-describe", class: configCommand, want: []string{`log\.retention\.ms=86400000`},
		args: configs("--describe", "--broker-defaults"), masks: []string{`^  min\.insync\.replicas=1 .*\n`},
	},
	{
		name: "configs-group-alter", class: configCommand, want: []string{`^Completed updating config for group tuned\.$`},
		args: configs("--alter", "--group", "tuned", "--add-config", "consumer.session.timeout.ms=50000"),
	},
	{
		name: "configs-group-describe", class: configCommand, want: []string{`consumer\.session\.timeout\.ms=50000`},
		args: configs("--describe", "--group", "tuned"),
	},
	{
		name: "configs-quota-alter", class: configCommand, want: []string{`^Completed updating config for user alice\.$`},
		args: configs("--alter", "--user", "alice", "--add-config", "producer_byte_rate=1048576"),
	},
	{
		name: "configs-quota-client", class: configCommand, want: []string{`^Completed`},
		args: configs("--alter", "--client-defaults", "--add-config", "consumer_byte_rate=2097152"),
	},
	{
		name: "configs-quota-describe", class: configCommand, sorted: true, want: []string{`user-principal 'alice' are .*producer_byte_rate=1048576`},
		args: configs("--describe", "--entity-type", "users"),
	},
	{
		name: "configs-quota-delete", class: configCommand, want: []string{`^Completed`},
		args: configs("--alter", "--user", "alice", "--delete-config", "producer_byte_rate"),
	},
	{
		name: "configs-quota-ip", class: configCommand, want: []string{`^Completed`},
		args: configs("--alter", "--ip", "127.0.0.9", "--add-config", "connection_creation_rate=10"),
	},
	{name: "configs-quota-ip-describe", class: configCommand, want: []string{`connection_creation_rate=10`}, args: configs("--describe", "--ip", "127.0.0.9")},
}
