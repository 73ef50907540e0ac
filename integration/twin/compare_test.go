package twin

import (
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/integration/batch"
)

// metadata is an answer with one topic of the given name, id and error.
func metadata(port int32, name string, id byte, code int16) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 12
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, "h", port
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID, topic.ErrorCode = &name, [16]byte{id}, code
	resp.Brokers = append(resp.Brokers, b)
	resp.Topics = append(resp.Topics, topic)
	return resp
}

func entryOf(resp kmsg.Response) *entry {
	return &entry{at: at{Line: 3, Source: "Metadata"}, what: "Metadata v12", key: resp.Key(), version: 12, resp: resp}
}

func rulesOf(t *testing.T, src string) *Rules {
	t.Helper()
	r, err := ParseRules(src)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCompare(t *testing.T) {
	rules := rulesOf(t, `
# a comment
Metadata Brokers[].Port set each has its own
* *.TopicID role each has its own
`)
	run := func(l, r *entry, rv env) string {
		p := pair{
			left: Broker{Name: "kafka"}, right: Broker{Name: "kbroker"}, masks: rules.Masks,
			leftT:  transcript{entries: []*entry{l}, vars: env{"t.id": [16]byte{1}}},
			rightT: transcript{entries: []*entry{r}, vars: rv},
		}
		return p.compare()
	}
	same := env{"t.id": [16]byte{2}}
	if got := run(entryOf(metadata(1, "a", 1, 0)), entryOf(metadata(2, "a", 2, 0)), same); got != "" {
		t.Errorf("equal but for masked fields: %s", got)
	}
	if got := run(entryOf(metadata(1, "a", 1, 0)), entryOf(metadata(2, "b", 2, 0)), same); !strings.Contains(got, "- Topics[0].Topic: \"a\"\n+ Topics[0].Topic: \"b\"") {
		t.Errorf("another name: %s", got)
	}
	if got := run(entryOf(metadata(1, "a", 1, 0)), entryOf(metadata(2, "a", 7, 0)), same); !strings.Contains(got, "- Topics[0].TopicID: $t.id\n+ Topics[0].TopicID: (set)") {
		t.Errorf("an id that is not the captured one: %s", got)
	}
	if got := run(entryOf(metadata(1, "a", 1, 0)), entryOf(metadata(0, "a", 2, 0)), same); !strings.Contains(got, "+ Brokers[0].Port: 0") {
		t.Errorf("a masked field that is not set: %s", got)
	}
	if got := run(entryOf(metadata(1, "a", 1, 3)), entryOf(metadata(2, "a", 2, 3)), same); !strings.Contains(got, "the script is wrong about kafka") {
		t.Errorf("an error that the script does not expect: %s", got)
	}
	closed := &entry{key: 3, version: 12, outcome: "closed"}
	if got := run(entryOf(metadata(1, "a", 1, 0)), closed, same); !strings.Contains(got, "+ closed") {
		t.Errorf("a closed connection: %s", got)
	}
}

func TestDeliberateDifference(t *testing.T) {
	l := entryOf(metadata(1, "a", 1, -1))
	l.expect = parseOne(t, `Produce => UNKNOWN_SERVER_ERROR differs => INVALID_REQUEST "why"`).expect
	p := pair{right: Broker{Name: "kbroker"}, leftT: transcript{entries: []*entry{l}}}
	for code, want := range map[int16]string{42: "", 3: "expected is INVALID_REQUEST, but the answer is UNKNOWN_TOPIC_OR_PARTITION"} {
		p.deliberate = 0
		p.rightT.entries = []*entry{entryOf(metadata(1, "a", 1, code))}
		if got := p.compare(); want == "" && (got != "" || p.deliberate != 1) || !strings.Contains(got, want) {
			t.Errorf("code %d: %q, %d deliberate; want %q", code, got, p.deliberate, want)
		}
	}
}

func TestRenderRows(t *testing.T) {
	resp := metadata(1, "case-v1-b", 0, 0)
	for _, name := range []string{"other", "case-v1-a"} {
		row := kmsg.NewMetadataResponseTopic()
		row.Topic = &name
		resp.Topics = append(resp.Topics, row)
	}
	names := func(kind string) []string {
		rules := rulesOf(t, "Metadata Topics "+kind+" for the test")
		var out []string
		for _, line := range entryOf(resp).render(rules.Masks, env{"prefix": "case-v1"}, nil) {
			if strings.Contains(line, ".Topic:") {
				out = append(out, line)
			}
		}
		return out
	}
	if got, want := names("sort"), []string{`Topics[*].Topic: "case-v1-a"`, `Topics[*].Topic: "case-v1-b"`, `Topics[*].Topic: "other"`}; !reflect.DeepEqual(got, want) {
		t.Errorf("sorted: %q", got)
	}
	if got, want := names("own"), []string{`Topics[*].Topic: "case-v1-a"`, `Topics[*].Topic: "case-v1-b"`}; !reflect.DeepEqual(got, want) {
		t.Errorf("own: %q", got)
	}
}

func TestRenderRecords(t *testing.T) {
	resp := kmsg.NewPtrFetchResponse()
	part := kmsg.NewFetchResponseTopicPartition()
	one := batch.New(7, batch.KV("k", "v")).Encode()
	part.RecordBatches = append(one, one[:20]...)
	row := kmsg.NewFetchResponseTopic()
	row.Partitions = append(row.Partitions, part)
	resp.Topics = append(resp.Topics, row)
	text := strings.Join(entryOf(resp).render(nil, env{}, nil), "\n")
	for _, want := range []string{
		"Topics[0].Partitions[0].RecordBatches: 90 bytes\n",
		"RecordBatches[0].BaseTimestamp: 7\n",
		`RecordBatches[0].Records[0]: offset +0 timestamp +0 "k": "v"`,
		"RecordBatches: and 20 bytes of a cut batch",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestLookup(t *testing.T) {
	resp := metadata(9092, "a", 1, 3)
	for path, want := range map[string]any{
		"Brokers[0].Port": int64(9092), "Topics[0].Topic": "a", "Topics[0].ErrorCode": int64(3), "ClusterID": nil, "Topics[0].TopicID": [16]byte{1},
	} {
		if got, err := lookup(resp, path); err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", path, got, err, want)
		}
	}
	for _, path := range []string{"Nothing", "Topics[1].Topic", "Topics[0].Nothing", "Brokers[x].Port"} {
		if got, err := lookup(resp, path); err == nil {
			t.Errorf("%s is %v, want an error", path, got)
		}
	}
}

func TestCoverage(t *testing.T) {
	cov := Coverage{map[pairKey]bool{}, map[pairKey]bool{}}
	bad := entryOf(metadata(1, "a", 1, 3))
	bad.version = 11
	cov.add(transcript{entries: []*entry{entryOf(metadata(1, "a", 1, 0)), bad, {key: 3, version: 12, outcome: "closed"}}})
	rules := rulesOf(t, "exempt Metadata v10-11 valid no reason\nexempt Metadata v10 invalid no reason")
	if got, want := cov.missing(map[int16]Versions{3: {10, 13}}, rules), []string{"Metadata v13 has no valid case", "Metadata v13 has no invalid case"}; !reflect.DeepEqual(got, want) {
		t.Errorf("missing: %q, want %q", got, want)
	}
}

func TestRuleErrors(t *testing.T) {
	for _, src := range []string{"Metadata Topics set", "Foo Topics set why", "Metadata Topics hide why", "exempt Foo v1 valid why", "exempt Metadata x valid why"} {
		if _, err := ParseRules(src); err == nil {
			t.Errorf("%q is accepted", src)
		}
	}
}

func TestDiff(t *testing.T) {
	a := strings.Split("1 2 3 4 5 6 7 8", " ")
	b := strings.Split("1 2 3 x 5 6 7 8 9", " ")
	if got, want := diff(a, b), "  3\n- 4\n+ x\n  5\n  8\n+ 9"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
