package handler

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

func testConfig(t *testing.T) *config.Store {
	t.Helper()
	settings, err := config.Load(config.Sources{Options: []string{"node.id=1", "log.dirs=/data"}})
	if err != nil {
		t.Fatal(err)
	}
	store, err := config.NewStore(settings)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// publishConfigs does what the broker does when the metadata has changed.
func (cl *cluster) publishConfigs() {
	cl.t.Helper()
	image := cl.deps.Metadata.Load()
	if _, err := cl.deps.Config.Update(image.Config(metadata.ConfigResource{Type: metadata.ConfigBroker, Name: "1"}),
		image.Config(metadata.ConfigResource{Type: metadata.ConfigBroker})); err != nil {
		cl.t.Fatal(err)
	}
}

// errorName is an error's name, and NONE for none.
func errorName(c int16) string {
	if c == 0 {
		return "NONE"
	}
	return kerr.TypedErrorForCode(c).Message
}

// alter sends one resource with "NAME OP VALUE" operations, separated by semicolons, and returns the error's name. The
// operation REPLACE is a setting of AlterConfigs.
func (cl *cluster) alter(kind int8, name, ops string, validateOnly bool) string {
	cl.t.Helper()
	if ops == "" || strings.Contains(ops, " REPLACE ") {
		return cl.replace(kind, name, ops, validateOnly)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	req.Resources = append(req.Resources, incremental(kind, name, ops))
	resp := cl.ask(1, req).(*kmsg.IncrementalAlterConfigsResponse)
	cl.publishConfigs()
	return cl.alterOutcome(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
}

func (cl *cluster) alterOutcome(c int16, message *string) string {
	cl.t.Helper()
	if (c == 0) != (message == nil) && errorName(c) != "TOPIC_AUTHORIZATION_FAILED" {
		cl.t.Errorf("error %d has the message %s", c, text(message))
	}
	return errorName(c)
}

func incremental(kind int8, name, ops string) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(kind), name
	codes := map[string]int8{"SET": 0, "DELETE": 1, "APPEND": 2, "SUBTRACT": 3, "OP7": 7}
	for _, op := range strings.Split(ops, "; ") {
		f := strings.SplitN(op, " ", 3)
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op = f[0], kmsg.IncrementalAlterConfigOp(codes[f[1]])
		if len(f) == 3 && f[2] != "<nil>" {
			c.Value = &f[2]
		}
		r.Configs = append(r.Configs, c)
	}
	return r
}

func (cl *cluster) replace(kind int8, name, ops string, validateOnly bool) string {
	cl.t.Helper()
	req := kmsg.NewPtrAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(kind), name
	for _, op := range strings.Split(ops, "; ") {
		if f := strings.SplitN(op, " ", 3); len(f) == 3 {
			c := kmsg.NewAlterConfigsRequestResourceConfig()
			if c.Name = f[0]; f[2] != "<nil>" {
				c.Value = &f[2]
			}
			r.Configs = append(r.Configs, c)
		}
	}
	req.Resources = append(req.Resources, r)
	resp := cl.ask(2, req).(*kmsg.AlterConfigsResponse)
	cl.publishConfigs()
	return cl.alterOutcome(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
}

// describe asks for keys of a resource with synonyms and returns "NAME=VALUE SOURCE [NAME=VALUE SOURCE]…" for each, or
// the error's name.
func (cl *cluster) describe(version int16, kind int8, name string, keys ...string) string {
	cl.t.Helper()
	row := cl.describeRow(version, kind, name, keys...)
	if row.ErrorCode != 0 {
		return errorName(row.ErrorCode)
	}
	var out []string
	for _, e := range row.Configs {
		s := fmt.Sprintf("%s=%s %d", e.Name, text(e.Value), e.Source)
		for _, y := range e.ConfigSynonyms {
			s += fmt.Sprintf(" [%s=%s %d]", y.Name, text(y.Value), y.Source)
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func (cl *cluster) describeRow(version int16, kind int8, name string, keys ...string) kmsg.DescribeConfigsResponseResource {
	cl.t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceType(kind), name, keys
	req.Resources = append(req.Resources, r)
	resp := cl.ask(version, req).(*kmsg.DescribeConfigsResponse)
	row := resp.Resources[0]
	if row.ErrorMessage == nil || row.ResourceType != r.ResourceType || row.ResourceName != name {
		cl.t.Errorf("the row is of %d %q, with the message %s", row.ResourceType, row.ResourceName, text(row.ErrorMessage))
	}
	return row
}

// T108 and rules 7.7.6 to 7.7.8: the errors are those of Kafka 4.3.1, but for an unknown operation, which fails there
// with UNKNOWN_SERVER_ERROR, and for one resource twice in AlterConfigs, which closes the connection there.
func TestT108AlterConfigs(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("t", 1, 1))
	for _, c := range []struct {
		kind            int8
		name, ops, want string
	}{
		{2, "t", "cleanup.policy APPEND compact", "NONE"},
		{2, "t", "cleanup.policy APPEND compact", "NONE"},
		{2, "t", "retention.ms APPEND 1", "INVALID_CONFIG"},
		{2, "t", "retention.ms SET <nil>", "INVALID_REQUEST"},
		{2, "t", "retention.ms OP7 1", "INVALID_REQUEST"},
		{2, "t", "retention.ms SET 1; retention.ms SET 2", "INVALID_REQUEST"},
		{2, "t", "retention.ms SET 1; segment.ms SET x", "INVALID_CONFIG"},
		{2, "t", "bogus SET 1", "INVALID_CONFIG"},
		{2, "t", "bogus DELETE", "NONE"},
		{2, "none", "retention.ms SET 1", "UNKNOWN_TOPIC_OR_PARTITION"},
		{2, "a b", "retention.ms SET 1", "INVALID_TOPIC_EXCEPTION"},
		{2, "", "retention.ms SET 1", "INVALID_REQUEST"},
		{2, "none", "retention.ms REPLACE 1", "UNKNOWN_TOPIC_OR_PARTITION"},
		{2, "t", "retention.ms REPLACE <nil>", "INVALID_REQUEST"},
		{2, "t", "bogus REPLACE 1", "INVALID_CONFIG"},
		{4, "1", "log.retention.ms SET 1234567", "NONE"},
		{4, "", "log.retention.ms SET 7654321", "NONE"},
		{4, "1", "log.retention.ms SET x", "INVALID_REQUEST"},
		{4, "1", "log.retention.hours SET 1", "INVALID_REQUEST"},
		{4, "2", "log.retention.ms SET 1", "INVALID_REQUEST"},
		{4, "x", "log.retention.ms SET 1", "INVALID_REQUEST"},
		{8, "1", "root SET DEBUG", "NONE"},
		{8, "1", "root SET LOUD", "INVALID_CONFIG"},
		{8, "1", "root DELETE", "INVALID_REQUEST"},
		{8, "1", "none SET DEBUG", "INVALID_CONFIG"},
		{8, "", "root SET DEBUG", "INVALID_REQUEST"},
		{8, "2", "root SET DEBUG", "INVALID_REQUEST"},
		{8, "1", "root REPLACE DEBUG", "INVALID_REQUEST"},
		{16, "m", "interval.ms SET 50000", "NONE"},
		{16, "m", "interval.ms SET 5", "INVALID_REQUEST"},
		{16, "", "interval.ms SET 50000", "INVALID_REQUEST"},
		{32, "g", "consumer.session.timeout.ms SET 50000", "NONE"},
		{32, "g", "consumer.session.timeout.ms SET 1", "INVALID_CONFIG"},
		{32, "", "consumer.session.timeout.ms SET 50000", "INVALID_REQUEST"},
		{0, "x", "a SET b", "INVALID_REQUEST"},
		{5, "x", "a REPLACE b", "INVALID_REQUEST"},
	} {
		if got := cl.alter(c.kind, c.name, c.ops, false); got != c.want {
			t.Errorf("%d %q %s: %s, want %s", c.kind, c.name, c.ops, got, c.want)
		}
	}
	for _, c := range []struct {
		kind       int8
		name, key  string
		want       string
		ops, after string
	}{
		{2, "t", "cleanup.policy", "cleanup.policy=delete,compact 1 [cleanup.policy=delete,compact 1] [log.cleanup.policy=delete 5]",
			"cleanup.policy DELETE", "cleanup.policy=delete 5 [log.cleanup.policy=delete 5]"},
		{4, "1", "log.retention.ms", "log.retention.ms=1234567 2 [log.retention.ms=1234567 2] [log.retention.ms=7654321 3] [log.retention.hours=168 5]",
			"", "log.retention.ms=7654321 3 [log.retention.ms=7654321 3] [log.retention.hours=168 5]"},
		{4, "", "log.retention.ms", "log.retention.ms=7654321 3 [log.retention.ms=7654321 3]", "num.io.threads REPLACE 9", ""},
		{8, "1", "wire", "wire=DEBUG 6", "root SET INFO", "wire=INFO 6"},
		{16, "m", "interval.ms", "interval.ms=50000 7 [interval.ms=50000 7]", "", "interval.ms=300000 5"},
		{32, "g", "consumer.session.timeout.ms", "consumer.session.timeout.ms=50000 8 [consumer.session.timeout.ms=50000 8] [group.consumer.session.timeout.ms=45000 5]",
			"", "consumer.session.timeout.ms=45000 5 [group.consumer.session.timeout.ms=45000 5]"},
	} {
		if got := cl.describe(4, c.kind, c.name, c.key); got != c.want {
			t.Errorf("%d %q has %s, want %s", c.kind, c.name, got, c.want)
		}
		if got := cl.alter(c.kind, c.name, c.ops, false); got != "NONE" {
			t.Errorf("%d %q %s: %s", c.kind, c.name, c.ops, got)
		}
		if got := cl.describe(4, c.kind, c.name, c.key); got != c.after {
			t.Errorf("%d %q has %s, want %s", c.kind, c.name, got, c.after)
		}
	}
}

// One resource twice fails both times, and leaves others alone (rule 7.7.6).
func TestAlterConfigsTwice(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("t", 1, 1), topic("u", 1, 1))
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, name := range []string{"t", "u", "t"} {
		req.Resources = append(req.Resources, incremental(2, name, "retention.ms SET 5"))
	}
	var got []string
	for _, r := range cl.ask(0, req).(*kmsg.IncrementalAlterConfigsResponse).Resources {
		got = append(got, r.ResourceName+" "+errorName(r.ErrorCode))
	}
	if want := []string{"t INVALID_REQUEST", "u NONE", "t INVALID_REQUEST"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// validate_only checks everything and changes nothing (rule 7.7.8).
func TestAlterConfigsValidateOnly(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("t", 1, 1))
	for _, c := range []struct {
		kind            int8
		name, ops, want string
	}{
		{2, "t", "retention.ms SET 5", "NONE"},
		{2, "t", "retention.ms REPLACE 5", "NONE"},
		{2, "t", "retention.ms SET x", "INVALID_CONFIG"},
		{2, "none", "retention.ms SET 5", "UNKNOWN_TOPIC_OR_PARTITION"},
		{4, "", "message.max.bytes SET 5", "NONE"},
		{8, "1", "root SET DEBUG", "NONE"},
	} {
		if got := cl.alter(c.kind, c.name, c.ops, true); got != c.want {
			t.Errorf("%d %q %s: %s, want %s", c.kind, c.name, c.ops, got, c.want)
		}
	}
	if got := cl.describe(4, 2, "t", "retention.ms") + cl.describe(4, 4, "") + cl.describe(4, 8, "1", "root"); got != "retention.ms=604800000 5root=INFO 6" {
		t.Errorf("it left %s", got)
	}
}

// T109 and rules 7.7.1 to 7.7.5.
func TestT109DescribeConfigs(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("t", 1, 1))
	for _, c := range []struct {
		kind       int8
		name, want string
	}{
		{2, "none", "UNKNOWN_TOPIC_OR_PARTITION"}, {2, "a b", "INVALID_TOPIC_EXCEPTION"}, {2, "", "INVALID_TOPIC_EXCEPTION"},
		{4, "2", "INVALID_REQUEST"}, {4, "x", "INVALID_REQUEST"}, {4, "", ""},
		{8, "2", "INVALID_REQUEST"}, {8, "", "INVALID_REQUEST"}, {8, "1", "root=INFO 6; wire=INFO 6"},
		{16, "", "INVALID_REQUEST"}, {16, "m", "interval.ms=300000 5; match= 5; metrics= 5"},
		{32, "", "INVALID_REQUEST"}, {0, "x", "INVALID_REQUEST"}, {1, "x", "INVALID_REQUEST"}, {5, "x", "INVALID_REQUEST"},
	} {
		if got := cl.describe(4, c.kind, c.name); got != c.want {
			t.Errorf("%d %q: %s, want %s", c.kind, c.name, got, c.want)
		}
	}
	if got, want := cl.describe(1, 2, "t", "retention.ms", "nope"), "retention.ms=604800000 5"; got != want {
		t.Errorf("with defaults: %s, want %s", got, want)
	}
	cl.alter(4, "", "log.retention.ms SET 3000", false)
	cl.alter(4, "1", "log.retention.ms SET 2000", false)
	cl.alter(2, "t", "retention.ms SET 1000", false)
	if got, want := cl.describe(4, 2, "t", "retention.ms"),
		"retention.ms=1000 1 [retention.ms=1000 1] [log.retention.ms=2000 2] [log.retention.ms=3000 3] [log.retention.hours=168 5]"; got != want {
		t.Errorf("the synonyms are %s, want %s", got, want)
	}
	all := cl.describeRow(4, 4, "1").Configs
	if all[len(all)-1].Name != "kbroker.http.listeners" || len(all) != 344 {
		t.Errorf("the broker has %d settings, the last is %s", len(all), all[len(all)-1].Name)
	}
	for _, e := range all {
		if e.Documentation == nil || e.ConfigType == 0 {
			t.Errorf("%s has type %d and documentation %s", e.Name, e.ConfigType, text(e.Documentation))
		}
	}
}

// Appendix C: who may not, is told so, whether or not the resource exists.
func TestConfigsAuthorization(t *testing.T) {
	cl := newCluster(t)
	nobody := acl.Principal{Type: "User", Name: "nobody"}
	cl.deps.Authorizer = grants{}
	for kind, want := range map[int8]string{
		2: "TOPIC_AUTHORIZATION_FAILED", 4: "CLUSTER_AUTHORIZATION_FAILED", 8: "CLUSTER_AUTHORIZATION_FAILED",
		16: "CLUSTER_AUTHORIZATION_FAILED", 32: "GROUP_AUTHORIZATION_FAILED",
	} {
		describe := kmsg.NewPtrDescribeConfigsRequest()
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(kind), "1"
		describe.Resources = append(describe.Resources, r)
		alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
		alter.Resources = append(alter.Resources, incremental(kind, "1", "root SET DEBUG"))
		got := []string{
			errorName(cl.askAs(nobody, 4, describe).(*kmsg.DescribeConfigsResponse).Resources[0].ErrorCode),
			errorName(cl.askAs(nobody, 1, alter).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode),
		}
		if got[0] != want || got[1] != want {
			t.Errorf("type %d: %v, want %s", kind, got, want)
		}
	}
	g := grants{}
	g.grant(nobody, acl.DescribeConfigs, acl.Cluster, acl.ClusterName)
	cl.deps.Authorizer = g
	if err := cl.deps.authorizeConfigs(&Context{Session: &Session{Principal: nobody}}, acl.DescribeConfigs,
		metadata.ConfigResource{Type: metadata.ConfigBroker}); err != nil {
		t.Errorf("with DESCRIBE_CONFIGS on the cluster: %v", err)
	}
}

// While the controller knows eligible leader replicas, min.insync.replicas is one for all brokers (seen on Kafka 4.3.1).
func TestMinInsyncReplicasOfAllBrokers(t *testing.T) {
	on, err := new(metadata.Image).Apply(1, &metadata.FeatureLevelRecord{Name: "eligible.leader.replicas.version", Level: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		broker string
		op     config.Op
		want   string
	}{{"1", config.Set, "INVALID_CONFIG"}, {"1", config.Delete, "INVALID_CONFIG"}, {"", config.Delete, "INVALID_CONFIG"}, {"", config.Set, "NONE"}} {
		err := checkEligibleReplicas(on, c.broker, []config.Alteration{{Name: "min.insync.replicas", Op: c.op}})
		d := Deps{Logger: slog.New(slog.DiscardHandler)}
		got, _ := d.explain(&Context{}, err)
		if errorName(got) != c.want {
			t.Errorf("broker %q, %s: %s, want %s", c.broker, c.op, errorName(got), c.want)
		}
	}
}
