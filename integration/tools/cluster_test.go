package tools

// logDirectory is where a broker happens to keep a partition.
const logDirectory = `"log_dirs":\["/[^"]*"\]`

var clusterSteps = []step{
	{name: "cluster-id", class: "ClusterTool", want: []string{`^Cluster ID: \S{22}$`}, masks: []string{`ID: \S+`}, args: []string{"cluster-id", "--bootstrap-server", "{bootstrap}"}},
	{
		name: "cluster-endpoints", class: "ClusterTool", want: []string{`^1\s+127\.0\.0\.1\s+\d+\s`}, masks: []string{`127\.0\.0\.1\s+\d+`},
		args: []string{"list-endpoints", "--bootstrap-server", "{bootstrap}"},
	},
	{
		name: "features", class: "FeatureCommand", args: []string{"--bootstrap-server", "{bootstrap}", "describe"},
		want:  []string{`Feature: metadata\.version\s`, `Feature: group\.version\s.*FinalizedVersionLevel: 1`},
		alone: "a release finalizes the features it has",
	},
	{
		name: "quorum-status", class: "MetadataQuorumCommand", args: []string{"--bootstrap-server", "{bootstrap}", "describe", "--status"},
		want:  []string{`^LeaderId:\s+1$`, `^MaxFollowerLag:\s+0$`, `^CurrentVoters:\s+\[.*"id": 1`},
		masks: []string{`(ClusterId|LeaderEpoch|HighWatermark|MaxFollowerLagTimeMs):\s+\S+`, `, "directoryId": "[^"]+"`, `, "endpoints": \[[^\]]*\]`},
	},
	{
		name: "quorum-replication", class: "MetadataQuorumCommand", args: []string{"--bootstrap-server", "{bootstrap}", "describe", "--replication"},
		want: []string{`^1\s.*Leader`}, masks: []string{`^1.*Leader`},
	},
	{
		name: "broker-api-versions", class: "BrokerApiVersionsCommand", args: topics(), alone: "a release has the APIs it has; the twin test compares them",
		want: []string{`^BOOTSTRAP \(id: 1 rack: null isFenced: false\) -> \(`, `Produce\(0\): 0 to 13 \[usable: 13\]`, `JoinGroup\(11\): 0 to 9 \[usable: 9\]`},
	},
	{
		name: "compatibility", class: "ClientCompatibilityTest", alone: measures, want: []string{`(?i)SUCCESS`},
		args: topics("--topic", "compat", "--offsets-for-times-supported", "true", "--cluster-id-supported", "true",
			"--expect-record-too-large-exception", "false", "--num-cluster-nodes", "1", "--create-topics-supported", "true",
			"--describe-acls-supported", "true", "--describe-configs-supported", "true", "--idempotent-producer-supported", "true"),
	},
	{
		name: "acls-without-authorizer", class: "AclCommand", exit: 1, alone: ownWords, want: []string{`SecurityDisabledException`},
		args: topics("--list"),
	},
	{name: "reassignments", class: "reassign.ReassignPartitionsCommand", want: []string{`No partition reassignments found`}, args: topics("--list")},
	{
		name: "reassign-generate", class: "reassign.ReassignPartitionsCommand", want: []string{`Proposed partition reassignment configuration`}, masks: []string{logDirectory},
		args: topics("--generate", "--topics-to-move-json-file", "{file:move.json}", "--broker-list", "1"),
	},
	{
		name: "reassign-execute", class: "reassign.ReassignPartitionsCommand", want: []string{`Successfully started partition reassignment for orders-0`}, masks: []string{logDirectory},
		args: topics("--execute", "--reassignment-json-file", "{file:moved.json}"),
	},
	{
		name: "reassign-verify", class: "reassign.ReassignPartitionsCommand", want: []string{`Reassignment of partition orders-0 is completed`},
		args: topics("--verify", "--reassignment-json-file", "{file:moved.json}"),
	},
	{
		name: "leader-election", class: "LeaderElectionCommand", want: []string{`^$`},
		args: topics("--election-type", "preferred", "--all-topic-partitions"),
	},
	{
		name: "leader-election-one", class: "LeaderElectionCommand", want: []string{`Valid replica already elected for partitions orders-0`},
		args: topics("--election-type", "preferred", "--topic", "orders", "--partition", "0"),
	},
}
