package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
)

// group is what a member of a consumer group is told.
type group struct {
	bootstrap, topic string
	partitions       int
	id               string
}

// grouped is a client library that can take part in consumer groups.
type grouped interface {
	// member takes part in the group until ctx ends, commits what it got after every few records, and leaves.
	member(ctx context.Context, g group) error
	// groups seeks as a member, then looks at the group in every way the library offers, and deletes it.
	groups(ctx context.Context, g group) error
}

// parseGroup reads TOPIC:PARTITIONS:GROUP:PROTOCOL. The libraries here speak the classic protocol.
func parseGroup(bootstrap, spec string) (group, error) {
	f := strings.Split(spec, ":")
	if len(f) != 4 || f[3] != "classic" {
		return group{}, fmt.Errorf("%q is not TOPIC:PARTITIONS:GROUP:classic", spec)
	}
	n, err := strconv.Atoi(f[1])
	return group{bootstrap: bootstrap, topic: f[0], partitions: n, id: f[2]}, err
}

// runGroup does the verb member or groups. A member leaves at the end of its input.
func runGroup(c client, verb, bootstrap, spec string) error {
	g, err := parseGroup(bootstrap, spec)
	if err != nil {
		return err
	}
	m, ok := c.(grouped)
	if !ok {
		return fmt.Errorf("%T knows no groups", c)
	}
	if verb == "groups" {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return m.groups(ctx, g)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the input
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return m.member(ctx, g)
}

// out keeps lines whole.
var out sync.Mutex

func got(partition int32, offset int64) {
	out.Lock()
	defer out.Unlock()
	fmt.Println("got", partition, offset)
}

func committed(partition int32, next int64) {
	out.Lock()
	defer out.Unlock()
	fmt.Println("committed", partition, next)
}

// sought checks the offset of the first record after a seek to soughtOffset.
const soughtOffset = 10

func sought(offset int64) error {
	if offset != soughtOffset {
		return fmt.Errorf("sought offset %d and got %d", soughtOffset, offset)
	}
	return nil
}
