package limiter

import (
	"math"
	"sync"
	"sync/atomic"
)

// A slot's number holds its index in the table and, in the bits above, a generation.
const (
	chunkShift = 8
	chunkSize  = 1 << chunkShift // how many slots a table grows by

	// maxLimit bounds the busy slots of one backend. maxSlots adds room for slots that TryBegin has
	// taken and may have to give back because the limit is reached.
	maxLimit = 1 << 20
	maxSlots = 2 * maxLimit
)

// free is the value of slot.answered while the slot is free.
const free = math.MinInt64

// unanswered is the value of slot.answered until the client has been answered: a negative number
// derived from the slot's number, so that a late Answered with an old number does not match.
func unanswered(number int32) int64 { return -1 - int64(number) }

// slot is one busy connection, or a free place for one.
type slot struct {
	progress atomic.Int64 // when bytes last moved
	answered atomic.Int64 // when the client was answered; or unanswered(number); or free

	number int32        // number of the last use; belongs to the owner
	next   atomic.Int32 // while the slot is free: the next one on the free list, encoded as head.first

	_ [40]byte // a cache line each
}

// head is a backend's whole count in one word, so that one compare-and-swap takes or gives a slot.
// It holds the number of taken slots, the first slot of the free list (index plus one, or 0), and a
// tag that changes with every swap, which rules out the ABA problem. The tag repeats only after
// four million swaps within one attempt.
type head uint64

const (
	firstBits = 21 // enough for maxSlots and the 0
	takenBits = 21
	tagShift  = firstBits + takenBits
)

func (h head) first() int32 { return int32(h & (1<<firstBits - 1)) }
func (h head) taken() int   { return int(h >> firstBits & (1<<takenBits - 1)) }

// with returns the head that follows h.
func (h head) with(first int32, taken int) head {
	return (h>>tagShift+1)<<tagShift | head(taken)<<firstBits | head(first)
}

// table holds one backend's slots. Any goroutine may take and give; a slot belongs to the goroutine
// that took it. The free slots form a stack: the one used last is used next.
type table struct {
	shift  int // bits of the index in a number
	chunks []atomic.Pointer[[chunkSize]slot]

	mu   sync.Mutex   // guards growth
	used atomic.Int32 // slots in chunks, including those in use

	_    [64]byte // keeps head, which changes all the time, off this cache line
	head atomic.Uint64
	_    [64]byte
}

// init makes room for limit busy slots.
func (t *table) init(limit int) {
	size := min(2*limit, maxSlots-chunkSize)
	t.chunks = make([]atomic.Pointer[[chunkSize]slot], (size+chunkSize-1)/chunkSize)
	t.shift = chunkShift
	for 1<<t.shift < len(t.chunks)*chunkSize {
		t.shift++
	}
}

func (t *table) taken() int { return head(t.head.Load()).taken() }

func (t *table) at(index int32) *slot {
	return &t.chunks[index>>chunkShift].Load()[index&(chunkSize-1)]
}

func (t *table) of(number int32) *slot { return t.at(number & (1<<t.shift - 1)) }

// take takes a free slot and returns its index, or -1 if there is no room for another one. The slot
// is not busy until use is called.
func (t *table) take() (index int32) {
	for {
		h := head(t.head.Load())
		first := h.first()
		if first == 0 {
			if !t.grow() {
				return -1
			}
			continue
		}
		next := t.at(first - 1).next.Load()
		if t.head.CompareAndSwap(uint64(h), uint64(h.with(next, h.taken()+1))) {
			return first - 1
		}
	}
}

// use makes a taken slot busy and returns its number.
func (t *table) use(index int32, now int64) (number int32) {
	s := t.at(index)
	// The generation wraps around; the sign bit stays clear.
	s.number = (s.number+1<<t.shift)&math.MaxInt32&^(1<<t.shift-1) | index
	s.progress.Store(now)
	s.answered.Store(unanswered(s.number))
	return s.number
}

// give gives back a taken slot.
func (t *table) give(index int32) {
	s := t.at(index)
	for {
		h := head(t.head.Load())
		if first := h.first(); s.next.Load() != first {
			s.next.Store(first)
		}
		if t.head.CompareAndSwap(uint64(h), uint64(h.with(index+1, h.taken()-1))) {
			return
		}
	}
}

// end gives back the busy slot with that number. It reports whether there was one.
func (t *table) end(number int32) bool {
	s := t.of(number)
	if s.number != number || s.answered.Swap(free) == free {
		return false
	}
	t.give(number & (1<<t.shift - 1))
	return true
}

// grow adds a chunk of free slots if none is free. It returns false if there is no room for one.
func (t *table) grow() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if head(t.head.Load()).first() != 0 {
		return true // another goroutine has grown the table, or a slot came back
	}
	used := t.used.Load()
	if int(used) == len(t.chunks)*chunkSize {
		return false
	}
	chunk := new([chunkSize]slot)
	for i := range chunk {
		chunk[i].answered.Store(free)
		chunk[i].next.Store(used + int32(i) + 2) // the one after it
	}
	t.chunks[used>>chunkShift].Store(chunk)
	t.used.Store(used + chunkSize)
	for {
		h := head(t.head.Load())
		chunk[chunkSize-1].next.Store(h.first())
		if t.head.CompareAndSwap(uint64(h), uint64(h.with(used+1, h.taken()))) {
			return true
		}
	}
}

// count returns how many slots are busy and how many of these are stalled: no progress for at least
// after, or a client that was answered at least that long ago (R13). longest is the longest such
// wait. Other goroutines may take and give slots meanwhile.
func (t *table) count(now, after int64) (busy, stalled int, longest int64) {
	for c := range t.used.Load() / chunkSize {
		chunk := t.chunks[c].Load()
		for i := range chunk {
			s := &chunk[i]
			a := s.answered.Load()
			if a == free {
				continue
			}
			busy++
			wait := now - s.progress.Load()
			if a >= 0 {
				wait = max(wait, now-a)
			}
			if wait >= after {
				stalled++
				longest = max(longest, wait)
			}
		}
	}
	return busy, stalled, longest
}
