package handler

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/metadata"
)

const (
	// autoCreationTimeout is how long the controller is given: request.timeout.ms of a Kafka broker.
	autoCreationTimeout = 30 * time.Second
	// autoCreationPause is how long a topic is left alone that could not be created. Clients ask for it several times
	// in a second, and the controller would say the same.
	autoCreationPause = time.Second
	// maxAutoCreations bounds the topics that are being created, or were not, at one time. Others wait for the client
	// to ask again.
	maxAutoCreations = 10_000
)

// autoCreation creates topics because somebody asked for their metadata (rule 7.1.6): each once, however many ask.
type autoCreation struct {
	d *Deps

	mu sync.Mutex // guards busy
	// busy has the topics that are not to be asked for: zero while they are being created, and when that failed the
	// time from which on they may be tried again.
	busy map[string]time.Time
}

func newAutoCreation(d *Deps) *autoCreation { return &autoCreation{d: d, busy: map[string]time.Time{}} }

// start has topics created, without waiting. Their names are legal. ctx ends when the broker stops.
func (a *autoCreation) start(ctx context.Context, names []string) {
	topics := a.claim(names)
	if len(topics) > 0 {
		go a.create(ctx, topics)
	}
}

// claim returns those topics that nobody else is creating, and that creating has not just failed for.
func (a *autoCreation) claim(names []string) []controller.NewTopic {
	if len(names) == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(a.busy, func(_ string, until time.Time) bool { return !until.IsZero() && now.After(until) })
	var topics []controller.NewTopic
	for _, name := range names {
		if _, ok := a.busy[name]; ok || len(a.busy) >= maxAutoCreations {
			continue
		}
		if topic, ok := a.topic(name); ok {
			a.busy[name] = time.Time{}
			topics = append(topics, topic)
		}
	}
	return topics
}

// topic returns how a topic is created (rule 7.1.7), and false for one that must not be.
func (a *autoCreation) topic(name string) (controller.NewTopic, bool) {
	switch {
	case name == metadata.ClusterMetadataTopic:
		return controller.NewTopic{}, false
	case metadata.InternalTopic(name):
		return a.d.Admin.InternalTopic(name)
	}
	return controller.NewTopic{Name: name, Partitions: -1, ReplicationFactor: -1}, true
}

// create asks the controller for topics and waits for its answer. What fails is not tried again for a while.
func (a *autoCreation) create(ctx context.Context, topics []controller.NewTopic) {
	ctx, cancel := context.WithTimeout(ctx, autoCreationTimeout)
	defer cancel()
	results, err := a.d.Controller.CreateTopics(ctx, topics, false)
	for i, t := range topics {
		failure := err
		if err == nil {
			failure = results[i].Err
		}
		if failure == nil || errors.Is(failure, kerr.TopicAlreadyExists) {
			a.release(t.Name, time.Time{})
			continue
		}
		a.release(t.Name, time.Now().Add(autoCreationPause))
		a.d.Logger.Warn("a client asked for a topic that could not be created", "topic", t.Name, "err", failure)
	}
}

// release lets a topic be created again from a time on.
func (a *autoCreation) release(name string, from time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if from.IsZero() {
		delete(a.busy, name)
	} else {
		a.busy[name] = from
	}
}
