package handler

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/metadata"
)

// TestTransactionsAreSaidToBeMissing: clients wait for a coordinator that never comes, and only the broker's log can tell
// why. It does so once.
func TestTransactionsAreSaidToBeMissing(t *testing.T) {
	var said bytes.Buffer
	d := &Deps{Metadata: new(metadata.Cell), Authorizer: acl.AllowAll{}, Logger: slog.New(slog.NewTextHandler(&said, nil))}
	api := findCoordinatorAPI(d)
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = transactionCoordinator, []string{"a", "b"}
	for range 3 {
		resp := api.Handle(&Context{Session: &Session{}, Version: 4}, req).(*kmsg.FindCoordinatorResponse)
		for _, row := range resp.Coordinators {
			checkCode(t, row.Key, row.ErrorCode, kerr.CoordinatorNotAvailable)
		}
	}
	if n := strings.Count(said.String(), "transactional id"); n != 1 {
		t.Errorf("said %d times: %s", n, said.String())
	}
}
