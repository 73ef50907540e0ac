package clientsuites

import (
	"io"
	"net"
	"testing"

	"github.com/kbroker/kbroker/integration/process"
)

// front is an address that stays while the broker behind it is killed and started again. It passes on what connections send;
// without a broker it closes them, as a load balancer would. kgo tries again then, but not always when a connection is
// refused: a member whose coordinator cannot be looked up for a moment tells its application, and the tests take that for
// a failure. On a busy machine a start takes long enough.
type front struct {
	listener net.Listener
	broker   string // its address
}

// startFront listens on a port until the end of the test.
func startFront(t *testing.T, port int, broker string) {
	t.Helper()
	l, err := net.Listen("tcp", process.Loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &front{l, broker}
	go f.run()
}

// run ends when the listener is closed.
func (f *front) run() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		go f.pass(client)
	}
}

// pass ends when either side has closed the connection.
func (f *front) pass(client net.Conn) {
	defer client.Close()
	broker, err := net.Dial("tcp", f.broker)
	if err != nil {
		return
	}
	defer broker.Close()
	go func() {
		io.Copy(broker, client)
		broker.Close()
	}()
	io.Copy(client, broker)
}
