package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// beginningKind says how the first offset to read is given.
type beginningKind int

const (
	atStart beginningKind = iota
	beforeEnd
	atOffset
	atTime // the first record at or after a time
)

// beginning is where a consumption begins, in each of its partitions.
type beginning struct {
	kind beginningKind
	n    int64 // the offset, how many before the end, or milliseconds since 1970
}

// parseFrom reads the --from of consume.
func parseFrom(from string) (beginning, error) {
	switch from {
	case "start":
		return beginning{kind: atStart}, nil
	case "end":
		return beginning{kind: beforeEnd}, nil
	}
	if n, err := strconv.ParseInt(from, 10, 64); err == nil {
		if strings.HasPrefix(from, "-") {
			return beginning{beforeEnd, -n}, nil
		}
		return beginning{atOffset, n}, nil
	}
	if t, err := time.Parse(time.RFC3339, from); err == nil {
		return beginning{atTime, t.UnixMilli()}, nil
	}
	return beginning{}, &exitError{exitUsage, fmt.Errorf("--from %s: write start, end, an offset, -N, or a time such as 2026-11-24T08:00:00Z", from)}
}

// span is the offsets of a partition that lie before its end of now: from is the first to read, to is the end. They are
// equal where there is nothing to read yet.
type span struct{ from, to int64 }

// spans asks where to begin in each partition. All is asked for here, and nothing left to the client: it would begin at the
// start of a partition that does not have the offset, and only a begin that is known tells whether the end is there already.
func (b beginning) spans(ctx context.Context, a *kadm.Client, topic string, partitions []int32) (map[int32]span, error) {
	bounds, err := listBounds(ctx, a, []string{topic})
	if err != nil {
		return nil, err
	}
	var found kadm.ListedOffsets
	if b.kind == atTime {
		if found, err = a.ListOffsetsAfterMilli(ctx, b.n, topic); err != nil {
			return nil, fmt.Errorf("asking for the offsets of topic %s at a time: %w", topic, err)
		}
	}
	spans := map[int32]span{}
	for _, p := range partitions {
		start, end := bounds.of(topic, p)
		first, ok := found.Lookup(topic, p) // the end, if all records are older
		for _, err := range []error{bounds.err(topic, p), first.Err} {
			if err != nil {
				return nil, fmt.Errorf("asking for the offsets of %s-%d: %w", topic, p, err)
			}
		}
		wanted := start
		switch {
		case b.kind == beforeEnd:
			wanted = end - b.n
		case b.kind == atOffset:
			wanted = b.n
		case b.kind == atTime && ok:
			wanted = first.Offset
		}
		spans[p] = span{min(max(wanted, start), end), end}
	}
	return spans, nil
}
