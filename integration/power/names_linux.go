package power

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// nameChange is one line of the journal that a broker built with the tag negativecontrol writes (internal/vfs): a name
// made by it, or renamed to one that was free.
type nameChange struct {
	from string // of a rename; empty for a creation
	to   string
	// now is where to is after later renames of directories above it.
	now string
}

// unsyncedNames reads such a journal and returns what no SyncDir covered, oldest first.
func unsyncedNames(journal string) ([]nameChange, error) {
	data, err := os.ReadFile(journal)
	if err != nil {
		return nil, err
	}
	var pending []nameChange
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		fields := strings.Split(line, "\t")
		switch {
		case fields[0] == "create" && len(fields) == 2:
			pending = append(pending, nameChange{to: fields[1], now: fields[1]})
		case fields[0] == "rename" && len(fields) == 3:
			from, to := fields[1], fields[2]
			for k := range pending {
				if rest, ok := strings.CutPrefix(pending[k].now, from); ok && (rest == "" || rest[0] == '/') {
					pending[k].now = to + rest
				}
			}
			pending = append(pending, nameChange{from: from, to: to, now: to})
		case fields[0] == "sync" && len(fields) == 2:
			pending = slices.DeleteFunc(pending, func(c nameChange) bool {
				return fields[1] == "/" || path.Dir(c.now) == fields[1]
			})
		case line != "":
			return nil, fmt.Errorf("%s:%d: can't read %q", journal, i+1, line)
		}
	}
	return pending, nil
}

// takeBackNames undoes what a power cut may undo, newest first, and empties the journal. What the real cut took already
// is fine.
func takeBackNames(journal string) (int, error) {
	pending, err := unsyncedNames(journal)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, c := range slices.Backward(pending) {
		if c.from == "" {
			err = os.RemoveAll(c.to)
		} else if err = os.Rename(c.to, c.from); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err != nil {
			return 0, err
		}
	}
	return len(pending), os.Truncate(journal, 0)
}
