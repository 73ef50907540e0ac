package config

import (
	"net"
	"strconv"
)

// Protocol is what is spoken on a listener, as Kafka numbers it.
type Protocol int16

// The security protocols.
const (
	Plaintext     Protocol = 0
	SSL           Protocol = 1
	SASLPlaintext Protocol = 2
	SASLSSL       Protocol = 3
)

func (p Protocol) String() string {
	switch p {
	case Plaintext:
		return "PLAINTEXT"
	case SSL:
		return "SSL"
	case SASLPlaintext:
		return "SASL_PLAINTEXT"
	case SASLSSL:
		return "SASL_SSL"
	}
	return "protocol " + strconv.Itoa(int(p))
}

// Listener is an address to listen on and what it is called (rule 1.6.6).
type Listener struct {
	Name     string // upper case, such as PLAINTEXT or INTERNAL
	Host     string // empty: every address of the machine
	Port     int32  // 0: any free port
	Protocol Protocol
}

// Addr returns HOST:PORT as net.Listen takes it.
func (l Listener) Addr() string { return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) }

// Endpoint is an address that clients are told to use for the listener called Name.
type Endpoint struct {
	Name string
	Host string
	Port int32
}
