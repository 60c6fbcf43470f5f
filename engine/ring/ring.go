// Package ring carries one stream of bytes from one writer to several readers
// through a fixed, pooled piece of memory.
//
// The stream is a whole HTTP request message as sent to the backends: the head, then the body as it
// arrives. Each reader has its own position in it. The slowest attached reader holds the writer
// back, but only once it is a whole ring behind. A reader may leave at any time.
//
// A stream ends in one of three ways: [Ring.Close] (the message is complete), [Ring.Cancel] (it
// never will be; readers fail, so that no backend takes a truncated object for a whole one), or all
// readers leave (the writer gets [ErrNoReaders]).
//
// Ownership: whoever calls [Get] owns the ring and hands out its readers by number. The owner
// returns the memory to its pool with [Ring.Put] after the writer has stopped and every reader has
// left; it counts them itself.
//
// Goroutines: one goroutine writes (Reserve, Publish, Write, Close), and one goroutine per reader
// reads (Next, Advance, Rewind, Detach). Cancel and Leave may be called from any goroutine. One
// mutex covers everything: a lock-free ring would gain nothing, because each step is followed by a
// system call of thousands of cycles.
package ring

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrNoReaders tells the writer that the last reader has left.
	ErrNoReaders = errors.New("ring: no readers left")
	// ErrCut tells a reader that it held the writer back for too long (R10).
	ErrCut = errors.New("ring: reader cut: it held the writer back for too long")
	// ErrLeft tells a reader that Leave was called for it.
	ErrLeft = errors.New("ring: reader has left")
	// ErrOutside tells a reader that its next bytes are outside the ring.
	ErrOutside = errors.New("ring: bytes are outside of the ring")
	// ErrCanceled tells the writer and all readers that the stream was canceled.
	ErrCanceled = errors.New("ring: canceled")
)

// reader is one reader's position and state.
type reader struct {
	pos      int64         // bytes of the stream it has consumed
	stalled  time.Duration // how long it has held the writer back in total (R10)
	attached bool
	cut      bool
	left     bool // Leave was called
	holding  bool // the writer waits for it
}

// Ring is a stream in progress. The package comment says who may call what.
type Ring struct {
	mu   sync.Mutex
	data sync.Cond // readers wait here for bytes

	buf      []byte
	written  int64 // bytes published
	reserved int64 // end of the room that the writer may be filling now
	readers  []reader
	attached int
	closed   bool
	draining bool   // the writer waits until all readers have consumed everything
	outside  bool   // bytes have been published that are not in the ring
	inside   int64  // bytes published before those
	kept     bool   // the bytes outside stay available from the first one on
	err      error  // set by Cancel
	held     uint64 // readers that are kept heldTail behind, until Free (R29)

	ending *atomic.Bool // Options.Ending; nil once it is set

	space   chan struct{} // the writer waits here for room; capacity 1
	blocked bool          // the writer is waiting
	woken   bool          // space has been signaled
	timer   *time.Timer   // stopped unless the writer waits for laggards
	waited  time.Duration

	// stallTimeout is how long in total a reader may hold the writer back while another reader is
	// idle. onCut is then called, without the lock.
	stallTimeout time.Duration
	total        int64 // length of the stream; 0 if unknown
	onCut        func(reader int)
	onLag        func(reader int, waited, total time.Duration) (cut bool)
}

// Options say how to carry a stream.
type Options struct {
	// Size is the memory in bytes. A power of two of at least 4 KiB comes from that size class's
	// pool; other sizes are allocated. See SizeFor.
	Size int
	// Head is the beginning of the stream; it must fit into the ring.
	Head []byte
	// Readers is the number of readers; all are attached from the start.
	Readers int
	// StallTimeout is how long in total a reader may hold the writer back while another reader is
	// idle (R10). 0 means forever. One that is nearly through has twice as long.
	StallTimeout time.Duration
	// Total is the length of the whole stream, or 0 if it is not known.
	Total int64
	// Ending, unless nil, is set before a reader may have what is nearer than heldTail to the stream's
	// end. Where Total is not known it is set by Close: a writer whose stream may be taken for whole
	// before that has to set it itself.
	Ending *atomic.Bool
	// OnCut is called on the writer's goroutine when it cuts a reader. It must make that reader's
	// goroutine call Detach soon, by aborting what the reader writes to; until then the memory that
	// the reader may be using is not overwritten.
	OnCut func(reader int)
	// OnLag is called on the writer's goroutine when it has waited for a reader while another one was
	// idle, total in sum, and several times within StallTimeout. If it returns true the reader is cut,
	// before its time. May be nil.
	OnLag func(reader int, waited, total time.Duration) (cut bool)
}

