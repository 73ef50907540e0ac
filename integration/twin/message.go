package twin

import (
	"fmt"

	"github.com/kbroker/kbroker/integration/rawconn"
)

// message is a request on its way, after encoding and before framing, where a script may damage it.
type message struct {
	header rawconn.Header
	body   []byte
	as     int16
}

func (m *message) apply(e env, options []member) error {
	for _, o := range options {
		if err := m.option(e, o); err != nil {
			return fmt.Errorf("%s: %w", o.key, err)
		}
	}
	return nil
}

func (m *message) option(e env, o member) error {
	switch o.key {
	case "client":
		if _, isNull := o.value.(null); isNull {
			m.header.ClientID = nil
			return nil
		}
		b, err := e.bytes(o.value)
		id := string(b)
		m.header.ClientID = &id
		return err
	case "as":
		l, _ := o.value.(literal)
		_, err := fmt.Sscanf(string(l), "v%d", &m.as)
		return err
	case "tag", "body", "trailing":
		b, err := e.bytes(o.value)
		switch o.key {
		case "tag":
			m.header.Tags = b
		case "body":
			m.body = b
		default:
			m.body = append(m.body, b...)
		}
		return err
	case "corr", "cut":
		n, err := e.integer(o.value)
		if o.key == "corr" {
			m.header.Correlation = int32(n)
		} else {
			m.body = m.body[:max(0, len(m.body)-int(n))]
		}
		return err
	}
	return fmt.Errorf("there is no such option")
}
