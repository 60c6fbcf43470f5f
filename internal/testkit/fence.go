package testkit

import (
	"slices"
	"sync"
	"testing"
)

// Fence is a table of writes in flight, strict about being used in pairs.
type Fence struct {
	mu     sync.Mutex
	busy   map[string]bool // keys that a client is writing
	begun  map[string]bool
	unfair []string // what was ended without being begun
}

// Begin is repair.Fence's, as the next three are.
func (f *Fence) Begin(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := bucket + "/" + key
	if f.busy[name] || f.begun[name] {
		return false
	}
	if f.begun == nil {
		f.begun = map[string]bool{}
	}
	f.begun[name] = true
	return true
}

// Seal is repair.Fence's.
func (f *Fence) Seal(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun[bucket+"/"+key] && !f.busy[bucket+"/"+key]
}

// Unseal is repair.Fence's.
func (f *Fence) Unseal(string, string) {}

// End is repair.Fence's.
func (f *Fence) End(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := bucket + "/" + key
	if !f.begun[name] {
		f.unfair = append(f.unfair, name)
	}
	delete(f.begun, name)
	return !f.busy[name]
}

// SetBusy begins or ends a client's write of a key.
func (f *Fence) SetBusy(name string, busy bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy == nil {
		f.busy = map[string]bool{}
	}
	f.busy[name] = busy
}

// Want compares the keys that are begun, and wants no end without a beginning.
func (f *Fence) Want(t testing.TB, begun ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var got []string
	for name := range f.begun {
		got = append(got, name)
	}
	slices.Sort(got)
	if !slices.Equal(got, begun) || f.unfair != nil {
		t.Errorf("begun are %q, want %q; ended without a beginning: %q", got, begun, f.unfair)
	}
}
