package churn

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// watcher feeds the topic and looks at the group from outside.
type watcher struct {
	t                *testing.T
	client           *kgo.Client
	admin            *kadm.Client
	group            string
	complain         func(string)
	feedOn, lookOn   context.Context // until stopFeed and stop
	endFeed, endLook context.CancelFunc
	feeding, looking sync.WaitGroup
	ends             []int64 // of the partitions; read when feeding is over

	mu    sync.Mutex // guards what follows
	at    []int64    // the committed offsets
	types []string   // of the group, one after the other
}

// watch creates the topic and feeds it, and looks at the group's committed offsets and type all the time.
func watch(t *testing.T, bootstrap, group string, complain func(string)) *watcher {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(group), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{
		t: t, client: c, admin: kadm.NewClient(c), group: group, complain: complain,
		ends: make([]int64, partitions), at: make([]int64, partitions),
	}
	w.feedOn, w.endFeed = context.WithCancel(context.Background())
	w.lookOn, w.endLook = context.WithCancel(context.Background())
	created, err := w.admin.CreateTopics(t.Context(), partitions, 1, nil, group)
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		t.Fatalf("create the topic: %v", err)
	}
	// Kafka names a coordinator before it serves.
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, err = w.admin.FetchOffsets(t.Context(), group); err == nil {
			break
		}
		if time.Since(start) > patience {
			t.Fatalf("the coordinator does not serve: %v", err)
		}
	}
	w.feeding.Go(w.feed)
	w.looking.Go(w.look)
	t.Cleanup(c.Close)
	t.Cleanup(func() { w.stop() })
	return w
}

// feed appends one record to every partition, again and again, until stopFeed.
func (w *watcher) feed() {
	const pause = 50 * time.Millisecond
	for {
		select {
		case <-w.feedOn.Done():
			return
		case <-time.After(pause):
		}
		var records []*kgo.Record
		for p := range int32(partitions) {
			records = append(records, &kgo.Record{Partition: p, Value: fmt.Appendf(nil, "record %d", w.ends[p])})
		}
		if err := w.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
			w.complain(fmt.Sprintf("feed the topic: %v", err))
			return
		}
		for p := range w.ends {
			w.ends[p]++
		}
	}
}

// look looks at the group until stop.
func (w *watcher) look() {
	const pause = 200 * time.Millisecond
	for {
		select {
		case <-w.lookOn.Done():
			return
		case <-time.After(pause):
		}
		if err := w.lookOnce(context.Background()); err != nil {
			w.complain(fmt.Sprintf("look at the group: %v", err))
			return
		}
	}
}

func (w *watcher) lookOnce(ctx context.Context) error {
	offsets, err := w.admin.FetchOffsets(ctx, w.group)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return err
	}
	is, err := w.groupType(ctx)
	if err != nil {
		return err
	}
	for _, wrong := range w.note(offsets, is) {
		w.complain(wrong)
	}
	return nil
}

// note takes note of what was seen, and returns what went back.
func (w *watcher) note(offsets kadm.OffsetResponses, is string) (wrong []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range int32(partitions) {
		o, ok := offsets.Lookup(w.group, p)
		if !ok {
			continue
		}
		if o.At < w.at[p] {
			wrong = append(wrong, fmt.Sprintf("the committed offset of partition %d went back from %d to %d", p, w.at[p], o.At))
		}
		w.at[p] = max(w.at[p], o.At)
	}
	if is != "" && (len(w.types) == 0 || w.types[len(w.types)-1] != is) {
		w.types = append(w.types, is)
	}
	return wrong
}

// groupType returns the type that the group is listed with, empty if it isn't.
func (w *watcher) groupType(ctx context.Context) (string, error) {
	resp, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, w.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return "", err
	}
	for _, g := range resp.Groups {
		if g.Group == w.group {
			return strings.ToLower(g.GroupType), nil
		}
	}
	return "", nil
}

// stop ends everything and returns the types that the group had, one after the other.
func (w *watcher) stop() []string {
	w.endFeed()
	w.endLook()
	w.feeding.Wait()
	w.looking.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.types
}

// stopFeed ends the feed and returns the offsets at which the partitions end.
func (w *watcher) stopFeed() []int64 {
	w.endFeed()
	w.feeding.Wait()
	return w.ends
}

// committed returns the committed offsets.
func (w *watcher) committed() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.at)
}

// lastType is the group's type, as last seen.
func (w *watcher) lastType() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.types) == 0 {
		return ""
	}
	return w.types[len(w.types)-1]
}
