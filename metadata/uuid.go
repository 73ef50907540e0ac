package metadata

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// UUID is a topic, directory or incarnation id: 16 bytes, big endian on the wire; its text form is URL-safe base64
// without padding (rule 0.4.1).
type UUID [16]byte

// reservedUUIDs is the number of ids, counted from zero, that mean something other than themselves: zero is "none", one
// is the metadata topic, and directory ids use the lowest hundred as markers (rule 0.4.1).
const reservedUUIDs = 100

// NewUUID returns a random version 4 id that is neither reserved nor written with a leading dash, which command lines
// would take for a flag (rule 0.4.1).
func NewUUID() UUID {
	for {
		var id UUID
		rand.Read(id[:]) // never fails: crypto/rand ends the process instead
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if !id.Reserved() && id.String()[0] != '-' {
			return id
		}
	}
}

// ParseUUID reads the text form.
func ParseUUID(s string) (UUID, error) {
	var id UUID
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(id) {
		return UUID{}, fmt.Errorf("id %q is not 22 characters of URL-safe base64", s)
	}
	return UUID(b), nil
}

// String returns the text form, 22 characters.
func (id UUID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether id is the zero id, which means "none".
func (id UUID) IsZero() bool { return id == UUID{} }

// Reserved reports whether id is one of the ids that no topic and no directory may have.
func (id UUID) Reserved() bool {
	for _, b := range id[:15] {
		if b != 0 {
			return false
		}
	}
	return id[15] < reservedUUIDs
}
