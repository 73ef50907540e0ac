package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestProduceStopsAtTheFirstFailure: what is under way when a record fails is not waited for, however long it would be
// tried, and the places of those that were written are printed.
func TestProduceStopsAtTheFirstFailure(t *testing.T) {
	n := startNode(t, "-o", "auto.create.topics.enable=false")
	if out := n.shell.run("kbroker topic create there"); out != "created there\n" {
		t.Fatal(out)
	}
	var out bytes.Buffer
	p := &production{client: n.client(t, kgo.UnknownTopicRetries(-1), kgo.RecordRetries(math.MaxInt32)), json: true, out: bufio.NewWriter(&out)}
	records := []*kgo.Record{
		{Topic: "there", Value: []byte("v")},
		{Topic: "missing", Value: []byte("v")}, // is tried for ever
		{Topic: "there", Value: make([]byte, 2<<20)},
	}
	err := p.run(t.Context(), func() (*kgo.Record, error) {
		if len(records) == 0 {
			return nil, io.EOF
		}
		r := records[0]
		if records = records[1:]; len(records) == 1 { // the first one is written
			return r, p.client.ProduceSync(t.Context(), &kgo.Record{Topic: "there"}).FirstErr()
		}
		return r, nil
	})
	if !errors.Is(err, kerr.MessageTooLarge) || !strings.HasPrefix(out.String(), `{"topic":"there"`) {
		t.Errorf("%v, after %q", err, out.String())
	}
	if code := n.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("the node ends with %d", code)
	}
}
