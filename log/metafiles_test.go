package log

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

var (
	testID  = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	otherID = [16]byte{16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
)

func TestMetaPropertiesRoundTrip(t *testing.T) {
	disk := newSimDisk(t)
	for _, m := range []MetaProperties{
		{ClusterID: "MkU3OEVBNTcwNTJENDM2Qk", NodeID: 1, DirectoryID: testID, Format: 1},
		{ClusterID: `odd:=# !\id`, NodeID: 0},
	} {
		if err := WriteMetaProperties(disk, "/d", m); err != nil {
			t.Fatal(err)
		}
		disk = disk.CrashWorst()
		if got, err := ReadMetaProperties(disk, "/d"); got != m || err != nil {
			t.Errorf("%+v, %v, not %+v", got, err, m)
		}
	}
	if _, err := ReadMetaProperties(newSimDisk(t), "/d"); !isNotExist(err) {
		t.Errorf("a blank directory: %v", err)
	}
}

func TestMetaPropertiesErrors(t *testing.T) {
	good := "version=1\ncluster.id=abc\nnode.id=7\n"
	for text, want := range map[string]string{
		"":                                       "version",
		"version=2\ncluster.id=abc\nnode.id=7\n": `version="2"`,
		"version=1\nnode.id=7\n":                 "cluster.id",
		"version=1\ncluster.id=abc\n":            "node.id",
		"version=1\ncluster.id=abc\nnode.id=-1\n": "node.id",
		good + "directory.id=short\n":             "directory.id",
		good + "kbroker.format=0\n":               "kbroker.format",
		good + "kbroker.format=2\n":               "newer than 1",
		good + "node.id=8\n":                      "line 4",
		good + "a=\\u0041\n":                      "line 4",
		good + "a=b\\\n":                          "line 4",
	} {
		if _, err := parseMetaProperties([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v does not say %q", text, err, want)
		}
	}
}

func TestParseProperties(t *testing.T) {
	text := "# comment\r\n! another\n\n  a = 1 \nb:2\r\nc 3\nd\ne=\nf\\:g=h\\=i\\\\j\nk==l"
	want := map[string]string{"a": "1 ", "b": "2", "c": "3", "d": "", "e": "", "f:g": `h=i\j`, "k": "=l"}
	if got, err := parseProperties([]byte(text)); !maps.Equal(got, want) || err != nil {
		t.Errorf("%q, %v, not %q", got, err, want)
	}
}

func TestCheckMetaProperties(t *testing.T) {
	a := MetaProperties{ClusterID: "one", NodeID: 1, DirectoryID: testID}
	b := MetaProperties{ClusterID: "one", NodeID: 1, DirectoryID: otherID}
	change := func(m MetaProperties, fn func(*MetaProperties)) MetaProperties { fn(&m); return m }
	for _, q := range []struct {
		metas   []MetaProperties
		cluster string
		node    int32
		want    []string // parts of the error, none: no error
	}{
		{metas: []MetaProperties{a, b}, node: -1},
		{metas: []MetaProperties{a, b}, cluster: "one", node: 1},
		{metas: []MetaProperties{a, b}, cluster: "two", node: 1, want: []string{"/x", "cluster.id=one", "the configuration says two"}},
		{metas: []MetaProperties{a, b}, node: 2, want: []string{"/x", "node.id=1", "the configuration says 2"}},
		{metas: []MetaProperties{a, change(b, func(m *MetaProperties) { m.ClusterID = "two" })}, node: -1, want: []string{"/y", "cluster.id=two", "/x/meta.properties says one"}},
		{metas: []MetaProperties{a, change(b, func(m *MetaProperties) { m.NodeID = 2 })}, node: -1, want: []string{"/y", "node.id=2", "/x/meta.properties says 1"}},
		{metas: []MetaProperties{a, a}, node: -1, want: []string{"/x", "/y", formatUUID(testID)}},
		{metas: []MetaProperties{{ClusterID: "one", NodeID: 1}, {ClusterID: "one", NodeID: 1}}, node: -1},
	} {
		err := CheckMetaProperties([]string{"/x", "/y"}, q.metas, q.cluster, q.node)
		if (err == nil) != (q.want == nil) {
			t.Errorf("%+v: %v", q.metas, err)
		}
		for _, part := range q.want {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not say %q", err, part)
			}
		}
	}
}

func TestPartitionMetadata(t *testing.T) {
	disk := newSimDisk(t)
	if err := WritePartitionMetadata(disk, "/d", testID); err != nil {
		t.Fatal(err)
	}
	if n := len(readSim(t, disk, "/d/"+PartitionMetadataFile)); n != 43 { // rule 3.3.3
		t.Errorf("%d bytes", n)
	}
	if id, err := ReadPartitionMetadata(disk.CrashWorst(), "/d"); id != testID || err != nil {
		t.Error(id, err)
	}
	for _, text := range []string{
		"", "version: 0", "version: 1\ntopic_id: " + formatUUID(testID), "version: 0\ntopic: " + formatUUID(testID),
		"version: 0\ntopic_id: abc", "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", "version: 0\ntopic_id: " + formatUUID(testID) + "\nmore",
	} {
		if _, err := parsePartitionMetadata([]byte(text)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCleanShutdownFile(t *testing.T) {
	disk := newSimDisk(t)
	if err := WriteCleanShutdown(disk, "/d", 12); err != nil {
		t.Fatal(err)
	}
	if got := string(readSim(t, disk, "/d/"+CleanShutdownFile)); got != `{"version":0,"brokerEpoch":12}` { // rule 3.3.5
		t.Errorf("%q", got)
	}
	disk = disk.CrashWorst()
	if epoch, err := ReadCleanShutdown(disk, "/d"); epoch != 12 || err != nil {
		t.Error(epoch, err)
	}
	for _, text := range []string{"", "0", `{"version":1,"brokerEpoch":5}`, `{"version":0}`} {
		writeTestFile(t, disk, "/d/"+CleanShutdownFile, []byte(text))
		if epoch, err := ReadCleanShutdown(disk, "/d"); epoch != -1 || err != nil {
			t.Errorf("%q: %d, %v", text, epoch, err)
		}
	}
	if err := RemoveCleanShutdown(disk, "/d"); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCleanShutdown(disk.CrashWorst(), "/d"); !isNotExist(err) {
		t.Errorf("the file is back: %v", err)
	}
}

func TestDirNames(t *testing.T) {
	unique := [16]byte{0x02, 0x82, 0x32, 0x30, 0x7e, 0x26, 0x48, 0x66, 0xa1, 0x35, 0xff, 0xb2, 0x8b, 0x7f, 0xd6, 0x08}
	long := strings.Repeat("t", 249)
	for name, want := range map[string]DirName{
		"a-0":          {TopicPartition: TopicPartition{"a", 0}},
		"a-b.c_d-1-0":  {TopicPartition: TopicPartition{"a-b.c_d-1", 0}},
		"--12":         {TopicPartition: TopicPartition{"-", 12}},
		"x-delete-3":   {TopicPartition: TopicPartition{"x-delete", 3}},
		"a-2147483647": {TopicPartition: TopicPartition{"a", 2147483647}},
		"to-be-deleted-0.028232307e264866a135ffb28b7fd608-delete": {TopicPartition{"to-be-deleted", 0}, DirDelete, unique},
		"a.b-7.028232307e264866a135ffb28b7fd608-future":           {TopicPartition{"a.b", 7}, DirFuture, unique},
		"a.b-7.028232307e264866a135ffb28b7fd608-stray":            {TopicPartition{"a.b", 7}, DirStray, unique},
	} {
		if got, err := ParseDirName(name); got != want || err != nil {
			t.Errorf("%s: %+v, %v, not %+v", name, got, err, want)
		}
		if got := want.String(); got != name {
			t.Errorf("%+v is named %s, not %s", want, got, name)
		}
	}
	for _, name := range []string{"", "a", "-0", "a-", "a-x", "a-01", "a-+1", "a-2147483648", "a-0.028232307e264866a135ffb28b7fd60g-delete", "a-0-delete"} {
		if got, err := ParseDirName(name); err == nil {
			t.Errorf("%q is %+v", name, got)
		}
	}
	cut := DirName{TopicPartition{long, 123}, DirDelete, unique}
	if name := cut.String(); len(name) != maxDirName {
		t.Errorf("%s has %d bytes", name, len(name))
	} else if back, err := ParseDirName(name); err != nil || back.Partition != 123 || !strings.HasPrefix(long, back.Topic) {
		t.Errorf("%+v, %v", back, err)
	}
}

// TestTextFileErrors checks that a damaged checkpoint is refused with the line that is wrong.
func TestTextFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "line 1",
		"1\n0\n":                          "line 1",
		"0":                               "line 2",
		"0\n":                             "line 2",
		"0\n-1\n":                         "line 2",
		"0\n99999999999\n":                "line 2",
		"0\n1\n":                          "line 3",
		"0\n2147483647\na 0 1\n":          "line 4",
		"0\n1\na 0\n":                     "line 3",
		"0\n1\na 0 1 2\n":                 "line 3",
		"0\n1\na  0\n":                    "line 3",
		"0\n1\n 0 1\n":                    "line 3",
		"0\n2\na 0 1\na x 1\n":            "line 4",
		"0\n2\na 0 1\na -1 1\n":           "line 4",
		"0\n1\na 0 -1\n":                  "line 3",
		"0\n1\na 0 9223372036854775808\n": "line 3",
		"0\n2\na 0 1\na 0 2\n":            "line 4: a-0 has two rows",
		"0\n1\na 0 1\nb 0 1\n":            "line 4",
	} {
		if _, err := parseCheckpoint("f", []byte(text)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v does not say %q", text, err, want)
		}
	}
	for _, text := range []string{"0\n1\na 0 1", "0\n1\na 0 1\n\n", "0\r\n1\r\na 0 1\r\n"} {
		if got, err := parseCheckpoint("f", []byte(text)); err != nil || len(got) != 1 || got[TopicPartition{"a", 0}] != 1 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"0\n2\n1 5\n1 6\n": "line 4", "0\n2\n1 5\n2 5\n": "line 4", "0\n1\n1\n": "line 3", "0\n1\n2147483648 0\n": "line 3",
	} {
		if _, err := parseEpochs("f", []byte(text)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v does not say %q", text, err, want)
		}
	}
}

// TestCheckpointsAreReplacedAtomically is rule 3.3.6.
func TestCheckpointsAreReplacedAtomically(t *testing.T) {
	disk := newSimDisk(t)
	before, after := map[TopicPartition]int64{{"a", 0}: 1}, map[TopicPartition]int64{{"a", 0}: 2, {"b", 1}: 3}
	if got, err := ReadCheckpoint(disk, "/d", RecoveryPointCheckpoint); len(got) != 0 || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	if err := WriteCheckpoint(disk, "/d", RecoveryPointCheckpoint, before); err != nil {
		t.Fatal(err)
	}
	if err := WriteCheckpoint(disk, "/d", RecoveryPointCheckpoint, after); err != nil {
		t.Fatal(err)
	}
	disk = disk.CrashWorst()
	if got, err := ReadCheckpoint(disk, "/d", RecoveryPointCheckpoint); !maps.Equal(got, after) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	writeTestFile(t, disk, "/d/big", make([]byte, maxMetaBytes+1))
	if _, err := readFileBounded(disk, "/d/big", maxMetaBytes); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file beyond the bound: %v", err)
	}
}
