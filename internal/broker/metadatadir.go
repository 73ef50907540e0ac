package broker

import (
	"fmt"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
)

// findMetadata returns the data directory that has the cluster's metadata: the first one on a first start, and later the
// one that has it, wherever log.dirs names it. Metadata that is missing is not begun anew beside logs: they would belong
// to topics that are not there, and be set aside.
func findMetadata(fsys vfs.FS, dirs []*log.Dir) (*log.Dir, error) {
	var found *log.Dir
	for _, d := range dirs {
		has, err := controller.HasMetadata(fsys, d.Path())
		if err != nil {
			return nil, fmt.Errorf("look for the cluster's metadata: %w", err)
		}
		if has && found != nil {
			return nil, fmt.Errorf("both %s and %s have metadata of a cluster (kbroker-raft): keep the one that knows the topics, and move the other away",
				found.Path(), d.Path())
		}
		if has {
			found = d
		}
	}
	if found != nil {
		return found, nil
	}
	for _, d := range dirs {
		name, err := firstLog(fsys, d.Path())
		if err != nil {
			return nil, fmt.Errorf("look for logs: %w", err)
		}
		if name != "" {
			return nil, fmt.Errorf("%s has logs, such as %s, and no data directory has the cluster's metadata (kbroker-raft): add the one that has it to log.dirs, "+
				"or restore it; to begin an empty cluster, move the logs away", d.Path(), name)
		}
	}
	return dirs[0], nil
}

// firstLog returns the name of a log in service in a data directory, or "".
func firstLog(fsys vfs.FS, dir string) (string, error) {
	listing, err := fsys.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range listing {
		name, err := log.ParseDirName(e.Name())
		if err == nil && e.IsDir() && name.Kind == log.DirLog && name.Topic != metadata.ClusterMetadataTopic {
			return e.Name(), nil
		}
	}
	return "", nil
}
