package log

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
)

// DumpOptions say how Dump prints.
type DumpOptions struct {
	// JSON prints one JSON object a line. Otherwise lines are those of Kafka's own tool, kafka-dump-log, as far as it
	// knows the file.
	JSON bool
	// Records prints the records of each batch too, keys and values included.
	Records bool
}

// dumpKinds are the files that Dump knows, by the end of their names.
var dumpKinds = []struct {
	suffix string
	dump   func(d *dumper, name string) error
}{
	{".log", (*dumper).segment},
	{".timeindex", (*dumper).timeIndex},
	{".txnindex", (*dumper).txnIndex},
	{".index", (*dumper).offsetIndex},
	{".snapshot", (*dumper).snapshot},
	{epochsFile, (*dumper).epochs},
	{"-checkpoint", (*dumper).checkpoint},
	{metaPropertiesFile, (*dumper).metaProperties},
	{partitionMetadataFile, (*dumper).partitionMetadata},
	{cleanShutdownFile, (*dumper).cleanShutdown},
	{marksFile, (*dumper).marks},
}

// Dump prints what a file of a data directory holds, one written by kbroker or by Kafka. What is damaged is printed as
// far as it can be read, with a line that says where the damage begins, and the error then wraps ErrCorrupt. The file
// is only read; a broker may have it open.
func Dump(w io.Writer, fsys vfs.FS, name string, o DumpOptions) error {
	plain := name
	for _, suffix := range [...]string{".deleted", ".swap", ".cleaned"} {
		plain = strings.TrimSuffix(plain, suffix)
	}
	for _, kind := range dumpKinds {
		if !strings.HasSuffix(plain, kind.suffix) {
			continue
		}
		out := bufio.NewWriter(w)
		d := &dumper{w: out, fs: fsys, o: o, file: name}
		if !o.JSON {
			fmt.Fprintf(out, "Dumping %s\n", name)
		}
		err := kind.dump(d, name)
		if errors.Is(err, ErrCorrupt) {
			d.row("damage", field{"problem", err.Error()})
		}
		return errors.Join(err, out.Flush())
	}
	return fmt.Errorf("dump %s: not a file of a data directory (.log, .index, .timeindex, .txnindex, .snapshot, a checkpoint, %s, %s)",
		name, metaPropertiesFile, partitionMetadataFile)
}

// dumper prints one file.
type dumper struct {
	w    *bufio.Writer
	fs   vfs.FS
	o    DumpOptions
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
