package rawconn

import (
	"encoding/hex"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFrame(t *testing.T) {
	id := "ab"
	for _, c := range []struct {
		h    Header
		want string
	}{
		{Header{Key: 3, Version: 1, Correlation: -2, ClientID: &id}, "0000000d" + "0003" + "0001" + "fffffffe" + "0002" + "6162" + "ff"},
		{Header{Key: 3, Version: 9, Correlation: 7, Flexible: true}, "0000000c" + "0003" + "0009" + "00000007" + "ffff" + "00" + "ff"},
		{Header{Key: 3, Version: 9, Correlation: 7, Flexible: true, Tags: []byte{1, 5, 0}}, "0000000e" + "0003" + "0009" + "00000007" + "ffff" + "010500" + "ff"},
	} {
		if got := hex.EncodeToString(Frame(c.h, []byte{0xff})); got != c.want {
			t.Errorf("%+v: %s, want %s", c.h, got, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	flexible, plain, versions := kmsg.NewPtrMetadataResponse(), kmsg.NewPtrMetadataResponse(), kmsg.NewPtrApiVersionsResponse()
	flexible.Version, versions.Version = 9, 3
	for _, c := range []struct {
		frame string
		resp  kmsg.Response
		body  string // "bad": an error
	}{
		{"00000005aa", plain, "aa"},
		{"0000000500aa", flexible, "aa"},
		{"00000005aa", flexible, "bad"}, // a tag where none is defined
		{"00000005", flexible, "bad"},
		{"00000005aa", versions, "aa"}, // rule 1.3.2
		{"0005", plain, "bad"},
	} {
		frame, _ := hex.DecodeString(c.frame)
		a, err := Split(frame, c.resp)
		if got := hex.EncodeToString(a.Body); (err != nil) != (c.body == "bad") || err == nil && (got != c.body || a.Correlation != 5) {
			t.Errorf("%s as %T: %+v, %v; want %s", c.frame, c.resp, a, err, c.body)
		}
	}
}

// TestConn: what the other side sends, does not send, and that it closes, are told apart.
func TestConn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !c.Quiet(10 * time.Millisecond) {
		t.Error("a silent peer is not quiet")
	}
	if _, err := c.Receive(10 * time.Millisecond); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("from a silent peer: %v, want ErrNoAnswer", err)
	}
	peer.Write([]byte{0, 0, 0, 2, 'h', 'i'})
	if c.Quiet(time.Minute) {
		t.Error("a peer that has sent something is quiet")
	}
	if got, err := c.Receive(time.Minute); err != nil || string(got) != "hi" {
		t.Errorf("received %q, %v", got, err)
	}
	peer.Close()
	if c.Quiet(time.Minute) {
		t.Error("a peer that has closed is quiet")
	}
	if _, err := c.Receive(time.Minute); !errors.Is(err, ErrClosed) {
		t.Errorf("from a closed peer: %v, want ErrClosed", err)
	}
}
