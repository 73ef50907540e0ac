package broker

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/internal/simfs"
)

// TestOffsetsSurvive: committed offsets are there after a kill, and gone with their topic.
func TestOffsetsSurvive(t *testing.T) {
	fsys := simfs.New()
	b := startOn(t, fsys)
	_, admin := connect(t, b)
	for _, topic := range []string{"kept", "deleted"} {
		if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	var offsets kadm.Offsets
	offsets.AddOffset("kept", 0, 42, 3)
	offsets.AddOffset("deleted", 0, 7, -1)
	if err := admin.CommitAllOffsets(t.Context(), "g", offsets); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteTopics(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	crashed := fsys.CrashWorst()
	_ = b.Stop(t.Context()) // its disk is gone
	b.stopErr = nil
	again := startOn(t, crashed)
	_, admin = connect(t, again, kgo.MetadataMinAge(10*time.Millisecond))
	deadline := time.Now().Add(20 * time.Second)
	for {
		got, err := admin.FetchOffsets(t.Context(), "g")
		if err == nil {
			kept, ok := got.Lookup("kept", 0)
			if !ok || kept.At != 42 || kept.LeaderEpoch != 3 {
				t.Fatalf("kept: %+v", kept)
			}
			if _, ok = got.Lookup("deleted", 0); !ok {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("offsets of a deleted topic after 20 s: %v, %v", got, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	groups, err := admin.ListGroups(t.Context())
	if err != nil || len(groups) != 1 || groups["g"].State != "Empty" {
		t.Errorf("groups: %v, %v", groups, err)
	}
	if deleted, err := admin.DeleteGroups(t.Context(), "g"); err != nil || deleted["g"].Err != nil {
		t.Errorf("delete: %v, %v", deleted, err)
	}
	if groups, err := admin.ListGroups(t.Context()); err != nil || len(groups) != 0 {
		t.Errorf("groups after the deletion: %v, %v", groups, err)
	}
}
