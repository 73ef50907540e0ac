package coordinator

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// ClientError is what a client of a coordinator is told of an error of the partition (rule 8.4.8): to come back, or to
// look for another coordinator. Errors about the request itself are left as they are.
func ClientError(err error) error {
	var k *kerr.Error
	if !errors.As(err, &k) {
		return err
	}
	switch k {
	case kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut:
		return kerr.CoordinatorNotAvailable
	case kerr.NotLeaderForPartition, kerr.FencedLeaderEpoch, kerr.KafkaStorageError:
		return kerr.NotCoordinator
	}
	return err
}

// bystanderError is what those are told who had no part in the failure that costs them their machine.
func bystanderError(cause error) error {
	err := ClientError(cause)
	if err == kerr.CoordinatorNotAvailable {
		return err
	}
	return kerr.NotCoordinator
}

// TooLarge reports whether the records of a decision were refused because of their size.
func TooLarge(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge)
}
