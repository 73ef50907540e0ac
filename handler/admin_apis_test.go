package handler

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// featureAPIs are the APIs without which a feature means nothing. A feature is offered exactly when all of its APIs are
// served: clients conclude the one from the other (rules 1.4.8 and 7.12.2).
var featureAPIs = map[string][]kmsg.Key{
	"group.version":       {kmsg.ConsumerGroupHeartbeat, kmsg.ConsumerGroupDescribe},
	"transaction.version": {kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.WriteTxnMarkers},
	"share.version":       {kmsg.ShareGroupHeartbeat, kmsg.ShareGroupDescribe, kmsg.ShareFetch, kmsg.ShareAcknowledge},
	"streams.version":     {kmsg.StreamsGroupHeartbeat, kmsg.StreamsGroupDescribe},
}

func TestFeaturesComeWithTheirAPIs(t *testing.T) {
	n := newDataNode(t, 0)
	served := map[kmsg.Key]bool{}
	for _, row := range Table(n.deps) {
		served[kmsg.Key(row.Key)] = true
	}
	offered := map[string]bool{}
	for _, f := range SupportedFeatures() {
		if offered[f.Name] = true; f.Initial < f.Min || f.Initial > f.Max {
			t.Errorf("%+v", f)
		}
	}
	for feature, keys := range featureAPIs {
		all := !slices.ContainsFunc(keys, func(k kmsg.Key) bool { return !served[k] })
		if all != offered[feature] {
			t.Errorf("feature %s is offered: %t, and its APIs are served: %t (handler/features.go)", feature, offered[feature], all)
		}
	}
}

// Rule 7.12.1: a cluster that is older than a feature is upgraded by UpdateFeatures, and ApiVersions shows it at once.
func TestUpdateFeaturesUpgradesAnOldCluster(t *testing.T) {
	cl := newCluster(t)
	update := func(version int16, level int16, kind int8, validate bool) *kmsg.UpdateFeaturesResponse {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel, u.UpgradeType, u.AllowDowngrade = "group.version", level, kind, kind > 1
		req.FeatureUpdates, req.TimeoutMillis, req.ValidateOnly = append(req.FeatureUpdates, u), 10_000, validate
		return cl.ask(version, req).(*kmsg.UpdateFeaturesResponse)
	}
	finalized := func() int16 {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "kgo", "1"
		for _, f := range cl.ask(4, req).(*kmsg.ApiVersionsResponse).FinalizedFeatures {
			if f.Name == "group.version" {
				return f.MaxVersionLevel
			}
		}
		return 0
	}
	for version := int16(0); version <= 2; version++ {
		if version > 0 {
			if resp := update(version, 1, 1, true); resp.ErrorCode != 0 || finalized() != 0 {
				t.Fatalf("version %d: validate_only: %d %s, and the level is %d", version, resp.ErrorCode, text(resp.ErrorMessage), finalized())
			}
		}
		resp := update(version, 1, 1, false)
		if resp.ErrorCode != 0 || finalized() != 1 || version < 2 && (len(resp.Results) != 1 || resp.Results[0].ErrorCode != 0) {
			t.Fatalf("version %d: %+v, and the level is %d", version, resp, finalized())
		}
		if resp := update(version, 0, 1, false); resp.ErrorCode != kerr.InvalidUpdateVersion.Code || len(resp.Results) != 0 {
			t.Fatalf("version %d: a downgrade that says it is an upgrade: %+v", version, resp)
		}
		if resp := update(version, 0, 2, false); resp.ErrorCode != 0 || finalized() != 0 {
			t.Fatalf("version %d: %d, and the level is %d", version, resp.ErrorCode, finalized())
		}
	}
}

