package wire

import (
	"encoding/binary"
	"io"

	"github.com/kbroker/kbroker/internal/vfs"
)

// Section is a range of a file that is sent as part of a response. Pin keeps the range readable until Release.
type Section struct {
	File vfs.File
	Off  int64
	N    int64
	Pin  interface{ Release() }
}

// placed is a Section and the number of encoded bytes that go before it.
type placed struct {
	at int
	s  Section
}

// Out collects encoded responses and the file sections between their bytes. The zero Out is ready to use.
type Out struct {
	B        []byte
	sections []placed
	frame    int   // index in B of the frame being built
	extra    int64 // section bytes of the frame being built
}

// Section adds a file range at the current place of the response. Out owns it from here on.
func (o *Out) Section(s Section) {
	o.sections = append(o.sections, placed{len(o.B), s})
	o.extra += s.N
}

// begin starts a response frame: size, correlation id and, for flexible versions of every API but ApiVersions, an
// empty tag buffer (rules 1.3.1 and 1.3.2).
func (o *Out) begin(h replyHeader) {
	o.frame, o.extra = len(o.B), 0
	o.B = append(o.B, 0, 0, 0, 0)
	o.B = binary.BigEndian.AppendUint32(o.B, uint32(h.correlationID))
	if h.tagged {
		o.B = append(o.B, 0)
	}
}

// end fills in the size of the frame that begin started.
func (o *Out) end() {
	binary.BigEndian.PutUint32(o.B[o.frame:], uint32(int64(len(o.B)-o.frame-4)+o.extra))
}

// size is the number of bytes that out would send.
func (o *Out) size() int64 {
	n := int64(len(o.B))
	for i := range o.sections {
		n += o.sections[i].s.N
	}
	return n
}

// Reset drops everything collected, releasing the sections.
func (o *Out) Reset() {
	for i := range o.sections {
		o.sections[i].s.Pin.Release()
		o.sections[i] = placed{}
	}
	o.B, o.sections = o.B[:0], o.sections[:0]
}

// replyHeader is what the response header needs of its request.
type replyHeader struct {
	correlationID int32
	tagged        bool
}

// apiVersions is the key whose response header has no tag buffer in any version (rule 1.3.2).
const apiVersions = 18

func headerOf(h *Header) replyHeader {
	return replyHeader{h.CorrelationID, h.Flexible && h.Key != apiVersions}
}

// CopyTo writes everything collected to w, copying the sections, and releases it. Connections do better; this is for
// callers without one.
func (o *Out) CopyTo(w io.Writer) error {
	defer o.Reset()
	at := 0
	for i := range o.sections {
		p := &o.sections[i]
		if _, err := w.Write(o.B[at:p.at]); err != nil {
			return err
		}
		at = p.at
		if _, err := io.Copy(w, io.NewSectionReader(p.s.File, p.s.Off, p.s.N)); err != nil {
			return err
		}
	}
	_, err := w.Write(o.B[at:])
	return err
}
