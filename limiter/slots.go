package limiter

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// chunkSize is how many slots a table grows by.
const chunkSize = 256

// free stands in slot.answered while nobody has the slot.
const free = math.MinInt64

// unanswered stands in slot.answered until the client has its answer: a negative
// number of the slot's own, so that Answered with an old number finds another one.
func unanswered(number int32) int64 { return -1 - int64(number) }

// slot is one busy connection, or a free place for one.
type slot struct {
	progress atomic.Int64 // when bytes last moved
	answered atomic.Int64 // when the client was answered; or unanswered(number); or free

	// Under the Limiter's mu.
	number int32 // as given out: the index, and a generation above it
	next   int32 // the free slot after this one, or -1

	_ [40]byte // a cache line each
}

// table holds one backend's slots. A slot's number is given out under the
// Limiter's mutex and used without it: chunks has its full length from the
// start, and an element is set before any of its slots is given out.
//
// It cannot overflow: a backend takes slots only in the pool, where its busy
// ones are part of a sum that the limit bounds.
type table struct {
	chunks []*[chunkSize]slot
	shift  int      // bits of the index in a number
	_      [64]byte // not in a cache line with what changes all the time
	used   int32    // slots ever given out; the ones from here on are untouched
	first  int32    // the free slot to give out next, or -1; last in, first out
}

func (t *table) init(size int) {
	t.chunks = make([]*[chunkSize]slot, (size+chunkSize-1)/chunkSize)
	t.first = -1
	t.shift = bits.Len(uint(size - 1))
}

func (t *table) at(number int32) *slot {
	i := number & (1<<t.shift - 1)
	return &t.chunks[i/chunkSize][i%chunkSize]
}

func (t *table) takeLocked(now int64) (number int32) {
	if t.first < 0 {
		t.growLocked()
	}
	s := t.at(t.first)
	t.first = s.next
	// The generation wraps; the sign bit stays clear.
	s.number = (s.number + 1<<t.shift) & math.MaxInt32
	s.progress.Store(now)
	s.answered.Store(unanswered(s.number))
	return s.number
}

// growLocked puts the first untouched slot on the free list.
func (t *table) growLocked() {
	i := t.used
	if i%chunkSize == 0 {
		t.chunks[i/chunkSize] = new([chunkSize]slot)
	}
	t.used++
	s := t.at(i)
	s.number, s.next = i, -1
	t.first = i
}

// giveLocked says no where the slot is not busy under this number.
func (t *table) giveLocked(number int32) bool {
	s := t.at(number)
	if s.number != number || s.answered.Load() == free {
		return false
	}
	s.answered.Store(free)
	s.next = t.first
	t.first = number & (1<<t.shift - 1)
	return true
}

// stalledLocked counts the busy slots that made no progress for so long, or
// whose client has had its answer for so long (R13).
func (t *table) stalledLocked(now, after int64) int {
	n := 0
	for i := range t.used {
		s := &t.chunks[i/chunkSize][i%chunkSize]
		a := s.answered.Load()
		if a == free {
			continue
		}
		if now-s.progress.Load() >= after || a >= 0 && now-a >= after {
			n++
		}
	}
	return n
}