// What is altered outlives the process: quotas and credentials are metadata.
func TestQuotasAndCredentialsAreDurable(t *testing.T) {
	cl := newCluster(t)
	user := "alice"
	quota := kmsg.NewPtrAlterClientQuotasRequest()
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	entry.Entity = []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &user}, {Type: "client-id"}}
	entry.Ops = []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1024}}
	quota.Entries = append(quota.Entries, entry)
	if resp := cl.ask(1, quota).(*kmsg.AlterClientQuotasResponse); resp.Entries[0].ErrorCode != 0 {
		t.Fatal(text(resp.Entries[0].ErrorMessage))
	}
	scram := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	up := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	up.Name, up.Mechanism, up.Iterations, up.Salt, up.SaltedPassword = user, 1, 4096, []byte("salt"), []byte("salted")
	scram.Upsertions = append(scram.Upsertions, up)
	if resp := cl.ask(0, scram).(*kmsg.AlterUserSCRAMCredentialsResponse); resp.Results[0].ErrorCode != 0 {
		t.Fatal(text(resp.Results[0].ErrorMessage))
	}
	if err := cl.controller.Close(); err != nil {
		t.Fatal(err)
	}
	cl = restartCluster(t, cl.fs)
	quotas := cl.ask(1, kmsg.NewPtrDescribeClientQuotasRequest()).(*kmsg.DescribeClientQuotasResponse)
	if len(quotas.Entries) != 1 || len(quotas.Entries[0].Entity) != 2 || quotas.Entries[0].Values[0].Value != 1024 {
		t.Errorf("%+v", quotas)
	}
	users := cl.ask(0, kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()).(*kmsg.DescribeUserSCRAMCredentialsResponse)
	if len(users.Results) != 1 || users.Results[0].User != user || users.Results[0].CredentialInfos[0].Iterations != 4096 {
		t.Errorf("%+v", users)
	}
}

// The example of RFC 7677, section 3: user "user", password "pencil".
func TestScramCredential(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, "pencil", salt, 4096, 32)
	if err != nil {
		t.Fatal(err)
	}
	c := newScramCredential(metadata.ScramSHA256, &kmsg.AlterUserSCRAMCredentialsRequestUpsertion{Iterations: 4096, Salt: salt, SaltedPassword: salted})
	auth := "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	if got, want := base64.StdEncoding.EncodeToString(keyed(sha256.New, c.ServerKey, auth)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="; got != want {
		t.Errorf("the server signature is %s, want %s", got, want)
	}
	// The client proof of the RFC is the client key, which the stored key is the hash of, under the signature of that.
	proof, err := base64.StdEncoding.DecodeString("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range keyed(sha256.New, c.StoredKey, auth) {
		proof[i] ^= b
	}
	if got := sha256.Sum256(proof); !slices.Equal(got[:], c.StoredKey) {
		t.Error("the stored key does not check the client's proof")
	}
}

// Rule 7.8.3: a move is listed while it lasts. One node has none, so it is made by hand.
func TestListPartitionReassignments(t *testing.T) {
	cl := newCluster(t)
	cl.create(assigned("t", -1, -1, map[int32][]int32{0: {1}}))
	im, err := cl.deps.Metadata.Load().Apply(100, &metadata.PartitionChangeRecord{Topic: cl.deps.Metadata.Load().Topic("t").ID,
		Replicas: []int32{1, 2}, Directories: []metadata.UUID{{}, {}}, AddingReplicas: []int32{2}, RemovingReplicas: []int32{1}})
	if err != nil {
		t.Fatal(err)
	}
	list := kmsg.NewPtrListPartitionReassignmentsRequest()
	list.Topics = nil
	if resp := cl.ask(0, list).(*kmsg.ListPartitionReassignmentsResponse); len(resp.Topics) != 0 {
		t.Errorf("%+v", resp)
	}
	d := *cl.deps
	d.Metadata = new(metadata.Cell)
	d.Metadata.Store(im)
	c := &Context{Session: &Session{Principal: acl.Anonymous}, Ctx: context.Background()}
	resp := d.listReassignments(c, list)
	if len(resp.Topics) != 1 || !slices.Equal(resp.Topics[0].Partitions[0].AddingReplicas, []int32{2}) || !slices.Equal(resp.Topics[0].Partitions[0].RemovingReplicas, []int32{1}) {
		t.Errorf("%+v", resp)
	}
}

