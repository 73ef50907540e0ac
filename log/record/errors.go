package record

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Error is why a produced batch is refused. It unwraps to its Kafka error, so errors.Is(err, kerr.InvalidRecord) works.
type Error struct {
	// Err is the code of the partition's row in the produce response.
	Err *kerr.Error
	// Message says what is wrong with the batch. Kafka sends a text (the row's error_message, version 8 and later) only
	// when Records is not empty, and for bytes that CheckRequest finds corrupt.
	Message string
	// Records lists the offending records in order (record_errors, version 8 and later; rule 2.4.11), at most
	// MaxRecordErrors of them. It is empty when the batch as a whole is wrong.
	Records []RecordError
	// WithLogStart says that Kafka answers this error with the log's real start offset, because it was found inside the
	// log; the other errors carry -1 (rule 6.1.9).
	WithLogStart bool
}

// RecordError is one record that made its batch be refused.
type RecordError struct {
	// Index is the record's position in the batch, from 0.
	Index   int32
	Message string
}

// MaxRecordErrors bounds Error.Records. A batch of 1 MiB can hold 150,000 bad records, and listing each would answer it
// with eight times its size; a client that prints 10,000 of them has seen enough.
const MaxRecordErrors = 10_000

// Error returns the code's name and the message.
func (e *Error) Error() string { return e.Err.Message + ": " + e.Message }

// Unwrap returns the Kafka error.
func (e *Error) Unwrap() error { return e.Err }

// requestError is an error of rule 2.4.1, found in the request alone.
func requestError(code *kerr.Error, format string, args ...any) *Error {
	return &Error{Err: code, Message: fmt.Sprintf(format, args...)}
}

// invalid is INVALID_RECORD for the batch as a whole, found inside the log.
func invalid(format string, args ...any) *Error {
	return &Error{Err: kerr.InvalidRecord, Message: fmt.Sprintf(format, args...), WithLogStart: true}
}

// tooLarge is MESSAGE_TOO_LARGE, to which producers react by splitting the batch (rule 2.4.3).
func tooLarge(format string, args ...any) *Error {
	return &Error{Err: kerr.MessageTooLarge, Message: fmt.Sprintf(format, args...)}
}