// Get returns a ring for a new stream.
func Get(o Options) *Ring {
	r := fromPool(o.Size)
	r.written = int64(copy(r.buf, o.Head))
	r.reserved = r.written
	r.stallTimeout, r.total, r.onCut, r.onLag = o.StallTimeout, o.Total, o.OnCut, o.OnLag
	if cap(r.readers) < o.Readers {
		r.readers = make([]reader, o.Readers)
	}
	r.ending = o.Ending
	r.readers = r.readers[:o.Readers]
	for i := range r.readers {
		r.readers[i] = reader{attached: true}
	}
	r.attached = o.Readers
	return r
}

// Put gives the ring's memory back. No goroutine may use the ring afterwards.
func (r *Ring) Put() {
	if r.woken && len(r.space) > 0 {
		<-r.space
	}
	r.onCut, r.onLag, r.err, r.woken, r.held, r.ending = nil, nil, nil, false, 0, nil
	r.written, r.reserved, r.inside, r.waited = 0, 0, 0, 0
	r.closed, r.blocked, r.draining, r.outside, r.kept = false, false, false, false, false
	toPool(r)
}

// Size is the ring's memory in bytes.
func (r *Ring) Size() int { return len(r.buf) }

// Reserve returns contiguous room for the writer to fill: all that is free in one piece, at least
// one byte. It waits while the slowest reader is a whole ring behind. Publish makes the filled
// bytes readable. Errors: ErrNoReaders, ErrCanceled.
func (r *Ring) Reserve() ([]byte, error) {
	r.mu.Lock()
	for {
		if r.err != nil {
			r.mu.Unlock()
			return nil, r.err
		}
		if r.attached == 0 {
			r.mu.Unlock()
			return nil, ErrNoReaders
		}
		if free := int64(len(r.buf)) - (r.written - r.slowestLocked()); free > 0 {
			at := r.written % int64(len(r.buf))
			n := min(free, int64(len(r.buf))-at)
			r.reserved = r.written + n
			r.mu.Unlock()
			return r.buf[at : at+n], nil
		}
		r.waitLocked()
	}
}

// Drain waits until every attached reader has consumed all that was published. Errors:
// ErrNoReaders, ErrCanceled.
func (r *Ring) Drain() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	defer func() { r.draining = false }()
	for {
		switch {
		case r.err != nil:
			return r.err
		case r.attached == 0:
			return ErrNoReaders
		case r.slowestLocked() == r.written:
			return nil
		}
		r.waitLocked()
	}
}

// PublishOutside announces n more bytes of the stream that each reader finds elsewhere. Once a
// reader has consumed what is inside the ring, Next returns ErrOutside, Pending is the number of
// bytes, and Advance consumes them. Reserve and Publish must not be called afterwards.
func (r *Ring) PublishOutside(n int64) {
	r.mu.Lock()
	if !r.outside {
		r.outside, r.inside = true, r.written
	}
	r.written += n
	r.noteEndingLocked()
	r.data.Broadcast()
	r.mu.Unlock()
}

// MoveOutside announces that the first n bytes of the stream, including everything published in the
// ring, are elsewhere. With kept they are the whole stream and stay available there, so that,
// unlike after PublishOutside, a reader can be rewound. It must be called before the first Next.
func (r *Ring) MoveOutside(n int64, kept bool) {
	r.mu.Lock()
	r.outside, r.kept, r.inside, r.written = true, kept, 0, n
	r.noteEndingLocked()
	r.data.Broadcast()
	r.mu.Unlock()
}

// heldTail is how much of a stream a reader does not get that is held. A storage may take
// an object for whole before it has the last of what frames it (the last chunk, a trailer),
// so that this has to be more than that.
const heldTail = 2 << 10