// DescribeQuorum shows the one voter, which has all there is.
func TestDescribeQuorum(t *testing.T) {
	cl := newCluster(t)
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{{}}
	req.Topics = append(req.Topics, topic)
	resp := cl.ask(2, req).(*kmsg.DescribeQuorumResponse)
	row := resp.Topics[0].Partitions[0]
	if row.ErrorCode != 0 || row.LeaderID != 1 || row.LeaderEpoch < 1 || len(row.CurrentVoters) != 1 || len(resp.Nodes) != 1 {
		t.Fatalf("%+v", resp)
	}
	if v := row.CurrentVoters[0]; v.ReplicaID != 1 || v.LogEndOffset < row.HighWatermark || row.HighWatermark <= int64(cl.deps.Metadata.Load().Index) || v.ReplicaDirectoryID == [16]byte{} {
		t.Errorf("%+v in %+v", v, row)
	}
}

// The controller says what is wrong with a request as a whole, in every row if there is no other place.
func TestAdminAPIsWithoutAController(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("t", 1, 1))
	if err := cl.controller.Close(); err != nil {
		t.Fatal(err)
	}
	elect := kmsg.NewPtrElectLeadersRequest()
	elect.Topics, elect.TimeoutMillis = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0}}}, 1000
	for version := int16(0); version <= 2; version++ {
		if resp := cl.ask(version, elect).(*kmsg.ElectLeadersResponse); resp.Topics[0].Partitions[0].ErrorCode != kerr.NotController.Code {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
	move := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	move.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: []int32{1}}}}}
	move.TimeoutMillis = 1000
	if resp := cl.ask(1, move).(*kmsg.AlterPartitionAssignmentsResponse); resp.ErrorCode != kerr.NotController.Code {
		t.Errorf("%+v", resp)
	}
	move.TimeoutMillis = 0
	if resp := cl.ask(1, move).(*kmsg.AlterPartitionAssignmentsResponse); resp.ErrorCode != kerr.RequestTimedOut.Code {
		t.Errorf("%+v", resp)
	}
	if _, err := cl.deps.Controller.QuorumStatus(t.Context()); code(err) != kerr.NotController.Code {
		t.Errorf("%v", err)
	}
	if err := cl.deps.Controller.UnregisterBroker(t.Context(), 1); code(err) != kerr.NotController.Code {
		t.Errorf("%v", err)
	}
	if _, err := cl.deps.Controller.UpdateFeatures(t.Context(), []controller.FeatureUpdate{{Name: "x"}}, false); code(err) != kerr.NotController.Code {
		t.Errorf("%v", err)
	}
}

// Rule 7.10.2 where the twin cannot look: a user that is altered twice keeps what it had.
func TestScramTwice(t *testing.T) {
	cl := newCluster(t)
	up := func(name string, mechanism int8) kmsg.AlterUserSCRAMCredentialsRequestUpsertion {
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.SaltedPassword = name, mechanism, 4096, []byte{1}
		return u
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{up("a", 1), up("b", 1), up("a", 2), up("a", 1)}
	resp := cl.ask(0, req).(*kmsg.AlterUserSCRAMCredentialsResponse)
	im := cl.deps.Metadata.Load()
	if len(resp.Results) != 2 || resp.Results[0].ErrorCode != kerr.DuplicateResource.Code || resp.Results[1].ErrorCode != 0 ||
		im.ScramCredential(metadata.ScramUser{Name: "a", Mechanism: 1}) != nil || im.ScramCredential(metadata.ScramUser{Name: "b", Mechanism: 1}) == nil {
		t.Errorf("%+v", resp)
	}
}
