package metadata

import (
	"slices"
	"sort"
)

// orderable is a key of an ordered map.
type orderable[K any] interface{ compare(other K) int }

// ordered is an immutable sorted map: with makes a new one that shares every chunk that did not change. The zero value
// is empty.
//
// It is a sorted array cut into chunks rather than a hash trie: iteration in key order is what makes snapshots
// deterministic and DescribeTopicPartitions able to start at a cursor, and a change copies one chunk and the list of
// chunks, a few KiB at ten thousand topics.
type ordered[K orderable[K], V any] struct {
	chunks [][]pair[K, V] // none is empty; keys ascend within and across chunks
	size   int
}

type pair[K, V any] struct {
	key   K
	value V
}

// change is one step from an ordered map to the next.
type change[K, V any] struct {
	key    K
	value  V
	remove bool
}

const (
	chunkSize = 64            // pairs in a chunk that was just cut
	chunkMax  = 2 * chunkSize // pairs beyond which a chunk is cut
)

// chunkOf returns the chunk that holds or would hold k: the last that starts at or below it, else the first.
func (m *ordered[K, V]) chunkOf(k K) int {
	i := sort.Search(len(m.chunks), func(i int) bool { return m.chunks[i][0].key.compare(k) > 0 })
	return max(i-1, 0)
}

// seek returns the place of the first key at or above k in a chunk.
func seek[K orderable[K], V any](chunk []pair[K, V], k K) (int, bool) {
	return slices.BinarySearchFunc(chunk, k, func(p pair[K, V], k K) int { return p.key.compare(k) })
}

// get returns the value of k.
func (m *ordered[K, V]) get(k K) (V, bool) {
	if len(m.chunks) > 0 {
		chunk := m.chunks[m.chunkOf(k)]
		if i, ok := seek(chunk, k); ok {
			return chunk[i].value, true
		}
	}
	var none V
	return none, false
}

// from calls yield for each pair at or above k, in key order.
func (m *ordered[K, V]) from(k K, yield func(K, V) bool) {
	if len(m.chunks) == 0 {
		return
	}
	c := m.chunkOf(k)
	i, _ := seek(m.chunks[c], k)
	for ; c < len(m.chunks); c, i = c+1, 0 {
		for _, p := range m.chunks[c][i:] {
			if !yield(p.key, p.value) {
				return
			}
		}
	}
}

// same reports whether m and o share all they have, as maps do between which nothing was changed.
func (m *ordered[K, V]) same(o *ordered[K, V]) bool {
	return m.size == o.size && len(m.chunks) == len(o.chunks) && (len(m.chunks) == 0 || &m.chunks[0] == &o.chunks[0])
}

// all calls yield for each pair in key order.
func (m *ordered[K, V]) all(yield func(K, V) bool) {
	for _, chunk := range m.chunks {
		for _, p := range chunk {
			if !yield(p.key, p.value) {
				return
			}
		}
	}
}

// with returns m with changes made to it. The changes are in key order, one per key.
func (m *ordered[K, V]) with(changes []change[K, V]) ordered[K, V] {
	if len(changes) == 0 {
		return *m
	}
	next := ordered[K, V]{chunks: make([][]pair[K, V], 0, len(m.chunks)+1), size: m.size}
	done := 0 // chunks of m dealt with
	for len(changes) > 0 {
		var chunk []pair[K, V]
		mine := len(changes) // how many of the changes fall into chunk
		if len(m.chunks) > 0 {
			i := m.chunkOf(changes[0].key)
			next.chunks = append(next.chunks, m.chunks[done:i]...)
			chunk, done = m.chunks[i], i+1
			if done < len(m.chunks) {
				end := m.chunks[done][0].key
				mine = sort.Search(len(changes), func(i int) bool { return changes[i].key.compare(end) >= 0 })
			}
		}
		merged := merge(chunk, changes[:mine])
		next.size += len(merged) - len(chunk)
		next.push(merged)
		changes = changes[mine:]
	}
	next.chunks = append(next.chunks, m.chunks[done:]...)
	return next
}

// push appends a chunk, cut when it is too long.
func (m *ordered[K, V]) push(chunk []pair[K, V]) {
	if len(chunk) <= chunkMax {
		if len(chunk) > 0 {
			m.chunks = append(m.chunks, chunk)
		}
		return
	}
	for piece := range slices.Chunk(chunk, chunkSize) {
		m.chunks = append(m.chunks, piece)
	}
}

// merge returns a new chunk: old with changes made to it.
func merge[K orderable[K], V any](old []pair[K, V], changes []change[K, V]) []pair[K, V] {
	merged := make([]pair[K, V], 0, len(old)+len(changes))
	for _, c := range changes {
		i, found := seek(old, c.key)
		merged = append(merged, old[:i]...)
		if found {
			i++
		}
		old = old[i:]
		if !c.remove {
			merged = append(merged, pair[K, V]{c.key, c.value})
		}
	}
	return append(merged, old...)
}
