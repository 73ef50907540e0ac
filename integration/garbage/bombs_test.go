//go:build linux

package garbage

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bombBytes is how many bytes a bomb unpacks to; the codecs that cannot pack as many into one batch get fewer.
const bombBytes = 512 << 20

// maxBatch is what Kafka lets into a batch by default (max.message.bytes), less some room for headers.
const maxBatch = 1048588 - 1000

// bomb is a compressed payload of a batch.
type bomb struct {
	name  string
	codec int16 // in the batch's attributes
	data  []byte
}

// makeBombs packs a head of some records' bytes and then zeros.
func makeBombs(t *testing.T, name string, head []byte) []bomb {
	t.Helper()
	pack := func(zeros int, open func(io.Writer) io.WriteCloser) []byte {
		var b bytes.Buffer
		w := open(&b)
		// Some writers have a ReadFrom that cannot be followed by Close.
		_, err := io.Copy(struct{ io.Writer }{w}, io.MultiReader(bytes.NewReader(head), io.LimitReader(zeroReader{}, int64(zeros))))
		if err != nil || w.Close() != nil {
			t.Fatalf("pack a bomb: %v", err)
		}
		if b.Len() > maxBatch {
			t.Fatalf("bomb of %d bytes: a batch holds %d", b.Len(), maxBatch)
		}
		return b.Bytes()
	}
	zstdBomb := pack(bombBytes, func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w, zstd.WithWindowSize(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		return z
	})
	return []bomb{
		{name + " gzip", 1, pack(bombBytes, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })},
		// snappy packs zeros to a twentieth only.
		{name + " snappy", 2, snappy.Encode(nil, append(append([]byte{}, head...), make([]byte, 20*maxBatch)...))},
		{name + " lz4", 3, pack(maxBatch*240, func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) })},
		{name + " zstd", 4, zstdBomb},
	}
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// lyingBombs announce much and hold little.
func lyingBombs() []bomb {
	xerial := append([]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}, 0x7f, 0xff, 0xff, 0xff, 0, 0)
	zstdFrame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 1, 0, 0} // a frame of 2 GiB, in one segment
	zstdWindow := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 1, 0, 0}                                 // a window of terabytes
	return []bomb{
		{"gzip with a header only", 1, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}},
		{"snappy of 4 GiB", 2, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}},
		{"snappy with a block of 2 GiB", 2, xerial},
		{"lz4 with a block of 2 GiB", 3, []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 0xff, 0xff, 0xff, 0x7f}},
		{"zstd of 2 GiB", 4, zstdFrame},
		{"zstd with a huge window", 4, zstdWindow},
	}
}

// batch wraps a payload in a record batch that says that it holds the given number of records.
func (b bomb) batch(records int) []byte {
	const header = 61
	out := append(make([]byte, header), b.data...)
	be := binary.BigEndian
	be.PutUint32(out[8:], uint32(len(out)-12))
	out[16] = 2 // magic
	be.PutUint16(out[21:], uint16(b.codec))
	be.PutUint32(out[23:], uint32(records-1))
	for i := 43; i < 57; i++ {
		out[i] = 0xff // no producer
	}
	be.PutUint32(out[57:], uint32(records))
	be.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

// bombs produces batches that unpack to much: zeros that are no records, one valid record with a huge value, and
// headers that lie. Each goes to a topic that keeps batches as they are and to one that has them packed again, by
// several connections at once. Whether a batch is refused is the broker's business, but it must answer.
func bombs(t *testing.T, addr string) int {
	huge := func(valueBytes int64) []byte { // the beginning of a record whose value are the zeros that follow
		body := []byte{0, 0, 0, 1} // attributes, timestamp and offset delta, null key
		body = binary.AppendVarint(body, valueBytes)
		return append(binary.AppendVarint(nil, int64(len(body))+valueBytes+1), body...)
	}
	all := append(makeBombs(t, "zeros", nil), lyingBombs()...)
	all = append(all, makeBombs(t, "one record", huge(bombBytes-20))...)
	const atOnce = 4
	strikes := 0
	for _, b := range all {
		for _, topic := range []string{targetTopic, recompressTopic} {
			for _, records := range []int{1, 1 << 20} {
				request := frame(produceRequest(topic, b.batch(records)))
				var wg sync.WaitGroup
				for range atOnce {
					strikes++
					wg.Go(func() { expectAnswer(t, addr, b.name, request) })
				}
				wg.Wait()
			}
		}
	}
	return strikes
}

func produceRequest(topic string, batch []byte) kmsg.Request {
	q := kmsg.NewPtrProduceRequest()
	q.Version, q.Acks, q.TimeoutMillis = 9, -1, 10_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	topics := kmsg.NewProduceRequestTopic()
	topics.Topic = topic
	topics.Partitions = append(topics.Partitions, p)
	q.Topics = append(q.Topics, topics)
	return q
}

// expectAnswer sends a request and wants a response or a closed connection.
func expectAnswer(t *testing.T, addr, what string, request []byte) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Errorf("%s: the broker does not accept connections: %v", what, err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(request); err != nil {
		return
	}
	if _, err := io.ReadFull(c, make([]byte, 8)); err != nil && os.IsTimeout(err) {
		t.Errorf("%s: no answer", what)
	}
}
