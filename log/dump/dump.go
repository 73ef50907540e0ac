// Package dump prints the files of a data directory for people, as text in the words of Kafka's own tool,
// kafka-dump-log, or as JSON.
//
// It guarantees that it only reads: a broker may have the files open. What is damaged is printed as far as it can be
// read, with what is wrong, and costs no more memory than a file of the kind may. Package log reads the formats, except
// that of segments, which are read here batch by batch, since a log never goes on behind a damaged one.
package dump

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
)

// Options say how File prints.
type Options struct {
	// JSON prints one JSON object a line. Otherwise lines are those of Kafka's own tool, kafka-dump-log, as far as it
	// knows the file.
	JSON bool
	// Records prints the records of each batch too, keys and values included.
	Records bool
}

// kinds are the files that File knows, by the end of their names.
var kinds = []struct {
	suffix string
	dump   func(d *dumper, name string) error
}{
	{".log", (*dumper).segment},
	{".timeindex", (*dumper).timeIndex},
	{".txnindex", (*dumper).txnIndex},
	{".index", (*dumper).offsetIndex},
	{".snapshot", (*dumper).snapshot},
	{log.EpochsFile, (*dumper).epochs},
	{"-checkpoint", (*dumper).checkpoint},
	{log.MetaPropertiesFile, (*dumper).metaProperties},
	{log.PartitionMetadataFile, (*dumper).partitionMetadata},
	{log.CleanShutdownFile, (*dumper).cleanShutdown},
	{log.MarksFile, (*dumper).marks},
}

// File prints what a file of a data directory holds, one written by kbroker or by Kafka. What is damaged is printed as
// far as it can be read, with a line that says where the damage begins, and the error then wraps log.ErrCorrupt. The file
// is only read; a broker may have it open.
func File(w io.Writer, fsys vfs.FS, name string, o Options) error {
	plain := name
	for _, suffix := range [...]string{".deleted", ".swap", ".cleaned"} {
		plain = strings.TrimSuffix(plain, suffix)
	}
	for _, kind := range kinds {
		if !strings.HasSuffix(plain, kind.suffix) {
			continue
		}
		out := bufio.NewWriter(w)
		d := &dumper{w: out, fs: fsys, o: o, file: name}
		if !o.JSON {
			fmt.Fprintf(out, "Dumping %s\n", name)
		}
		err := kind.dump(d, name)
		if errors.Is(err, log.ErrCorrupt) {
			d.row("damage", field{"problem", err.Error()})
		}
		return errors.Join(err, out.Flush())
	}
	return fmt.Errorf("dump %s: not a file of a data directory (.log, .index, .timeindex, .txnindex, .snapshot, a checkpoint, %s, %s)",
		name, log.MetaPropertiesFile, log.PartitionMetadataFile)
}

// dumper prints one file.
type dumper struct {
	w    *bufio.Writer
	fs   vfs.FS
	o    Options
	file string
}

// field is one name with its value, which prints as text and as JSON.
type field struct {
	name  string
	value any
}

// optional is an offset or a time that may be missing: -1.
type optional int64

// String prints it as Java does, which is what readers of the dumps know.
func (o optional) String() string {
	if o < 0 {
		return "OptionalLong.empty"
	}
	return fmt.Sprintf("OptionalLong[%d]", int64(o))
}

// MarshalJSON prints null when it is missing.
func (o optional) MarshalJSON() ([]byte, error) {
	if o < 0 {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, int64(o), 10), nil
}

// row prints one line. kind names what it describes; the text does without, since it follows from the fields.
func (d *dumper) row(kind string, fields ...field) {
	if !d.o.JSON {
		if kind == "record" {
			d.w.WriteString("| ")
		}
		for i, f := range fields {
			if i > 0 {
				d.w.WriteByte(' ')
			}
			fmt.Fprintf(d.w, "%s: %v", f.name, f.value)
		}
		d.w.WriteByte('\n')
		return
	}
	fields = append([]field{{"file", d.file}, {"type", kind}}, fields...)
	for i, f := range fields {
		d.w.WriteByte("{,"[min(i, 1)])
		d.json(f.name)
		d.w.WriteByte(':')
		d.json(f.value)
	}
	d.w.WriteString("}\n")
}

func (d *dumper) json(v any) {
	b, err := json.Marshal(v)
	if err != nil { // strings, numbers and bools only
		panic(err)
	}
	d.w.Write(b)
}

// segmentBase returns the base offset in the name of a segment's file.
func segmentBase(name string) (int64, error) {
	digits, _, _ := strings.Cut(path.Base(name), ".")
	base, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || base < 0 {
		return 0, fmt.Errorf("%s: %q is no base offset of a segment", name, digits)
	}
	return base, nil
}
