package tools

// measures says why what a measuring tool prints is not compared.
const measures = "it prints what it measured"

func producer(args ...string) []string {
	return append([]string{"--bootstrap-server", "{bootstrap}", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"}, args...)
}

func consumer(args ...string) []string {
	shown := []string{"--bootstrap-server", "{bootstrap}"}
	for _, what := range []string{"key", "offset", "partition", "headers"} {
		shown = append(shown, "--formatter-property", "print."+what+"=true")
	}
	return append(shown, args...)
}

var recordSteps = []step{
	{name: "records-topic", class: "TopicCommand", want: []string{`lines`}, args: topics("--create", "--topic", "lines", "--partitions", "1")},
	{
		name: "console-producer", class: "ConsoleProducer", want: []string{`^$`}, stdin: "a:one\nb:two\nc:three\n",
		args: producer("--topic", "lines"),
	},
	{
		name: "console-producer-headers", class: "ConsoleProducer", want: []string{`^$`}, stdin: "h1:v1,h2:v2\td:four\nh1:v3\te:five\n",
		args: producer("--topic", "lines", "--reader-property", "parse.headers=true", "--compression-codec", "zstd"),
	},
	{
		name: "console-producer-acks", class: "ConsoleProducer", want: []string{`^$`}, stdin: "f:six\n",
		args: producer("--topic", "lines", "--sync", "--command-property", "enable.idempotence=false", "--command-property", "acks=1"),
	},
	{
		name: "console-consumer-partition", class: "consumer.ConsoleConsumer",
		args: consumer("--topic", "lines", "--partition", "0", "--offset", "1", "--max-messages", "5"),
		want: []string{`Offset:1\s+NO_HEADERS\s+b\s+two`, `h1:v1,h2:v2\s+d\s+four`, `f\s+six$`},
	},
	{
		name: "console-consumer-timeout", class: "consumer.ConsoleConsumer", want: []string{`six`, `Processed a total of 1 messages`},
		args: consumer("--topic", "lines", "--partition", "0", "--offset", "5", "--timeout-ms", "1500"),
	},
	{name: "get-offsets-latest", class: "GetOffsetShell", want: []string{`^lines:0:6$`}, args: topics("--topic", "lines")},
	{name: "get-offsets-all", class: "GetOffsetShell", want: []string{`^orders:4:0$`}, args: topics("--exclude-internal-topics")},
	{name: "get-offsets-earliest", class: "GetOffsetShell", want: []string{`^lines:0:0$`}, args: topics("--topic", "lines", "--time", "earliest")},
	{name: "get-offsets-max-timestamp", class: "GetOffsetShell", want: []string{`^lines:0:5$`}, args: topics("--topic", "lines", "--time", "max-timestamp")},
	{name: "get-offsets-local", class: "GetOffsetShell", want: []string{`^lines:0:0$`}, args: topics("--topic", "lines", "--time", "earliest-local")},
	{name: "get-offsets-tiered", class: "GetOffsetShell", want: []string{`^$`}, args: topics("--topic", "lines", "--time", "latest-tiered")},
	{name: "get-offsets-time", class: "GetOffsetShell", want: []string{`^lines:0:0$`}, args: topics("--topic-partitions", "lines:0", "--time", "1000")},
	{
		name: "delete-records", class: "DeleteRecordsCommand", want: []string{`partition: lines-0\s+low_watermark: 2$`},
		args: topics("--offset-json-file", "{file:delete.json}"),
	},
	{
		name: "delete-records-too-far", class: "DeleteRecordsCommand", alone: ownWords, want: []string{`partition: lines-0\s+error: .*OffsetOutOfRangeException`},
		args: topics("--offset-json-file", "{file:delete-too-far.json}"),
	},
	{name: "get-offsets-deleted", class: "GetOffsetShell", want: []string{`^lines:0:2$`}, args: topics("--topic", "lines", "--time", "earliest")},
	{
		name: "console-consumer-deleted", class: "consumer.ConsoleConsumer", want: []string{`Offset:2\s+NO_HEADERS\s+c\s+three`},
		args: consumer("--topic", "lines", "--partition", "0", "--offset", "earliest", "--max-messages", "4"),
	},
	{
		name: "log-dirs", class: "LogDirsCommand", want: []string{`"partition":"lines-0","size":[1-9][0-9]*,"offsetLag":0,"isFuture":false`},
		args: topics("--describe", "--topic-list", "lines"), masks: []string{`"logDir":"[^"]*"`, `"size":\d+`},
	},
	{
		name: "producer-perf", class: "ProducerPerformance", alone: measures, want: []string{`^2000 records sent`},
		args: topics("--topic", "perf", "--num-records", "2000", "--record-size", "100", "--throughput", "-1"),
	},
	{
		name: "consumer-perf", class: "ConsumerPerformance", alone: measures, want: []string{`^start\.time, end\.time, data\.consumed\.in\.MB`, `, 2000, `},
		args: topics("--topic", "perf", "--group", "measurers", "--num-records", "2000"),
	},
	{
		name: "e2e-latency", class: "EndToEndLatency", alone: measures, want: []string{`^Avg latency: `, `^Percentiles: `},
		args: topics("--topic", "latency", "--num-records", "20", "--producer-acks", "all", "--record-size", "50"),
	},
	{
		name: "verifiable-producer", class: "VerifiableProducer", own: true, alone: measures, want: []string{`"name":"tool_data".*"sent":50.*`, `"acked":50`},
		args: topics("--topic", "verifiable", "--max-messages", "50"),
	},
	{
		name: "verifiable-consumer", class: "VerifiableConsumer", own: true, alone: measures, want: []string{`"name":"partitions_assigned"`, `"name":"shutdown_complete"`, `"count":50`},
		args: topics("--topic", "verifiable", "--group-id", "verifiers", "--max-messages", "50"),
	},
	{
		name: "verifiable-consumer-848", class: "VerifiableConsumer", own: true, alone: measures, want: []string{`"name":"partitions_assigned"`, `"count":50`},
		args: topics("--topic", "verifiable", "--group-id", "verifiers-848", "--group-protocol", "consumer", "--max-messages", "50"),
	},
}
