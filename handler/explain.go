package handler

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// explain returns the code of an error and the words that a response has for the client, nil where the code says it
// all. What is not a Kafka error is a fault of the broker: it is logged here and nowhere else.
func (d *Deps) explain(c *Context, err error) (code int16, message *string) {
	if err == nil {
		return 0, nil
	}
	var k *kerr.Error
	if !errors.As(err, &k) {
		d.Logger.Error("a request failed", "api", c.Key, "version", c.Version, "client", c.ClientID, "err", err)
		return kerr.UnknownServerError.Code, nil
	}
	if err == error(k) {
		return k.Code, nil
	}
	return k.Code, new(err.Error())
}

// explainFully is explain for responses in which Kafka has an empty text rather than none.
func (d *Deps) explainFully(c *Context, err error) (code int16, message *string) {
	if code, message = d.explain(c, err); message == nil {
		message = new("")
	}
	return code, message
}

// refuse wraps one of Kafka's errors with words for the client.
func refuse(kafka *kerr.Error, format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), kafka}
}

// refusal is one of Kafka's errors with words for the client.
type refusal struct {
	message string
	kafka   *kerr.Error
}

func (r *refusal) Error() string { return r.message }
func (r *refusal) Unwrap() error { return r.kafka }
