package assert

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/rawconn"
)

// framing is about frames, headers and ApiVersions (chapter 1 of the rules).
var framing = []assertion{
	{number: "T001", claim: "frame size -1 closes the connection without a byte", try: negativeFrameSize},
	{number: "T002", claim: "a frame over socket.request.max.bytes closes before its body; the limit itself is fine", try: frameSizeLimit, alone: true},
	{number: "T003", claim: "an unknown API key closes this connection and no other", try: unknownKey},
	{number: "T004", claim: "a version that is not served closes the connection", try: unservedVersion},
	{number: "T005", claim: "ApiVersions in an unknown version is answered in v0 with error 35 and its own row only", try: apiVersionsTooNew},
	{number: "T006", claim: "a response to ApiVersions has no tag buffer in its header, even in v4", try: apiVersionsHeader},
	{number: "T007", claim: "ApiVersions with a malformed software name is error 42, and the connection stays", try: softwareNames},
	{number: "T008", claim: "every version that ApiVersions lists is answered, except Produce 0 to 2", try: everyListedVersion},
	{number: "T009", claim: "a null client id and unknown tags are no reason to refuse", try: nullClientAndTags},
	{number: "T010", claim: "50 pipelined requests are answered in order, a waiting Fetch among them", try: pipeline},
	{number: "T011", claim: "any correlation id comes back", try: correlationIDs},
	{number: "T012", claim: "an array length beyond the frame closes the connection and costs no memory", try: arrayBeyondFrame, alone: true},
	{number: "T013", claim: "an idle connection is closed; on kbroker not while its request waits", try: idleConnection, life: unmarked},
	{number: "T020a", claim: "2^32-1 announced tags cost no CPU", try: endlessTags, alone: true},
	{number: "T020b", claim: "an array that would take 80 times its frame closes the connection, in less than twice the frame", try: arrayAmplification, better: true, alone: true, looks: true},
}

// apiVersions is the simplest valid frame.
func apiVersionsFrame(correlation int32) []byte {
	return rawconn.Frame(rawconn.Header{Key: int16(kmsg.ApiVersions), Correlation: correlation, ClientID: kmsg.StringPtr("assert")}, nil)
}

// sized is a frame's size field and what follows it, whatever its length.
func sized(size int32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(size)), rest...)
}

func negativeFrameSize(c *check) {
	n := c.dial()
	n.send(sized(-1))
	n.wantClosed("frame size -1")
}

// frameSizeLimit is rule 1.1.2. kbroker's limits for APIs other than Produce are lower, so Produce it is.
func frameSizeLimit(c *check) {
	const limit = 104857600
	n := c.dial()
	n.send(sized(limit + 1))
	n.wantClosed("a frame size above the limit")

	n = c.dial()
	n.send(sized(limit, rawconn.Frame(rawconn.Header{Key: int16(kmsg.Produce), Version: 9, Flexible: true}, nil)[4:]...))
	if !n.Quiet(quietFor) {
		c.Error("a frame of exactly the limit was closed or answered before its body came")
	}
}

func unknownKey(c *check) {
	other := c.dial()
	other.wantAlive("connecting")
	n := c.dial()
	n.send(rawconn.Frame(rawconn.Header{Key: 9999}, nil))
	n.wantClosed("API key 9999")
	other.wantAlive("another connection sent API key 9999")
}

func unservedVersion(c *check) {
	for _, r := range []struct{ key, version int16 }{{1, 3}, {0, 2}, {1, 99}, {1, -1}} {
		n := c.dial()
		n.send(rawconn.Frame(rawconn.Header{Key: r.key, Version: r.version, Flexible: r.version > 11}, make([]byte, 40)))
		n.wantClosed(fmt.Sprintf("%s v%d", kmsg.NameForKey(r.key), r.version))
	}
}

func apiVersionsTooNew(c *check) {
	n := c.dial()
	n.send(rawconn.Frame(rawconn.Header{Key: 18, Version: 99, Correlation: 7, Flexible: true}, []byte("\xff\xfegarbage")))
	frame, err := n.Receive(answerLimit)
	if err != nil {
		c.Fatal(err)
	}
	resp := kmsg.NewApiVersionsResponse() // version 0
	if err := resp.ReadFrom(frame[4:]); err != nil {
		c.Fatalf("the answer is no ApiVersions v0: %v: %x", err, frame)
	}
	equal(c, "correlation id", binary.BigEndian.Uint32(frame), 7)
	equal(c, "bytes after a v0 body", len(frame)-4, len(resp.AppendTo(nil)))
	c.wantCode("ApiVersions v99", resp.ErrorCode, kerr.UnsupportedVersion)
	if len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion < 4 {
		c.Errorf("rows %+v, want the one of ApiVersions", resp.ApiKeys)
	}
	n.wantAlive("ApiVersions v99")
}

