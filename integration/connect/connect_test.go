package connect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbroker/kbroker/integration/process"
)

// lines is how many lines are sent through the topic in each turn.
const lines = 2000

// TestConnect has two distributed workers, one after the other and for a moment together, copy a file into a topic and the
// topic into another file. The first is killed: the second takes the connectors over, with the offsets that were
// committed.
func TestConnect(t *testing.T) {
	t.Parallel()
	bootstrap, dir := startBroker(t), t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	first, url := startWorker(t, bootstrap)
	put(t, url, "source", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "tasks.max": "1", "file": in, "topic": "copied",
	})
	put(t, url, "sink", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "tasks.max": "1", "file": out, "topics": "copied",
	})
	write(t, in, 0)
	eventually(t, "the first lines", func() error { return complete(out, lines) })
	_, url = startWorker(t, bootstrap)
	eventually(t, "a group of two workers", func() error { return twoWorkers(url) })
	first.Kill()
	write(t, in, lines)
	eventually(t, "the lines after the kill", func() error { return complete(out, 2*lines) })
	for _, name := range []string{"source", "sink"} {
		eventually(t, "the state of "+name, func() error { return running(url, name) })
	}
	t.Logf("Kafka Connect copied %d lines, over the kill of a worker", 2*lines)
}

// startWorker starts a worker of the one cluster and returns where its REST interface is.
func startWorker(t *testing.T, bootstrap string) (worker *process.Process, url string) {
	t.Helper()
	url = "http://" + process.Loopback(process.FreePort(1))
	properties := []string{
		"bootstrap.servers=" + bootstrap, "group.id=workers", "listeners=" + url,
		"config.storage.topic=connect-configs", "offset.storage.topic=connect-offsets", "status.storage.topic=connect-status",
		"key.converter=org.apache.kafka.connect.storage.StringConverter", "value.converter=org.apache.kafka.connect.storage.StringConverter",
		"offset.flush.interval.ms=500", "session.timeout.ms=6000", "heartbeat.interval.ms=1000",
		// How long the cluster waits for a lost worker before it gives its tasks to others; five minutes by default.
		"scheduled.rebalance.max.delay.ms=0",
		"consumer.auto.offset.reset=earliest",
	}
	properties = append(properties, each([]string{"config.storage.replication.factor", "offset.storage.replication.factor",
		"status.storage.replication.factor"}, 1)...)
	worker = startJVM(t, "org.apache.kafka.connect.cli.ConnectDistributed", "Finished starting connectors and tasks", properties)
	return worker, url
}

// put makes a connector. The worker says 409 while its group rebalances.
func put(t *testing.T, url, name string, config map[string]string) {
	t.Helper()
	body, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "creating connector "+name, func() error {
		req, err := http.NewRequest(http.MethodPut, url+"/connectors/"+name+"/config", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		_, err = do(req)
		return err
	})
}

func do(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL, resp.Status, text)
	}
	return text, err
}

// write appends a turn of numbered lines to a file.
func write(t *testing.T, file string, from int) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "line %d\n", from+i)
	}
	if _, err := f.WriteString(b.String()); err != nil {
		t.Fatal(err)
	}
}

// complete sees that each of the first n lines is in a file, once at least: Connect promises no more by default.
func complete(file string, n int) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		seen[strings.TrimSpace(line)] = true
	}
	for i := range n {
		if line := fmt.Sprintf("line %d", i); !seen[line] {
			return fmt.Errorf("%s lacks %q; it has %d lines", file, line, len(seen))
		}
	}
	return nil
}

// status is what Connect says of a connector.
type status struct {
	Connector state   `json:"connector"`
	Tasks     []state `json:"tasks"`
}

type state struct {
	State  string `json:"state"`
	Worker string `json:"worker_id"`
	Trace  string `json:"trace"`
}

func statusOf(url, name string) (s status, err error) {
	req, err := http.NewRequest(http.MethodGet, url+"/connectors/"+name+"/status", nil)
	if err != nil {
		return s, err
	}
	text, err := do(req)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// running sees that a connector and its task run on the worker that is asked.
func running(url, name string) error {
	s, err := statusOf(url, name)
	if err != nil {
		return err
	}
	if len(s.Tasks) != 1 {
		return fmt.Errorf("%s has %d tasks", name, len(s.Tasks))
	}
	for _, x := range append(s.Tasks, s.Connector) {
		if x.State != "RUNNING" || x.Worker != strings.TrimPrefix(url, "http://") {
			return fmt.Errorf("%s is %s on %s: %s", name, x.State, x.Worker, x.Trace)
		}
	}
	return nil
}

// twoWorkers sees that the group has given each worker something to do.
func twoWorkers(url string) error {
	workers := map[string]bool{}
	for _, name := range []string{"source", "sink"} {
		s, err := statusOf(url, name)
		if err != nil {
			return err
		}
		for _, x := range append(s.Tasks, s.Connector) {
			workers[x.Worker] = true
		}
	}
	if len(workers) != 2 {
		return fmt.Errorf("the connectors are on workers %v", workers)
	}
	return nil
}
