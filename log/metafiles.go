package log

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/kbroker/kbroker/internal/vfs"
)

// Names of the small files of a data directory (rule 3.1.3).
const (
	MetaPropertiesFile    = "meta.properties"
	PartitionMetadataFile = "partition.metadata"
	CleanShutdownFile     = ".kafka_cleanshutdown"
)

const (
	// maxMetaBytes bounds each of them; they have less than 200 bytes.
	maxMetaBytes = 64 << 10
	// FormatVersion is the kbroker.format that this binary writes and the newest that it reads.
	FormatVersion = 1
)

// MetaProperties say whose a data directory is (rule 3.3.4).
type MetaProperties struct {
	ClusterID   string   // 22 characters of base64 in general, opaque here
	NodeID      int32    // id of the broker
	DirectoryID [16]byte // of this directory, zero: none yet
	Format      int      // kbroker.format; 0: Kafka wrote the directory
}

// ReadMetaProperties reads meta.properties in data directory dir. The error is fs.ErrNotExist for a directory that was
// never used; any other names the directory and what is wrong with which key.
func ReadMetaProperties(fsys vfs.FS, dir string) (MetaProperties, error) {
	name := path.Join(dir, MetaPropertiesFile)
	data, err := readFileBounded(fsys, name, maxMetaBytes)
	if err != nil {
		return MetaProperties{}, err
	}
	m, err := parseMetaProperties(data)
	if err != nil {
		return MetaProperties{}, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func parseMetaProperties(data []byte) (MetaProperties, error) {
	props, err := parseProperties(data)
	if err != nil {
		return MetaProperties{}, err
	}
	bad := func(key, why string) (MetaProperties, error) {
		return MetaProperties{}, fmt.Errorf("%s=%.80q %s: %w", key, props[key], why, ErrCorrupt)
	}
	if v, ok := props["version"]; !ok || v != "1" {
		return bad("version", "is not 1, the only version known")
	}
	m := MetaProperties{ClusterID: props["cluster.id"]}
	if m.ClusterID == "" {
		return bad("cluster.id", "is missing or empty")
	}
	id, err := strconv.ParseInt(props["node.id"], 10, 32)
	if err != nil || id < 0 {
		return bad("node.id", "is no int32 ≥ 0")
	}
	m.NodeID = int32(id)
	if v, ok := props["directory.id"]; ok {
		if m.DirectoryID, err = parseUUID(v); err != nil {
			return bad("directory.id", "is no UUID in base64")
		}
	}
	if v, ok := props["kbroker.format"]; ok {
		if m.Format, err = strconv.Atoi(v); err != nil || m.Format < 1 {
			return bad("kbroker.format", "is no number ≥ 1")
		}
		if m.Format > FormatVersion {
			return MetaProperties{}, fmt.Errorf("kbroker.format=%d is newer than %d, the newest this version of kbroker reads: use the version that wrote it, or a newer one", m.Format, FormatVersion)
		}
	}
	return m, nil
}

// WriteMetaProperties replaces meta.properties in data directory dir, durably.
func WriteMetaProperties(fsys vfs.FS, dir string, m MetaProperties) error {
	return writeFileAtomic(fsys, path.Join(dir, MetaPropertiesFile), formatMetaProperties(m))
}

func formatMetaProperties(m MetaProperties) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "version=1\ncluster.id=%s\nnode.id=%d\n", escapeProperty(m.ClusterID), m.NodeID)
	if m.DirectoryID != ([16]byte{}) {
		fmt.Fprintf(&b, "directory.id=%s\n", formatUUID(m.DirectoryID))
	}
	if m.Format > 0 {
		fmt.Fprintf(&b, "kbroker.format=%d\n", m.Format)
	}
	return []byte(b.String())
}

// ErrNotOurs is in the error about a data directory whose meta.properties names another node or cluster.
var ErrNotOurs = errors.New("belongs to another node or cluster")

// CheckMetaProperties refuses data directories that do not belong together or not to this node: another cluster.id or
// node.id than wanted, or one directory.id twice (rule 3.3.4). An empty wantCluster and a negative wantNode mean
// whatever the first directory says. dirs and metas are parallel.
func CheckMetaProperties(dirs []string, metas []MetaProperties, wantCluster string, wantNode int32) error {
	clusterFrom, nodeFrom := "the configuration", "the configuration"
	seen := make(map[[16]byte]string, len(dirs))
	for i, m := range metas {
		if wantCluster == "" {
			wantCluster, clusterFrom = m.ClusterID, path.Join(dirs[i], MetaPropertiesFile)
		}
		if wantNode < 0 {
			wantNode, nodeFrom = m.NodeID, path.Join(dirs[i], MetaPropertiesFile)
		}
		if m.ClusterID != wantCluster {
			return fmt.Errorf("data directory %s %w: its %s has cluster.id=%s, but %s says %s; use the directory of this cluster, or an empty one",
				dirs[i], ErrNotOurs, MetaPropertiesFile, m.ClusterID, clusterFrom, wantCluster)
		}
		if m.NodeID != wantNode {
			return fmt.Errorf("data directory %s %w: its %s has node.id=%d, but %s says %d; correct node.id, or use the directory of this node",
				dirs[i], ErrNotOurs, MetaPropertiesFile, m.NodeID, nodeFrom, wantNode)
		}
		if m.DirectoryID == ([16]byte{}) {
			continue
		}
		if other, twice := seen[m.DirectoryID]; twice {
			return fmt.Errorf("data directories %s and %s have the same directory.id=%s: one is a copy of the other; remove it from log.dirs",
				other, dirs[i], formatUUID(m.DirectoryID))
		}
		seen[m.DirectoryID] = dirs[i]
	}
	return nil
}

