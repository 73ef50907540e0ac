package handler

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// T007 and rule 1.4.3: software names, and what is remembered of them (rule 1.4.4).
func TestT007SoftwareNames(t *testing.T) {
	cl := newCluster(t)
	for _, c := range []struct {
		name, version string
		want          string
	}{
		{"librdkafka", "2.0.2", "NONE"}, {"apache-kafka-java", "4.3.1-rc.0", "NONE"}, {"a", "1", "NONE"},
		{"", "1", "INVALID_REQUEST"}, {"a", "", "INVALID_REQUEST"}, {"a b", "1", "INVALID_REQUEST"}, {"-x", "1", "INVALID_REQUEST"},
		{"x-", "1", "INVALID_REQUEST"}, {".", "1", "INVALID_REQUEST"}, {"a", "1_2", "INVALID_REQUEST"}, {"ä", "1", "INVALID_REQUEST"},
	} {
		session := &Session{Principal: acl.Anonymous}
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = c.name, c.version
		resp := cl.askOn(session, 3, req).(*kmsg.ApiVersionsResponse)
		if got := errorName(resp.ErrorCode); got != c.want || (len(resp.ApiKeys) > 0) != (got == "NONE") {
			t.Errorf("%q %q: %s with %d keys, want %s", c.name, c.version, got, len(resp.ApiKeys), c.want)
		}
		if want := (Software{c.name, c.version}); c.want == "NONE" && session.Software != want {
			t.Errorf("the session has %+v, want %+v", session.Software, want)
		}
		cl.askOn(session, 2, req)
		if want := (Software{"unknown", "unknown"}); session.Software != want {
			t.Errorf("after version 2 the session has %+v", session.Software)
		}
	}
}

// T008 and rules 1.4.5 to 1.4.9: the list is that of the table, but for the minimum of Produce and JoinGroup; features
// with a minimum of 0 are for version 4 and later.
func TestT008APIVersions(t *testing.T) {
	cl := newCluster(t)
	cl.rows = append(cl.rows, API{Key: 0, Min: 3, Max: 13}, API{Key: 11, Min: 2, Max: 9})
	cl.deps.Features = []Feature{{"kraft.version", 0, 1, 1}, {"metadata.version", 7, 30, 30}}
	image, err := cl.deps.Metadata.Load().Apply(526,
		&metadata.FeatureLevelRecord{Name: "transaction.version", Level: 2}, &metadata.FeatureLevelRecord{Name: "metadata.version", Level: 30})
	if err != nil {
		t.Fatal(err)
	}
	cl.deps.Metadata = new(metadata.Cell)
	cl.deps.Metadata.Store(image)
	for version := int16(0); version <= maxAPIVersions; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "kgo", "1"
		resp := cl.ask(version, req).(*kmsg.ApiVersionsResponse)
		if len(resp.ApiKeys) != len(cl.rows) {
			t.Errorf("version %d lists %d keys of %d", version, len(resp.ApiKeys), len(cl.rows))
		}
		for i, k := range resp.ApiKeys {
			row := cl.rows[slices.IndexFunc(cl.rows, func(a API) bool { return a.Key == k.ApiKey })]
			least := row.Min
			if k.ApiKey == 0 || k.ApiKey == 11 {
				least = 0
			}
			if k.MinVersion != least || k.MaxVersion != row.Max || i > 0 && k.ApiKey <= resp.ApiKeys[i-1].ApiKey {
				t.Errorf("version %d lists %+v", version, k)
			}
		}
		supported, finalized, epoch := []int{0, 0, 0, 1, 2}[version], []int{0, 0, 0, 2, 2}[version], []int64{-1, -1, -1, 526, 526}[version]
		if len(resp.SupportedFeatures) != supported || len(resp.FinalizedFeatures) != finalized || resp.FinalizedFeaturesEpoch != epoch || resp.ZkMigrationReady {
			t.Errorf("version %d: %+v", version, resp)
		}
		if finalized > 0 && (resp.FinalizedFeatures[1].Name != "transaction.version" || resp.FinalizedFeatures[1].MinVersionLevel != 2 || resp.FinalizedFeatures[1].MaxVersionLevel != 2) {
			t.Errorf("version %d: %+v", version, resp.FinalizedFeatures)
		}
	}
}

// T005 and rule 1.4.2: what Kafka 4.3.1 answers to versions 5 and 99, byte for byte.
func TestT005TooNewAPIVersions(t *testing.T) {
	if got := hex.EncodeToString(tooNewAPIVersions().AppendTo(nil)); got != "002300000001001200000004" {
		t.Errorf("the body is %s", got)
	}
}
