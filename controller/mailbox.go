package controller

import "sync"

// mailbox hands values from goroutines that must not wait to one that takes all there are. It has no bound of its own:
// each use says what bounds it.
type mailbox[T any] struct {
	mu    sync.Mutex // guards items
	items []T
	wake  chan struct{} // holds a token while there may be items
}

func newMailbox[T any]() mailbox[T] { return mailbox[T]{wake: make(chan struct{}, 1)} }

// put adds a value.
func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	m.items = append(m.items, v)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take returns the values that are there, in order.
func (m *mailbox[T]) take() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.items
	m.items = nil
	return items
}
