package handler

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/internal/simfs"
)

func initID(txn *string, timeout int32, id int64, epoch int16) *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = txn, timeout, id, epoch
	return req
}

func (cl *cluster) initID(version int16, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	cl.t.Helper()
	return cl.ask(version, req).(*kmsg.InitProducerIDResponse)
}

// T056: rule 4.5.
func TestT056InitProducerID(t *testing.T) {
	cl := newCluster(t)
	seen := map[int64]bool{}
	for v := int16(0); v <= 5; v++ {
		for _, req := range []*kmsg.InitProducerIDRequest{
			initID(nil, 0, -1, -1),       // the timeout is for transactions
			initID(nil, 60000, 5, 7),     // a fresh id all the same
			initID(nil, 60000, -5, -100), // both are given, after a fashion
		} {
			resp := cl.initID(v, req)
			if resp.ErrorCode != 0 || resp.ProducerEpoch != 0 || seen[resp.ProducerID] {
				t.Errorf("v%d: %+v", v, resp)
			}
			seen[resp.ProducerID] = true
		}
	}
	for _, test := range []struct {
		req  *kmsg.InitProducerIDRequest
		want *kerr.Error
	}{
		{initID(new(""), 60000, -1, -1), kerr.InvalidRequest},
		{initID(nil, 60000, 5, -1), kerr.InvalidRequest},
		{initID(nil, 60000, -1, 5), kerr.InvalidRequest},
		{initID(new("x"), 60000, -1, 5), kerr.InvalidRequest},
		{initID(new("x"), 0, -1, -1), kerr.InvalidTransactionTimeout},
		{initID(new("x"), 60000, -1, -1), kerr.CoordinatorNotAvailable},
	} {
		resp := cl.initID(5, test.req)
		checkCode(t, text(test.req.TransactionalID), resp.ErrorCode, test.want)
		if resp.ProducerID != -1 || resp.ProducerEpoch != -1 { // rule 4.5.8
			t.Errorf("%+v", resp)
		}
	}
}

// T057 and rule 4.5.6: ids never come twice, however many blocks are used, and whatever happens to the broker.
func TestT057ProducerIDsNeverRepeat(t *testing.T) {
	disk := simfs.New()
	seen := map[int64]bool{}
	var mu sync.Mutex // guards seen
	for life := range uint64(4) {
		cl := restartCluster(t, disk)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 700 {
					resp := cl.initID(5, initID(nil, 0, -1, -1))
					mu.Lock()
					if resp.ErrorCode != 0 || seen[resp.ProducerID] {
						t.Errorf("error %d, id %d, seen %t", resp.ErrorCode, resp.ProducerID, seen[resp.ProducerID])
					}
					seen[resp.ProducerID] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		disk = disk.Crash(life)
	}
}

// Rule 4.5.5.
func TestInitProducerIDAuthorization(t *testing.T) {
	cl := newCluster(t)
	cl.create(topic("t", 1, 1))
	user := func(name string) acl.Principal { return acl.Principal{Type: "User", Name: name} }
	g := grants{}
	g.grant(user("cluster"), acl.IdempotentWrite, acl.Cluster, acl.ClusterName)
	g.grant(user("topic"), acl.Write, acl.Topic, "t")
	g.grant(user("txn"), acl.Write, acl.TransactionalID, "x")
	cl.deps.Authorizer = g
	for _, test := range []struct {
		who  string
		txn  *string
		want *kerr.Error
	}{
		{"cluster", nil, nil}, {"topic", nil, nil}, {"txn", nil, kerr.ClusterAuthorizationFailed}, {"", nil, kerr.ClusterAuthorizationFailed},
		{"cluster", new("x"), kerr.TransactionalIDAuthorizationFailed}, {"txn", new("x"), kerr.CoordinatorNotAvailable},
		{"txn", new("y"), kerr.TransactionalIDAuthorizationFailed},
	} {
		resp := cl.askAs(user(test.who), 5, initID(test.txn, 60000, -1, -1)).(*kmsg.InitProducerIDResponse)
		checkCode(t, test.who+" "+text(test.txn), resp.ErrorCode, test.want)
	}
}

// Rule 4.5.6: without the controller the client is told to come again.
func TestInitProducerIDWithoutController(t *testing.T) {
	cl := newCluster(t)
	if err := cl.controller.Close(); err != nil {
		t.Fatal(err)
	}
	checkCode(t, "", cl.initID(5, initID(nil, 0, -1, -1)).ErrorCode, kerr.CoordinatorLoadInProgress)
}
