package model

import "sync"

// fence is the engine's table of writes under way (engine/order_table.go), and the order in
// which legs go to a backend (R19). It is repair's Fence, too.
type fence struct {
	mu   sync.Mutex
	runs map[string]*run        // by key
	legs map[string][]*inFlight // by backend and key
}

// run is a run of writes to one key, each of which is under way together with another one.
type run struct {
	open               int
	writes             int
	landed             bool
	stored             uint64
	repairing, touched bool
	sealed             chan struct{}
}

// inFlight is a leg under way. answered: its client has heard of the write.
type inFlight struct {
	of   *write
	done chan struct{}
}

func newFence() *fence { return &fence{runs: map[string]*run{}, legs: map[string][]*inFlight{}} }

func name(bucket, key string) string { return bucket + "/" + key }

func (f *fence) begin(key string) {
	for {
		f.mu.Lock()
		r := f.runs[key]
		if r == nil {
			r = &run{}
			f.runs[key] = r
		}
		sealed := r.sealed
		if sealed == nil {
			r.open++
			r.writes++
			r.touched = true
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		<-sealed
	}
}

func (f *fence) overlapped(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs[key].writes > 1 || f.runs[key].repairing
}

func (f *fence) end(key string, took uint64, landed bool) (stored uint64, concurrent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.runs[key]
	concurrent = r.landed && took != 0
	r.landed = r.landed || landed
	r.stored |= took
	return r.stored, concurrent
}

func (f *fence) leave(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leaveLocked(key)
}

func (f *fence) leaveLocked(key string) {
	if f.runs[key].open--; f.runs[key].open == 0 {
		delete(f.runs, key)
	}
}

// Begin is repair.Fence's, and so are the next three.
func (f *fence) Begin(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.runs[name(bucket, key)] != nil {
		return false
	}
	f.runs[name(bucket, key)] = &run{open: 1, landed: true, stored: all, repairing: true}
	return true
}

func (f *fence) End(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.runs[name(bucket, key)]
	r.unseal()
	r.repairing = false
	f.leaveLocked(name(bucket, key))
	return !r.touched
}

func (f *fence) Seal(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.runs[name(bucket, key)]
	if r == nil || !r.repairing || r.touched || r.sealed != nil {
		return false
	}
	r.sealed = make(chan struct{})
	return true
}

func (f *fence) Unseal(bucket, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.runs[name(bucket, key)]; r != nil {
		r.unseal()
	}
}

func (r *run) unseal() {
	if r.sealed != nil {
		close(r.sealed)
		r.sealed = nil
	}
}

// queue enters a leg for each key that it writes or reads, and gives what it has to wait
// for: the legs to that backend of writes that were answered before it began.
func (f *fence) queue(backend string, w *write, keys []string) (leg *inFlight, wait []*inFlight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	leg = &inFlight{of: w, done: make(chan struct{})}
	for _, key := range keys {
		for _, earlier := range f.legs[backend+" "+key] {
			if earlier.of.answered.Load() {
				wait = append(wait, earlier)
			}
		}
		f.legs[backend+" "+key] = append(f.legs[backend+" "+key], leg)
	}
	return leg, wait
}

func (f *fence) dequeue(backend string, leg *inFlight, keys []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(leg.done)
	for _, key := range keys {
		k := backend + " " + key
		var rest []*inFlight
		for _, l := range f.legs[k] {
			if l != leg {
				rest = append(rest, l)
			}
		}
		f.legs[k] = rest
	}
}
