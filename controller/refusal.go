package controller

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// refusal is the answer to a command that the cluster's state does not allow: a Kafka error with words for the client.
type refusal struct {
	code *kerr.Error
	text string
}

func refuse(code *kerr.Error, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// Error returns the words alone: protocol responses carry the code beside them.
func (r *refusal) Error() string { return r.text }

// Unwrap returns the Kafka error.
func (r *refusal) Unwrap() error { return r.code }

// kafkaError returns the Kafka error in err, or nil.
func kafkaError(err error) *kerr.Error {
	var k *kerr.Error
	if errors.As(err, &k) {
		return k
	}
	return nil
}

func errUnknownTopic(name string) error {
	return refuse(kerr.UnknownTopicOrPartition, "there is no topic %q", name)
}

func errTooManyRecords() error {
	return refuse(kerr.PolicyViolation, "the request would write more than %d metadata records; send it in parts", maxRecords)
}
