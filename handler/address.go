package handler

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"

	"github.com/kbroker/kbroker/metadata"
)

// Addresses decides under which address a client is told to find a broker. The zero value makes answers for a node that
// nobody gave an address: the one that the client has reached it by.
type Addresses struct {
	// Explicit has the names of the listeners whose address advertised.listeners sets. It always wins.
	Explicit map[string]bool
	// Gateway is the default gateway of this machine, from DefaultGateway. In a container a connection from there came
	// through a published port, whose address on the other side cannot be seen from here, while "localhost" is right
	// for whoever published it. It is the zero Addr where there is none.
	Gateway netip.Addr
}

// Endpoint is where a client finds a broker.
type Endpoint struct {
	Host string
	Port int32
}

// endpoint returns where the client of this request finds broker b, on the listener that the client itself uses (rule
// 1.6.6), and false when b has no such listener.
func (d *Deps) endpoint(c *Context, b *metadata.Broker) (Endpoint, bool) {
	l := b.Listener(c.ListenerName)
	if l == nil {
		return Endpoint{}, false
	}
	if b.ID == d.NodeID && !d.Admin.Addresses.Explicit[l.Name] {
		if e, ok := d.Admin.Addresses.reached(c.Session); ok {
			return e, true
		}
	}
	return Endpoint{l.Host, l.Port}, true
}

// reached returns the address by which the client has reached this node.
func (a *Addresses) reached(s *Session) (Endpoint, bool) {
	local, ok := addrPort(s.Local)
	if !ok {
		return Endpoint{}, false
	}
	host := local.Addr().Unmap().WithZone("").String()
	remote, ok := addrPort(s.Remote)
	switch {
	case s.ServerName != "":
		// The client checks the certificate against this name: an address would not do.
		host = s.ServerName
	case ok && a.Gateway.IsValid() && remote.Addr().Unmap() == a.Gateway:
		host = "localhost"
	}
	return Endpoint{host, int32(local.Port())}, true
}

// addrPort reads the address of one end of a connection.
func addrPort(a net.Addr) (netip.AddrPort, bool) {
	if a == nil {
		return netip.AddrPort{}, false
	}
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort(), true
	}
	ap, err := netip.ParseAddrPort(a.String())
	return ap, err == nil
}

// DefaultGateway returns the default gateway in a routing table as Linux shows it in /proc/net/route, or the zero Addr.
func DefaultGateway(route []byte) netip.Addr {
	lines := bufio.NewScanner(bytes.NewReader(route))
	for lines.Scan() {
		// Interface, destination, gateway, flags, …; addresses are hexadecimal, in the byte order of the machine,
		// which on all that kbroker runs on is little-endian.
		f := bytes.Fields(lines.Bytes())
		if len(f) < 3 || string(f[1]) != "00000000" {
			continue
		}
		b, err := hex.DecodeString(string(f[2]))
		if err != nil || len(b) != 4 || binary.LittleEndian.Uint32(b) == 0 {
			continue
		}
		return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]})
	}
	return netip.Addr{}
}

// String returns host:port.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))) }
