package model

import (
	"slices"
	"sync"

	"github.com/akubra/akubra/synclog/journal"
)

// fence is the engine's table of writes under way (engine/order_table.go), and the order in
// which legs go to a backend (R19). It is repair's Fence, too.
type fence struct {
	mu     sync.Mutex
	runs   map[string]*run        // by key
	legs   map[string][]*inFlight // by backend and key
	copies map[string][]*write    // by the key that they read
}

// run is a run of writes to one key, each of which is under way together with another one.
type run struct {
	open               int
	turns              []*turn // clients' writes, the ended ones too
	begun              int
	repairing, touched bool
	sealed             chan struct{}
}

// turn is a client's write to a key. beside are those that overlap with it: neither client was told before
// the other one's write began (R19).
type turn struct {
	of            *write
	beside        []*turn
	ended, landed bool
	took          uint64
	number, upTo  int            // upTo: the newest one when it ended
	entry         *journal.Entry // for the journal, which would not know it else (engine/order_beside.go)
}

// inFlight is a leg under way. answered: its client has heard of the write.
type inFlight struct {
	of   *write
	done chan struct{}
}

func newFence() *fence {
	return &fence{runs: map[string]*run{}, legs: map[string][]*inFlight{}, copies: map[string][]*write{}}
}

func name(bucket, key string) string { return bucket + "/" + key }

func (f *fence) begin(key string, w *write) {
	for {
		f.mu.Lock()
		r := f.runs[key]
		if r == nil {
			r = &run{}
			f.runs[key] = r
		}
		sealed := r.sealed
		if sealed == nil {
			r.enter(w)
			for _, c := range f.copies[key] {
				if c != w && !c.answered.Load() {
					c.either.Store(true)
				}
			}
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		<-sealed
	}
}

func (r *run) enter(w *write) {
	r.begun++
	t := &turn{of: w, number: r.begun}
	for _, e := range r.turns {
		if !e.of.answered.Load() && !e.ended {
			t.beside, e.beside = append(t.beside, e), append(e.beside, t)
		}
	}
	r.turns = append(r.turns, t)
	r.open++
	r.touched = true
}

// beginReading notes that a copy reads its source, perhaps beside a write to that (engine/order_copies.go).
func (f *fence) beginReading(w *write) {
	if w.from == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.runs[w.from]; r != nil {
		for _, t := range r.turns {
			if t.of != w && !t.of.answered.Load() && !t.ended {
				w.either.Store(true)
			}
		}
	}
	f.copies[w.from] = append(f.copies[w.from], w)
}

func (f *fence) endReading(w *write) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.copies[w.from] = slices.DeleteFunc(f.copies[w.from], func(c *write) bool { return c == w })
}

func (f *fence) turnLocked(key string, w *write) *turn {
	turns := f.runs[key].turns
	return turns[slices.IndexFunc(turns, func(t *turn) bool { return t.of == w })]
}

func (f *fence) overlapped(key string, w *write) (is, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	either := w.either.Load()
	return either || len(f.turnLocked(key, w).beside) > 0, !either
}

// end gives what the journal has to be told beside, too: what ended before it, unless another one came behind
// that everywhere. e is what it will be told of this one.
func (f *fence) end(key string, w *write, took uint64, landed bool, e *journal.Entry) (stored uint64, concurrent bool, beside []journal.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.turnLocked(key, w)
	t.ended, t.landed, t.took, t.upTo = true, landed, took, f.runs[key].begun
	concurrent = w.either.Load() && took&(took-1) != 0
	for _, b := range t.beside {
		concurrent = concurrent || b.landed && took != 0
		stored |= b.took
		behind := func(o *turn) bool { return o.ended && o.number > b.upTo }
		if b.entry != nil && !slices.ContainsFunc(t.beside, behind) {
			beside = append(beside, *b.entry)
		}
	}
	if !concurrent {
		t.entry = e
	}
	return stored | took, concurrent, beside
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
	f.runs[name(bucket, key)] = &run{open: 1, repairing: true}
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
