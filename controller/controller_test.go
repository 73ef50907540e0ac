package controller

import (
	"testing"
	"time"

	"github.com/kbroker/kbroker/internal/vfs"
)

func TestStart(t *testing.T) {
	dir := t.TempDir()
	for n := range byte(3) {
		t0 := time.Now()
		c := start(t, testConfig(t, vfs.OS(), dir))
		join(t, c, n)
		t.Log("started in", time.Since(t0))
		if n == 0 {
			res, err := c.Client().CreateTopics(testContext(t), []NewTopic{{Name: "a", Partitions: -1, ReplicationFactor: -1}}, false)
			if err != nil || res[0].Err != nil {
				t.Fatal(err, res)
			}
		}
		topic := c.Image().Topic("a")
		if topic == nil {
			t.Fatal("no topic a after CreateTopics")
		}
		t.Logf("%+v", topic.Partitions[0])
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
