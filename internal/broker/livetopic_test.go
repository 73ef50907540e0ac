package broker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kbroker/kbroker/internal/simfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/log/record"
)

// liveTopic is a topic in use, of one partition, whose configs a test alters.
type liveTopic struct {
	*plainClient
	disk *simfs.FS
	name string
}

// set alters configs of the topic, KEY=VALUE each.
func (x *liveTopic) set(configs ...string) { x.t.Helper(); x.alter(x.name, configs...) }

func (x *liveTopic) log() *log.Log { return x.b.replicas.LookupName(x.name, 0).Log() }

// put produces a batch of one record with size bytes of text, of now plus age, and expects the error, nil for none.
func (x *liveTopic) put(size int, age time.Duration, want error) {
	x.t.Helper()
	b := record.NewBuilder(nil, record.BuilderOptions{})
	b.Append(record.Record{Timestamp: time.Now().Add(age).UnixMilli(), Key: []byte("k"), Value: []byte(prose(size))})
	batch, err := b.Build()
	if err != nil {
		x.t.Fatal(err)
	}
	x.produce(x.name, 0, batch, want)
}

// prose is text that compresses, more or less well by level.
func prose(n int) string {
	words := strings.Fields("the quick brown fox jumps over lazy dogs while brokers append records to logs and followers fetch them")
	r, b := rand.New(rand.NewPCG(1, 2)), strings.Builder{}
	for b.Len() < n {
		fmt.Fprint(&b, words[r.IntN(len(words))], r.IntN(50), " ")
	}
	return b.String()[:n]
}

// newest is the header of the last batch.
func (x *liveTopic) newest() record.Batch {
	x.t.Helper()
	l := x.log()
	s, err := l.Read(l.End().Offset-1, 1, true, l.End())
	if err != nil {
		x.t.Fatal(err)
	}
	defer s.Release()
	hdr := make([]byte, record.HeaderSize)
	if _, err := s.File.ReadAt(hdr, s.Off); err != nil {
		x.t.Fatal(err)
	}
	return hdr
}

// files are the names of the log's files that end in suffix.
func (x *liveTopic) files(suffix string) (names []string) {
	entries, err := x.disk.ReadDir("/data/" + x.name + "-0")
	if err != nil {
		x.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// indexed is the number of entries in the offset indexes.
func (x *liveTopic) indexed() (n int64) {
	x.b.logs.Checkpoint()
	for _, name := range x.files(".index") {
		info, err := x.disk.Stat("/data/" + x.name + "-0/" + name)
		if err != nil {
			x.t.Fatal(err)
		}
		n += info.Size() / 8
	}
	return n
}

// differ fails the test when something is the same before and after.
func differ[T comparable](x *liveTopic, what string, before, after T) {
	x.t.Helper()
	if before == after {
		x.t.Errorf("%s is %v as before", what, after)
	}
}

// level compares the sizes of the same batch at two levels of a codec.
func level(codec string, codecID record.Codec, low, high string) func(*liveTopic) {
	return func(x *liveTopic) {
		key := "compression." + codec + ".level="
		x.set("compression.type="+codec, key+low)
		x.put(200_000, 0, nil)
		size := x.newest().Size()
		x.set(key + high)
		x.put(200_000, 0, nil)
		if got := x.newest().Codec(); got != codecID {
			x.t.Errorf("the codec is %v", got)
		}
		differ(x, "the size of the batch", size, x.newest().Size())
	}
}

// rolls checks that batches go into few segments, and into more after an alteration.
func rolls(size int, step time.Duration, n int, before []string, after ...string) func(*liveTopic) {
	return func(x *liveTopic) {
		if len(before) > 0 {
			x.set(before...)
		}
		at := -time.Duration(2*n) * step
		fill := func() int {
			was := x.log().SegmentCount()
			for range n {
				x.put(size, at, nil)
				at += step
			}
			return x.log().SegmentCount() - was
		}
		few := fill()
		x.set(after...)
		if many := fill(); many <= few {
			x.t.Errorf("%d segments before, %d after", few, many)
		}
	}
}

// retention checks that records stay, and go after an alteration.
func retention(after string) func(*liveTopic) {
	return func(x *liveTopic) {
		for range 5 {
			x.put(100, -time.Hour, nil)
		}
		x.b.retain()
		if got := x.log().StartOffset(); got != 0 {
			x.t.Fatal("the log starts at", got)
		}
		x.set(after)
		eventually(x.t, "an empty log", func() bool { return x.log().StartOffset() == 5 })
	}
}

// synced checks that acknowledged records are on the disk or not, as durability says.
func (x *liveTopic) lags() bool {
	x.put(100, 0, nil)
	return x.log().DurableEnd().Offset < x.log().End().Offset
}
