//go:build linux

package garbage

import (
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// seed makes all garbage reproducible.
const seed = 20261124

// patience is how long the broker may take over one piece of garbage, whether it answers or closes the connection.
const patience = 10 * time.Second

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("the broker does not accept connections: %v", err)
	}
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// strike sends bytes on a connection of its own, says that nothing follows, and waits until the broker is done with
// it: it has answered or not, and closed the connection. A broker that keeps waiting fails the test.
func strike(t *testing.T, addr string, b []byte) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	if _, err := c.Write(b); err == nil { // the broker may close before it has read everything
		c.(*net.TCPConn).CloseWrite()
	}
	if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
		t.Errorf("the broker neither answers nor closes after %d bytes % .40x…", len(b), b)
	}
}

func randomBytes(t *testing.T, addr string) int {
	const strikes = 1000
	random := newRandom()
	for range strikes {
		b := make([]byte, 1<<random.IntN(17))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if random.IntN(2) == 0 && len(b) >= 8 { // a length that is right, and an API that exists
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			binary.BigEndian.PutUint16(b[4:], uint16(random.IntN(70)))
			binary.BigEndian.PutUint16(b[6:], uint16(random.IntN(12)))
		}
		strike(t, addr, b)
	}
	return strikes
}

// oversizedFrames announces frames that are too large or negative, as a request of each API and as nothing.
func oversizedFrames(t *testing.T, addr string) int {
	strikes := 0
	for _, size := range []uint32{0, 1, 7, math.MaxInt32, math.MaxUint32, 1 << 31, 104857600 + 1, 1 << 30, 64<<10 + 1, 8 << 20} {
		for key := int16(-1); key < 70; key++ {
			b := binary.BigEndian.AppendUint32(nil, size)
			b = binary.BigEndian.AppendUint16(b, uint16(key))
			strike(t, addr, append(b, make([]byte, 2000)...))
			strikes++
		}
	}
	return strikes
}

// served asks which APIs the broker has, and calls f with a request of each version, filled with something in every
// field and one element in every array.
func served(t *testing.T, addr string, f func(kmsg.Request)) {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	q := kmsg.NewPtrApiVersionsRequest()
	if _, err := c.Write(frame(q)); err != nil {
		t.Fatal(err)
	}
	var head [8]byte // length, correlation id
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	versions := kmsg.NewPtrApiVersionsResponse()
	if err := versions.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	for _, k := range versions.ApiKeys {
		for version := k.MinVersion; version <= k.MaxVersion; version++ {
			r := kmsg.RequestForKey(k.ApiKey)
			if r == nil || version > r.MaxVersion() {
				t.Fatalf("kmsg does not know API %d version %d", k.ApiKey, version)
			}
			fill(reflect.ValueOf(r).Elem())
			r.SetVersion(version)
			f(r)
		}
	}
}

// frame encodes a request with its header.
func frame(r kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("garbage")).AppendRequest(nil, r, 1)
}

// fill puts something into every field.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Name != "Version" && v.Type().Field(i).Name != "UnknownTags" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct || v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		}
	case reflect.String:
		v.SetString("garbage")
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	}
}

// truncatedFrames sends a request of each API and version cut at some places: once as it is, so that the connection
// ends within the frame, and once with its length made right, so that the body ends within a field.
func truncatedFrames(t *testing.T, addr string) int {
	const cuts = 30
	random := newRandom()
	strikes := 0
	served(t, addr, func(r kmsg.Request) {
		whole := frame(r)
		for range cuts {
			b := append([]byte{}, whole[:random.IntN(len(whole))]...)
			strike(t, addr, b)
			if len(b) > 4 {
				binary.BigEndian.PutUint32(b, uint32(len(b)-4))
				strike(t, addr, b)
			}
			strikes += 2
		}
	})
	return strikes
}

// lies are lengths in all encodings that the protocol has, each of far more than follows.
var lies = [][]byte{
	{0x7f, 0xff, 0xff, 0xff},       // int32: arrays and bytes
	{0x00, 0x10, 0x00, 0x00},       // a million elements
	{0xff, 0xff, 0xff, 0xfe},       // less than null
	{0x7f, 0xff},                   // int16: strings
	{0xff, 0xff, 0xff, 0xff, 0x0f}, // uvarint: compact arrays, strings, bytes, tags
	{0xff, 0xff, 0xff, 0xff, 0x07}, // the largest one that an int32 holds
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, // and one that does not end in time
}

// lyingLengths overwrites places of a request of each API and version with lengths that lie. In a flexible version it
// also puts tags at its end whose number or size lies, and many tags that are nobody's.
func lyingLengths(t *testing.T, addr string) int {
	const places = 100
	random := newRandom()
	strikes := 0
	served(t, addr, func(r kmsg.Request) {
		whole := frame(r)
		send := func(b []byte) {
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			strike(t, addr, b)
			strikes++
		}
		for range places {
			b := append([]byte{}, whole...)
			const correlation = 8 // what stands before the correlation id's end is not touched
			at := correlation + 4 + random.IntN(max(len(b)-correlation-4, 1))
			lie := lies[random.IntN(len(lies))]
			send(append(b[:at:at], append(lie, b[min(at+len(lie), len(b)):]...)...))
		}
		if r.IsFlexible() {
			untagged := whole[: len(whole)-1 : len(whole)-1]
			for _, lie := range lies[4:] {
				send(append(untagged[:len(untagged):len(untagged)], lie...))                           // so many tags
				send(append(untagged[:len(untagged):len(untagged)], append([]byte{1, 99}, lie...)...)) // a tag so large
			}
			many := binary.AppendUvarint(untagged, 10_000)
			for tag := range uint64(10_000) {
				many = append(binary.AppendUvarint(many, tag+50), 0)
			}
			send(many)
		}
	})
	return strikes
}

// idleConnections opens connections that say who they are and then nothing.
func idleConnections(t *testing.T, addr string) int {
	const connections = 5000
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	hello := frame(kmsg.NewPtrApiVersionsRequest())
	for i := range connections {
		c := dial(t, addr)
		open = append(open, c)
		if _, err := c.Write(hello); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
			t.Fatalf("connection %d is not answered: %v", i, err)
		}
	}
	time.Sleep(2 * time.Second) // idle, and counted by whoever watches the memory
	for _, i := range []int{0, connections / 2, connections - 1} {
		c := open[i]
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(hello); err != nil {
			t.Errorf("connection %d has not been kept: %v", i, err)
		} else if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
			t.Errorf("connection %d is not answered any more: %v", i, err)
		}
	}
	return connections
}
