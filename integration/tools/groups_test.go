package tools

const groupCommand = "consumer.group.ConsumerGroupCommand"

func groups(args ...string) []string {
	return append([]string{"--bootstrap-server", "{bootstrap}"}, args...)
}

// memberID is a member's id, which has a UUID in it or, of KIP-848, is one in base64.
const memberID = `live-client-[0-9a-f-]{36}|[A-Za-z0-9_-]{22}==`

// nameless are lines about the groups that tools made up a name for.
const nameless = `^(console-consumer|test-group)-.*\n`

var groupSteps = []step{
	{
		name: "console-consumer-group", class: "consumer.ConsoleConsumer", want: []string{`Offset:2\s+NO_HEADERS\s+c\s+three`, `f\s+six$`},
		args: consumer("--topic", "lines", "--group", "readers", "--from-beginning", "--max-messages", "4"),
	},
	{
		name: "console-consumer-group-goes-on", class: "consumer.ConsoleConsumer", want: []string{`Processed a total of 0 messages`},
		args: consumer("--topic", "lines", "--group", "readers", "--timeout-ms", "4000"),
	},
	{
		name: "console-consumer-group-848", class: "consumer.ConsoleConsumer", want: []string{`f\s+six$`},
		args: consumer("--topic", "lines", "--group", "readers-848", "--from-beginning", "--max-messages", "4", "--command-property", "group.protocol=consumer"),
	},
	{
		name: "console-consumer-regex", class: "consumer.ConsoleConsumer", want: []string{`f\s+six$`},
		args: consumer("--include", "li.es", "--from-beginning", "--max-messages", "4"),
	},
	{name: "groups-list", class: groupCommand, sorted: true, want: []string{`^readers$`, `^readers-848$`, `^live$`}, args: groups("--list"), masks: []string{nameless}},
	{
		name: "groups-list-state", class: groupCommand, sorted: true, masks: []string{nameless},
		want: []string{`readers\s+Classic\s+Empty`, `readers-848\s+Consumer\s+Empty`, `live\s+Classic\s+Stable`, `live-848\s+Consumer\s+Stable`}, args: groups("--list", "--state", "--type"),
	},
	{
		name: "groups-describe", class: groupCommand, want: []string{`readers\s+lines\s+0\s+6\s+6\s+0`, `has no active members`},
		args: groups("--describe", "--group", "readers"),
	},
	{
		name: "groups-describe-848", class: groupCommand, want: []string{`readers-848\s+lines\s+0\s+6\s+6\s+0`},
		args: groups("--describe", "--group", "readers-848"),
	},
	{
		name: "groups-describe-live", class: groupCommand, sorted: true, masks: []string{memberID}, want: []string{`live\s+live\s+1\s.*live-\S+\s+/127\.0\.0\.1\s+live-client`},
		args: groups("--describe", "--group", "live"),
	},
	{
		name: "groups-describe-live-verbose", class: groupCommand, sorted: true, masks: []string{memberID}, want: []string{`live\s+live\s+1`},
		args: groups("--describe", "--group", "live", "--offsets", "--verbose"),
	},
	{
		name: "groups-members-live", class: groupCommand, sorted: true, masks: []string{memberID}, want: []string{`/127\.0\.0\.1\s+live-client\s+2\s+-\s+live:0,1`},
		args: groups("--describe", "--group", "live", "--members", "--verbose"),
	},
	{
		name: "groups-members-live-848", class: groupCommand, sorted: true, masks: []string{memberID}, want: []string{`/127\.0\.0\.1\s+live-client\s.*live:0,1`},
		args: groups("--describe", "--group", "live-848", "--members", "--verbose"),
	},
	{
		name: "groups-state-live", class: groupCommand, want: []string{`live\s+BOOTSTRAP.*\(1\)\s+range\s+Stable\s+1`},
		args: groups("--describe", "--group", "live", "--state"),
	},
	{
		name: "groups-state-live-848", class: groupCommand, want: []string{`live-848\s+BOOTSTRAP.*\(1\)\s+uniform\s+Stable`},
		args: groups("--describe", "--group", "live-848", "--state", "--verbose"),
	},
	{
		name: "groups-state-all", class: groupCommand, sorted: true, masks: []string{nameless}, want: []string{`readers\s+.*Empty\s+0`},
		args: groups("--describe", "--all-groups", "--state"),
	},
	{
		name: "groups-describe-absent", class: groupCommand, alone: ownWords, want: []string{`Consumer group 'absent' does not exist|GroupIdNotFound`},
		args: groups("--describe", "--group", "absent"),
	},
	{
		name: "groups-reset-dry", class: groupCommand, want: []string{`readers\s+lines\s+0\s+2`},
		args: groups("--reset-offsets", "--group", "readers", "--topic", "lines", "--to-earliest", "--dry-run"),
	},
	{
		name: "groups-reset-shift", class: groupCommand, want: []string{`readers\s+lines\s+0\s+5`},
		args: groups("--reset-offsets", "--group", "readers", "--topic", "lines:0", "--shift-by", "-1", "--execute"),
	},
	{
		name: "groups-reset-offset", class: groupCommand, want: []string{`readers\s+lines\s+0\s+4`},
		args: groups("--reset-offsets", "--group", "readers", "--all-topics", "--to-offset", "4", "--execute"),
	},
	{
		name: "groups-reset-export", class: groupCommand, want: []string{`"?lines"?,0,6`},
		args: groups("--reset-offsets", "--group", "readers", "--topic", "lines", "--to-latest", "--export", "--dry-run"),
	},
	{
		name: "groups-reset-file", class: groupCommand, want: []string{`readers\s+lines\s+0\s+3`},
		args: groups("--reset-offsets", "--group", "readers", "--from-file", "{file:reset.csv}", "--execute"),
	},
	{
		name: "groups-reset-datetime", class: groupCommand, want: []string{`readers-848\s+lines\s+0\s+2`},
		args: groups("--reset-offsets", "--group", "readers-848", "--topic", "lines", "--to-datetime", "2020-01-01T00:00:00.000", "--execute"),
	},
	{
		name: "groups-reset-live", class: groupCommand, want: []string{`current state is Stable`},
		args: groups("--reset-offsets", "--group", "live", "--topic", "live", "--to-earliest", "--execute"),
	},
	{
		name: "groups-describe-reset", class: groupCommand, want: []string{`readers\s+lines\s+0\s+3\s+6\s+3`},
		args: groups("--describe", "--group", "readers"),
	},
	{
		name: "console-consumer-group-reset", class: "consumer.ConsoleConsumer", want: []string{`Offset:3\s+h1:v1,h2:v2\s+d\s+four`},
		args: consumer("--topic", "lines", "--group", "readers", "--max-messages", "1"),
	},
	{
		name: "groups-delete-offsets", class: groupCommand, want: []string{`Request succeeded for deleting offsets`, `lines\s+0\s+Successful`},
		args: groups("--delete-offsets", "--group", "readers", "--topic", "lines"),
	},
	{
		name: "groups-delete-offsets-live", class: groupCommand, alone: ownWords, want: []string{`actively subscribed`},
		args: groups("--delete-offsets", "--group", "live", "--topic", "live"),
	},
	{
		name: "groups-delete", class: groupCommand, want: []string{`Deletion of requested consumer groups \('readers-848'\) was successful`},
		args: groups("--delete", "--group", "readers-848"),
	},
	{
		name: "groups-delete-live", class: groupCommand, alone: ownWords, want: []string{`live`, `not empty`},
		args: groups("--delete", "--group", "live"),
	},
	{
		name: "groups-delete-absent", class: groupCommand, alone: ownWords, want: []string{`absent`},
		args: groups("--delete", "--group", "absent"),
	},
	{
		name: "groups-all-kinds", class: "GroupsCommand", sorted: true, masks: []string{nameless},
		want: []string{`live\s+Classic\s+consumer`, `live-848\s+Consumer\s+consumer`}, args: groups("--list"),
	},
}