func apiVersionsHeader(c *check) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 4, "assert", "1"
	n := c.dial()
	start(n, req)
	frame, err := n.Receive(answerLimit)
	if err != nil {
		c.Fatal(err)
	}
	resp := kmsg.NewApiVersionsResponse()
	resp.Version = 4
	if err := resp.ReadFrom(frame[4:]); err != nil {
		c.Fatalf("the body does not follow the correlation id: %v", err)
	}
	c.wantCode("ApiVersions v4", resp.ErrorCode, nil)
	if len(resp.ApiKeys) < 10 {
		c.Errorf("%d rows are too few to be true", len(resp.ApiKeys))
	}
}

func softwareNames(c *check) {
	n := c.dial()
	for _, bad := range []string{"", "a b", "-x", "x-", "ä"} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, bad, "1"
		resp := ask[*kmsg.ApiVersionsResponse](n, req)
		c.wantCode(fmt.Sprintf("software name %q", bad), resp.ErrorCode, kerr.InvalidRequest)
		equal(c, "rows with an error", len(resp.ApiKeys), 0)
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, "a-b.c", "1.0-x"
	c.wantCode("a good name after bad ones", ask[*kmsg.ApiVersionsResponse](n, req).ErrorCode, nil)
}

// everyListedVersion sends each request with kmsg's defaults, which do nothing. Of the keys that Kafka lists, it tries
// those that kbroker serves: some of the others end brokers.
func everyListedVersion(c *check) {
	served := goldenKeys(c)
	equal(c, "lowest version of Produce", c.b.apis[0].MinVersion, 0)
	if c.b.target == kbroker {
		equal(c, "keys listed and keys in the golden table", len(c.b.apis), len(served))
	}
	for _, key := range served {
		row, listed := c.b.apis[key]
		if !listed {
			c.Errorf("%s is not listed", kmsg.NameForKey(key))
		}
		for v := row.MinVersion; listed && v <= row.MaxVersion; v++ {
			n := c.dial()
			req := kmsg.RequestForKey(key)
			req.SetVersion(v)
			switch r := req.(type) {
			case *kmsg.ProduceRequest:
				r.Acks = -1
			case *kmsg.ApiVersionsRequest:
				r.ClientSoftwareName, r.ClientSoftwareVersion = "assert", "1"
			case *kmsg.DescribeACLsRequest: // a filter must not say UNKNOWN
				r.ResourceType, r.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
				r.Operation, r.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
			}
			start(n, req)
			if key == int16(kmsg.Produce) && v < 3 {
				n.wantClosed(name(req)) // rule 1.4.9
			} else {
				answer[kmsg.Response](n, req)
			}
			n.Close()
		}
	}
}

// goldenKeys are the keys that kbroker serves, in the order of its golden API table.
func goldenKeys(c *check) (keys []int16) {
	text, err := os.ReadFile("../../handler/testdata/apis.txt")
	if err != nil {
		c.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var key int16
		if _, err := fmt.Sscan(line, &key); err != nil {
			c.Fatalf("%q: %v", line, err)
		}
		keys = append(keys, key)
	}
	return keys
}

func nullClientAndTags(c *check) {
	tag := []byte{1, 200, 1, 3, 'a', 'b', 'c'} // one tag, number 200, three bytes
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = 12, []kmsg.MetadataRequestTopic{}
	body := req.AppendTo(nil)
	body = append(body[:len(body)-1], tag...) // in place of the body's empty tag buffer
	n := c.dial()
	n.send(rawconn.Frame(rawconn.Header{Key: 3, Version: 12, Correlation: 1, Flexible: true, Tags: tag}, body))
	resp := answer[*kmsg.MetadataResponse](n, req)
	equal(c, "brokers", len(resp.Brokers), 1)
	equal(c, "topics", len(resp.Topics), 0)
}

