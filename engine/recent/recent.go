// Package recent remembers things that were seen lately, a bounded number of them: which backend
// has issued an id, how large a part was. What is forgotten is asked for, or does without.
package recent

import "sync"

// Map keeps values by key, in two generations: when the young one is full, the old one is dropped;
// whatever is looked up moves back to the young one. All methods may be called from any goroutine.
type Map[K comparable, V any] struct {
	mu         sync.Mutex
	young, old map[K]V
	max        int // of either
}

// New makes a map that keeps at most limit values, and of those that were put or looked up last at
// least half as many.
func New[K comparable, V any](limit int) *Map[K, V] {
	return &Map[K, V]{young: make(map[K]V), max: limit / 2}
}

// Get returns the key's value, if it is remembered.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if value, ok = m.young[key]; ok {
		return value, true
	}
	if value, ok = m.old[key]; ok {
		m.putLocked(key, value)
	}
	return value, ok
}

// Put remembers the key's value in place of the one that it had.
func (m *Map[K, V]) Put(key K, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putLocked(key, value)
}

func (m *Map[K, V]) putLocked(key K, value V) {
	if _, known := m.young[key]; !known && len(m.young) >= m.max {
		m.old, m.young = m.young, make(map[K]V)
	}
	m.young[key] = value
}