// ReadPartitionMetadata reads the topic id of the log in directory dir (rule 3.3.3). The error is fs.ErrNotExist when
// there is none.
func ReadPartitionMetadata(fsys vfs.FS, dir string) (topicID [16]byte, err error) {
	name := path.Join(dir, PartitionMetadataFile)
	data, err := readFileBounded(fsys, name, maxMetaBytes)
	if err != nil {
		return [16]byte{}, err
	}
	if topicID, err = parsePartitionMetadata(data); err != nil {
		return [16]byte{}, fmt.Errorf("%s: %w", name, err)
	}
	return topicID, nil
}

func parsePartitionMetadata(data []byte) (topicID [16]byte, err error) {
	lines := strings.Split(strings.TrimRight(string(data), "\r\n"), "\n")
	if len(lines) != 2 {
		return topicID, fmt.Errorf("%d lines instead of 2: %w", len(lines), ErrCorrupt)
	}
	if version := strings.TrimSuffix(lines[0], "\r"); version != "version: 0" {
		return topicID, fmt.Errorf("line 1: %.40q is not %q: %w", version, "version: 0", ErrCorrupt)
	}
	text, ok := strings.CutPrefix(lines[1], "topic_id: ")
	if topicID, err = parseUUID(text); !ok || err != nil || topicID == ([16]byte{}) {
		return [16]byte{}, fmt.Errorf("line 2: %.80q is not %q and an id in base64: %w", lines[1], "topic_id: ", ErrCorrupt)
	}
	return topicID, nil
}

// WritePartitionMetadata writes the topic id of the log in directory dir, durably; it comes before the first append.
func WritePartitionMetadata(fsys vfs.FS, dir string, topicID [16]byte) error {
	return writeFileAtomic(fsys, path.Join(dir, PartitionMetadataFile), formatPartitionMetadata(topicID))
}

func formatPartitionMetadata(topicID [16]byte) []byte {
	return []byte("version: 0\ntopic_id: " + formatUUID(topicID)) // no line break at the end, like Kafka
}

// cleanShutdown is the content of the clean shutdown file (rule 3.3.5).
type cleanShutdown struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// ReadCleanShutdown reads the clean shutdown file of data directory dir: with it, everything in the directory was
// synced and recovery is not needed. The broker epoch in it is reported at registration; -1 when the file does not
// tell, as that of an older Kafka. The error is fs.ErrNotExist after an unclean stop. The caller removes the file
// before it opens any log, or a crash while loading would be taken for a clean stop (KAFKA-10471).
func ReadCleanShutdown(fsys vfs.FS, dir string) (brokerEpoch int64, err error) {
	data, err := readFileBounded(fsys, path.Join(dir, CleanShutdownFile), maxMetaBytes)
	if err != nil {
		return -1, err
	}
	c := cleanShutdown{BrokerEpoch: -1}
	if json.Unmarshal(data, &c) != nil || c.Version != 0 {
		return -1, nil // that it exists is what counts; an unknown epoch is treated as an unclean restart by the controller
	}
	return c.BrokerEpoch, nil
}

// WriteCleanShutdown writes the clean shutdown file of data directory dir, durably, last of all.
func WriteCleanShutdown(fsys vfs.FS, dir string, brokerEpoch int64) error {
	data, err := json.Marshal(cleanShutdown{BrokerEpoch: brokerEpoch})
	if err != nil {
		return err
	}
	return writeFileAtomic(fsys, path.Join(dir, CleanShutdownFile), data)
}

// RemoveCleanShutdown removes the clean shutdown file of data directory dir, durably.
func RemoveCleanShutdown(fsys vfs.FS, dir string) error {
	if err := fsys.Remove(path.Join(dir, CleanShutdownFile)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// formatUUID returns the text form of an id (rule 0.4.1).
func formatUUID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func parseUUID(s string) (id [16]byte, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%.40q is no UUID in URL-safe base64 without padding", s)
	}
	return [16]byte(b), nil
}