// pipeline is rule 1.5.1: order is kept by the broker, whatever each request takes. Kafka begins a request of a
// connection when it has answered the one before, so that ListOffsets sees what was produced before it. kbroker does not
// hold up a request for the acknowledgement of another: what has not been acknowledged may not be seen yet.
func pipeline(c *check) {
	t := c.topic()
	n := c.dial()
	kinds := []func(i int) kmsg.Request{
		func(int) kmsg.Request { return kmsg.NewPtrApiVersionsRequest() },
		func(int) kmsg.Request { return newest(c, kmsg.NewPtrMetadataRequest()) },
		func(i int) kmsg.Request { return produceRequest(to{t, 0, records(i + 1).Encode()}) },
		func(int) kmsg.Request { return listOffsetsRequest(c, query{t, 0, latest}) },
		func(int) kmsg.Request { return newest(c, kmsg.NewPtrInitProducerIDRequest()) },
	}
	var sent []kmsg.Request
	var all []byte
	for i := range 50 {
		req := kinds[i%len(kinds)](i)
		if i == 25 {
			req = waiting(fetchRequest(at(t, 1000)), 300*time.Millisecond, 1)
			req.(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset = produced(25)
		}
		sent = append(sent, req)
		all = append(all, rawconn.Frame(rawconn.Header{
			Key: req.Key(), Version: req.GetVersion(), Correlation: int32(1000 + i), ClientID: kmsg.StringPtr("assert"), Flexible: req.IsFlexible(),
		}, req.AppendTo(nil))...)
	}
	n.send(all)
	end := int64(0)
	for i, req := range sent {
		frame, err := n.Receive(answerLimit)
		if err != nil {
			c.Fatalf("answer %d of %d: %v", i, len(sent), err)
		}
		resp := req.ResponseKind()
		resp.SetVersion(req.GetVersion())
		a, err := rawconn.Split(frame, resp)
		if err == nil {
			err = resp.ReadFrom(a.Body)
		}
		if err != nil || a.Correlation != int32(1000+i) {
			c.Fatalf("answer %d has correlation id %d, want %d; as %s: %v", i, a.Correlation, 1000+i, name(req), err)
		}
		switch r := resp.(type) {
		case *kmsg.ProduceResponse:
			equal(c, fmt.Sprintf("base offset of request %d", i), r.Topics[0].Partitions[0].BaseOffset, end)
			end += int64(i + 1)
		case *kmsg.ListOffsetsResponse:
			if offset := r.Topics[0].Partitions[0].Offset; c.b.target == kafka {
				equal(c, fmt.Sprintf("end as of request %d", i), offset, end)
			}
		case *kmsg.FetchResponse:
			c.wantCode("the Fetch", rows(r)[0].ErrorCode, nil)
		}
	}
}

// produced is how many records the first n requests of pipeline append.
func produced(n int) (sum int64) {
	for i := 2; i < n; i += 5 {
		sum += int64(i + 1)
	}
	return sum
}

func correlationIDs(c *check) {
	n := c.dial()
	for _, id := range []int32{math.MinInt32, -1, 0, math.MaxInt32} {
		n.send(apiVersionsFrame(id))
		frame, err := n.Receive(answerLimit)
		if err != nil {
			c.Fatal(err)
		}
		equal(c, "correlation id", int32(binary.BigEndian.Uint32(frame)), id)
	}
}

// arrayBeyondFrame is rule 1.1.6, for both encodings of lengths.
func arrayBeyondFrame(c *check) {
	before := c.memory()
	for range 20 {
		for v, length := range map[int16][]byte{8: {0x7f, 0xff, 0xff, 0xff}, 12: {0xff, 0xff, 0xff, 0xff, 0x07}} {
			n := c.dial()
			n.send(rawconn.Frame(rawconn.Header{Key: 3, Version: v, Flexible: v == 12}, length))
			n.wantClosed(fmt.Sprintf("Metadata v%d with 2^31-1 topics", v))
		}
	}
	if grown := c.memory() - before; c.b.target == kbroker && grown > 16<<20 {
		c.Errorf("the broker grew by %d MiB", grown>>20)
	}
}

// memory is the broker's, 0 if this test did not start it.
func (c *check) memory() int64 {
	if !c.b.ours() {
		return 0
	}
	bytes, err := c.b.memory()
	if err != nil {
		c.Fatal(err)
	}
	return bytes
}

// idleConnection is rule 1.6.2. Kafka closes the connection of a waiting request too, which kbroker never does.
func idleConnection(c *check) {
	t := c.topic()
	c.awaitRestart()
	idle, parked := c.dial(), c.dial()
	idle.wantAlive("connecting")
	wait := waiting(fetchRequest(at(t, 0)), 2*idleLimit*time.Millisecond, 1)
	start(parked, wait)
	idle.wantClosed("connections.max.idle.ms")
	if c.b.target == kafka {
		parked.wantClosed("connections.max.idle.ms of waiting")
		return
	}
	c.wantCode("a Fetch that waits for longer than the idle limit", answer[*kmsg.FetchResponse](parked, wait).ErrorCode, nil)
}

// endlessTags is hazard D.7. Kafka takes such a count for -1 and reads no tags, and so answers the one whose body is
// whole; the assertion is that it is done with the frame. kbroker closes.
func endlessTags(c *check) {
	endless := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	software := []byte{2, 'x', 2, '1'}
	for _, frame := range [][]byte{
		rawconn.Frame(rawconn.Header{Key: 18, Version: 3, Flexible: true, Tags: endless}, nil),
		rawconn.Frame(rawconn.Header{Key: 18, Version: 3, Flexible: true}, append(software, endless...)),
	} {
		for range 20 { // at 28 ns a tag one of them would take two minutes
			n := c.dial()
			n.send(frame)
			_, err := n.Receive(answerLimit)
			if c.b.target == kbroker && !errors.Is(err, rawconn.ErrClosed) || errors.Is(err, rawconn.ErrNoAnswer) {
				c.Fatalf("after 2^32-1 tags: %v, want the connection closed", err)
			}
			n.Close()
		}
	}
}

// arrayAmplification is hazard D.8. Kafka has no such bound: it makes an array of 20 million references.
func arrayAmplification(c *check) {
	const size = 20 << 20
	before := c.memory()
	body := binary.BigEndian.AppendUint32(make([]byte, 0, size), 20_000_000)
	n := c.dial()
	n.send(rawconn.Frame(rawconn.Header{Key: 3, Version: 8}, body[:size]))
	n.wantClosed("Metadata with 20 million topics")
	if grown := c.memory() - before; grown >= 2*size {
		c.Errorf("the broker grew by %d MiB for a frame of %d MiB", grown>>20, size>>20)
	}
}
