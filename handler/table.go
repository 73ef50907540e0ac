package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
)

// Table is the protocol surface in key order: every API that is served, in the versions in which it works. ApiVersions is
// generated from it. testdata/apis.txt is its golden file.
func Table(d *Deps) []API {
	var rows []API
	rows = []API{
		{Key: keyProduce, Min: 3, Max: 13, Checks: []Check{{acl.Topic, acl.Write}, {acl.TransactionalID, acl.Write}}, Handle: streamed},
		{Key: keyFetch, Min: 4, Max: 18, Checks: []Check{{acl.Topic, acl.Read}, {acl.Cluster, acl.ClusterAction}}, Handle: streamed},
		listOffsetsAPI(d),
		metadataAPI(d),
		offsetCommitAPI(d),
		offsetFetchAPI(d),
		findCoordinatorAPI(d),
		joinGroupAPI(d),
		heartbeatAPI(d),
		leaveGroupAPI(d),
		syncGroupAPI(d),
		describeGroupsAPI(d),
		listGroupsAPI(d),
		apiVersionsAPI(d, func() []API { return rows }),
		createTopicsAPI(d),
		deleteTopicsAPI(d),
		deleteRecordsAPI(d),
		initProducerIDAPI(d),
		offsetForLeaderEpochAPI(d),
		describeAclsAPI(d),
		createAclsAPI(d),
		deleteAclsAPI(d),
		describeConfigsAPI(d),
		alterConfigsAPI(d),
		describeLogDirsAPI(d),
		createPartitionsAPI(d),
		deleteGroupsAPI(d),
		electLeadersAPI(d),
		incrementalAlterConfigsAPI(d),
		alterReassignmentsAPI(d),
		listReassignmentsAPI(d),
		offsetDeleteAPI(d),
		describeClientQuotasAPI(d),
		alterClientQuotasAPI(d),
		describeScramCredentialsAPI(d),
		alterScramCredentialsAPI(d),
		describeQuorumAPI(d),
		updateFeaturesAPI(d),
		describeClusterAPI(d),
		describeProducersAPI(d),
		unregisterBrokerAPI(d),
		consumerGroupHeartbeatAPI(d),
		consumerGroupDescribeAPI(d),
		listConfigResourcesAPI(d),
		describeTopicPartitionsAPI(d),
	}
	return rows
}

// streamed stands in the rows of Produce and Fetch, which have a path of their own and are never dispatched by kmsg.
func streamed(*Context, kmsg.Request) kmsg.Response { return nil }
