package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Header is a request header (rule 1.2). ClientID aliases the frame it was parsed from: it is valid while the frame is.
type Header struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      []byte // nil when null (rule 1.2.6)
	Flexible      bool   // header v2; decides the response header too
}

// Errors of header parsing. All of them close the connection without an answer.
var (
	ErrShortHeader = errors.New("request header is cut short")
	ErrUnknownKey  = errors.New("unknown API key")
	ErrBadTags     = errors.New("malformed tagged fields")
)

// maxHeaderTags bounds the tagged fields of one request header. No client sends any today.
const maxHeaderTags = 64

// flexTable says from which version on an API's requests are flexible; -1 for an unknown key. It is made once per
// Server, since asking kmsg costs an allocation per request.
type flexTable []int16

// newFlexTable asks kmsg about every key up to kmsg.MaxKey.
func newFlexTable() flexTable {
	t := make(flexTable, kmsg.MaxKey+1)
	for k := range t {
		t[k] = -1
		req := kmsg.RequestForKey(int16(k))
		if req == nil {
			continue
		}
		t[k] = req.MaxVersion() + 1
		for v := req.MaxVersion(); v >= 0; v-- {
			req.SetVersion(v)
			if !req.IsFlexible() {
				break
			}
			t[k] = v
		}
	}
	return t
}

// parse reads a request header from frame and returns the body behind it. The header version depends on key and
// version, so those come first (rule 1.2.2). A version above what kmsg knows is parsed as flexible: only ApiVersions is
// answered then, and its v3+ header is flexible (rule 1.4.2).
func (t flexTable) parse(frame []byte, h *Header) (body []byte, err error) {
	if len(frame) < 8 {
		return nil, ErrShortHeader
	}
	h.Key = int16(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	h.ClientID = nil
	if h.Key < 0 || int(h.Key) >= len(t) || t[h.Key] < 0 {
		return nil, fmt.Errorf("%w %d", ErrUnknownKey, h.Key)
	}
	h.Flexible = h.Version >= t[h.Key]
	rest := frame[8:]
	if len(rest) < 2 {
		return nil, ErrShortHeader
	}
	// The client id stays in its old encoding in header v2 too (rule 1.2.1).
	n := int(int16(binary.BigEndian.Uint16(rest)))
	rest = rest[2:]
	if n > len(rest) {
		return nil, ErrShortHeader
	}
	if n >= 0 {
		h.ClientID, rest = rest[:n], rest[n:]
	}
	if !h.Flexible {
		return rest, nil
	}
	return skipTags(rest)
}

// skipTags steps over a tag buffer (rule 1.2.7) without trusting its announced counts.
func skipTags(b []byte) ([]byte, error) {
	if len(b) > 0 && b[0] == 0 {
		return b[1:], nil
	}
	n, b, ok := uvarint(b)
	if !ok || n > maxHeaderTags {
		return nil, ErrBadTags
	}
	for ; n > 0; n-- {
		if _, b, ok = uvarint(b); !ok {
			return nil, ErrBadTags
		}
		var size uint32
		if size, b, ok = uvarint(b); !ok || int64(size) > int64(len(b)) {
			return nil, ErrBadTags
		}
		b = b[size:]
	}
	return b, nil
}

// uvarint reads an unsigned varint of at most five bytes.
func uvarint(b []byte) (uint32, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > 1<<32-1 {
		return 0, nil, false
	}
	return uint32(v), b[n:], true
}
