package testkit

import (
	"slices"
	"sync"
	"testing"
)

// Fence is a repair.Fence that checks that calls come in pairs.
type Fence struct {
	mu     sync.Mutex
	busy   map[string]bool // keys that a client is writing
	begun  map[string]bool
	unfair []string // what was ended without having been begun
}

// Begin implements repair.Fence, as do the next three.
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

// Seal implements repair.Fence.
func (f *Fence) Seal(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun[bucket+"/"+key] && !f.busy[bucket+"/"+key]
}

// Unseal implements repair.Fence.
func (f *Fence) Unseal(string, string) {}

// End implements repair.Fence.
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

// SetBusy starts or ends a client's write of a key.
func (f *Fence) SetBusy(name string, busy bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy == nil {
		f.busy = map[string]bool{}
	}
	f.busy[name] = busy
}

// Want checks which keys are begun, and that nothing was ended without having been begun.
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