// Hold keeps a set of readers, bit i for reader i, from the end of the stream until Free:
// each gets what has heldTail bytes behind it. They hold nobody back meanwhile, and nobody
// is a laggard because they are idle. It has to be called before their first Next.
func (r *Ring) Hold(set uint64) {
	r.mu.Lock()
	r.held = set
	r.mu.Unlock()
}

// Free lets go of those that are held, from any goroutine.
func (r *Ring) Free() {
	r.mu.Lock()
	r.held = 0
	r.data.Broadcast()
	r.mu.Unlock()
}

// FreeOne lets go of reader i alone.
func (r *Ring) FreeOne(i int) {
	r.mu.Lock()
	r.held &^= 1 << i
	r.data.Broadcast()
	r.mu.Unlock()
}

// endLocked is how much of what was published reader i may have.
func (r *Ring) endLocked(i int) int64 {
	if r.held&(1<<i) != 0 {
		return max(r.written-heldTail, 0)
	}
	return r.written
}

// Attached is the set of readers that have not left, bit i for reader i.
func (r *Ring) Attached() (set uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.readers {
		if r.readers[i].attached {
			set |= 1 << i
		}
	}
	return set
}

// slowestLocked is the position of the attached reader that is furthest behind.
func (r *Ring) slowestLocked() int64 {
	pos := r.written
	for i := range r.readers {
		if r.readers[i].attached {
			pos = min(pos, r.readers[i].pos)
		}
	}
	return pos
}

// Publish makes the first n bytes of what Reserve returned readable.
func (r *Ring) Publish(n int) { r.publish(n, false) }

// PublishLast is Publish followed by Close.
func (r *Ring) PublishLast(n int) { r.publish(n, true) }

func (r *Ring) publish(n int, last bool) {
	if n == 0 && !last {
		return
	}
	r.mu.Lock()
	r.written += int64(n)
	r.closed = last
	r.noteEndingLocked()
	r.data.Broadcast()
	r.mu.Unlock()
}

// Write copies p into the stream, waiting for room like Reserve.
func (r *Ring) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		room, err := r.Reserve()
		if err != nil {
			return done, err
		}
		n := copy(room, p[done:])
		r.Publish(n)
		done += n
	}
	return done, nil
}

// Close ends the stream: what was published is the whole message. It may be called more than once.
func (r *Ring) Close() {
	if r.closed { // only the writer's goroutine changes it
		return
	}
	r.mu.Lock()
	r.closed = true
	r.noteEndingLocked()
	r.data.Broadcast()
	r.mu.Unlock()
}

// noteEndingLocked sets Options.Ending where it is time to.
func (r *Ring) noteEndingLocked() {
	if r.ending != nil && (r.closed || r.total > 0 && r.written > r.total-heldTail) {
		r.ending.Store(true)
		r.ending = nil
	}
}

// Cancel aborts the stream: from now on readers and writer get ErrCanceled, even for bytes
// published before (R6).
func (r *Ring) Cancel() {
	r.mu.Lock()
	if r.err == nil && !r.closed {
		r.err = ErrCanceled
	}
	r.data.Broadcast()
	r.wakeWriterLocked()
	r.mu.Unlock()
}

// Bytes is everything published so far, as long as that fits into the ring; the memory behind it is
// the writer's room. Only the writer's goroutine may call it, before the first Advance.
func (r *Ring) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf[:r.written]
}

// Message returns the whole message if it is complete and the ring still holds its first byte.
func (r *Ring) Message() ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed || r.err != nil || r.outside || r.wrappedLocked() {
		return nil, false
	}
	return r.buf[:r.written], true
}

// wrappedLocked reports whether the stream's first byte may have been overwritten.
func (r *Ring) wrappedLocked() bool {
	if r.outside {
		return !r.kept
	}
	return max(r.written, r.reserved) > int64(len(r.buf))
}

// Waited is how long the writer has waited for room so far. It is for the writer's goroutine, and
// for the owner once the writer has stopped.
func (r *Ring) Waited() time.Duration { return r.waited }

// Stalled is how long a reader has held the writer back for others, in total.
func (r *Ring) Stalled(reader int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readers[reader].stalled
}
