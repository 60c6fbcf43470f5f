// Package ring carries one stream of bytes from one writer to several readers
// through a fixed, pooled piece of memory.
//
// The stream is a whole HTTP request message as it goes to the backends: the
// head, then the body while it arrives. Each reader has its own place in it.
// The writer is held back by the slowest reader that is still attached, and
// only once that one is a whole ring behind. A reader may leave at any time.
//
// Three things can end a stream, and they are three verbs: [Ring.Close] (the
// message is complete), [Ring.Cancel] (it never will be: readers fail, so that
// no backend takes a short object for a whole one) and the readers' own leaving
// (the writer gets [ErrNoReaders]).
//
// Ownership: whoever calls [Get] owns the ring and hands out its readers by
// number. Memory goes back to its pool with [Ring.Put], which the owner calls
// after the writer has stopped and every reader has left; the owner counts them.
//
// Goroutines: one goroutine writes (Reserve, Publish, Write, Close), one
// goroutine a reader reads it (Next, Advance, Rewind, Detach). Cancel and Leave
// may be called from any goroutine. Everything is published and waited for under one
// mutex: a lock-free ring has nothing to win here, where each step is followed
// by a system call of thousands of cycles.
package ring

import (
	"errors"
	"io"
	"sync"
	"time"
)

var (
	// ErrNoReaders tells the writer that the last reader has left.
	ErrNoReaders = errors.New("ring: no readers left")
	// ErrCut tells a reader that it held the writer back for too long (R10).
	ErrCut = errors.New("ring: reader cut: it held the writer back for too long")
	// ErrLeft tells a reader that Leave was called for it.
	ErrLeft = errors.New("ring: reader has left")
	// ErrOutside tells a reader that its next bytes are outside of the ring.
	ErrOutside = errors.New("ring: bytes are outside of the ring")
	// ErrCanceled tells everyone that the stream ended short.
	ErrCanceled = errors.New("ring: canceled")
)

// reader is one reader's place in the stream.
type reader struct {
	pos      int64         // bytes of the stream it has let go of
	stalled  time.Duration // how long it has held the writer back, in sum (R10)
	attached bool
	cut      bool
	left     bool // Leave was called
	holding  bool // the writer waits for it
}

// Ring is a stream under way. See the package's comment for who may call what.
type Ring struct {
	mu   sync.Mutex
	data sync.Cond // readers wait here for bytes

	buf      []byte
	written  int64 // bytes published
	reserved int64 // end of what the writer may be filling now
	readers  []reader
	attached int
	closed   bool
	draining bool  // the writer waits for all readers to have read everything
	outside  bool  // PublishOutside was called
	inside   int64 // what was published before that
	err      error // set by Cancel

	space   chan struct{} // the writer waits here for room; capacity 1
	blocked bool          // the writer is waiting
	timer   *time.Timer   // stopped unless the writer waits for laggards
	waited  time.Duration

	// stallTimeout is how long, in sum, one reader may hold the writer back
	// while another one does not; onCut is then called, outside of the lock.
	stallTimeout time.Duration
	onCut        func(reader int)
}

// Options say how a stream is to be carried.
type Options struct {
	// Size is the memory in bytes. A power of two of at least 4 KiB is taken
	// from a pool of that size class, others are made anew; see SizeFor.
	Size int
	// Readers is how many readers there are; all are attached from the start.
	Readers int
	// StallTimeout is how long a reader may hold the writer back, in sum, while
	// another one does not (R10). 0 means for ever.
	StallTimeout time.Duration
	// OnCut is called by the writer's goroutine when it cuts a reader. It has
	// to make that reader's goroutine call Detach soon (by aborting what it
	// writes to): until then the reader's memory is not written over.
	OnCut func(reader int)
}

// Get returns a ring for a new stream.
func Get(o Options) *Ring {
	r := fromPool(o.Size)
	r.stallTimeout, r.onCut = o.StallTimeout, o.OnCut
	if cap(r.readers) < o.Readers {
		r.readers = make([]reader, o.Readers)
	}
	r.readers = r.readers[:o.Readers]
	for i := range r.readers {
		r.readers[i] = reader{attached: true}
	}
	r.attached = o.Readers
	return r
}

// Put gives the ring's memory back. No goroutine may use the ring any more.
func (r *Ring) Put() {
	select {
	case <-r.space:
	default:
	}
	r.onCut, r.err = nil, nil
	r.written, r.reserved, r.inside, r.waited = 0, 0, 0, 0
	r.closed, r.blocked, r.draining, r.outside = false, false, false, false
	toPool(r)
}

// Size is the ring's memory in bytes.
func (r *Ring) Size() int { return len(r.buf) }

// Reserve returns room for the writer to fill: at least one byte, as much as is
// free in one piece. It waits while the slowest reader is a whole ring behind.
// What was filled becomes readable with Publish. Errors: ErrNoReaders,
// ErrCanceled.
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

// Drain waits until every attached reader has let go of all that was published.
// Errors: ErrNoReaders, ErrCanceled.
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

// PublishOutside announces n bytes of the stream that each reader finds
// elsewhere: Next tells it so once it has read what is inside, Pending how many
// they are, and Advance lets go of them. Reserve and Publish must not be called
// any more after it.
func (r *Ring) PublishOutside(n int64) {
	r.mu.Lock()
	if !r.outside {
		r.outside, r.inside = true, r.written
	}
	r.written += n
	r.data.Broadcast()
	r.mu.Unlock()
}

// Pending is how many bytes outside of the ring reader i has not let go of.
func (r *Ring) Pending(i int) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written - max(r.readers[i].pos, r.inside)
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

// slowestLocked is the place of the attached reader that is furthest behind.
func (r *Ring) slowestLocked() int64 {
	pos := r.written
	for i := range r.readers {
		if r.readers[i].attached {
			pos = min(pos, r.readers[i].pos)
		}
	}
	return pos
}

// waitLocked waits until a reader that holds the writer back has moved or left,
// or until one has used up its StallTimeout, which it then cuts. The lock is
// released while it waits and while OnCut runs.
func (r *Ring) waitLocked() {
	left, laggards := r.holdersLocked()
	r.blocked = true
	start := time.Now()
	r.mu.Unlock()
	if laggards {
		if r.timer == nil {
			r.timer = time.NewTimer(left)
		} else {
			r.timer.Reset(left)
		}
		select {
		case <-r.space:
		case <-r.timer.C:
		}
		r.timer.Stop()
	} else {
		<-r.space
	}
	waited := time.Since(start)
	r.mu.Lock()
	r.blocked = false
	r.waited += waited
	if laggards {
		r.chargeLocked(waited)
	}
}

// holdersLocked marks the readers that hold the writer back, and tells how long
// the first of them has left before it is cut. They are laggards only
// while another reader idles, having read all there is: only then does the wait
// cost anything that would not have been waited for without them (R10). Readers
// that are all slow, though never at the same place, wait for nobody.
func (r *Ring) holdersLocked() (left time.Duration, laggards bool) {
	left = r.stallTimeout
	for i := range r.readers {
		rd := &r.readers[i]
		behind := r.written - rd.pos
		rd.holding = rd.attached && (behind == int64(len(r.buf)) || r.draining && behind > 0)
		if rd.holding && !rd.cut {
			left = min(left, r.stallTimeout-rd.stalled)
		}
	}
	return left, r.stallTimeout > 0 && r.idlerLocked()
}

// idlerLocked tells whether a reader has read all there is. The last reader of
// a stream cannot be cut, because none but itself could be the idle one.
func (r *Ring) idlerLocked() bool {
	for i := range r.readers {
		if rd := &r.readers[i]; rd.attached && !rd.cut && rd.pos == r.written {
			return true
		}
	}
	return false
}

// chargeLocked puts the wait down to the readers that caused it, and cuts those
// that have used up their StallTimeout. The idle reader may have left meanwhile,
// also during OnCut: it is looked for anew each time.
func (r *Ring) chargeLocked(waited time.Duration) {
	for i := range r.readers {
		rd := &r.readers[i]
		if !rd.holding {
			continue
		}
		rd.stalled += waited
		if rd.attached && !rd.cut && rd.stalled >= r.stallTimeout && r.idlerLocked() {
			rd.cut = true
			r.data.Broadcast()
			if r.onCut != nil {
				r.mu.Unlock()
				r.onCut(i)
				r.mu.Lock()
			}
		}
	}
}

// wakeWriterLocked makes a waiting writer look again.
func (r *Ring) wakeWriterLocked() {
	if r.blocked {
		r.blocked = false // once a wait is enough
		select {
		case r.space <- struct{}{}:
		default:
		}
	}
}

// Publish makes the first n bytes of what Reserve returned readable.
func (r *Ring) Publish(n int) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	r.written += int64(n)
	r.data.Broadcast()
	r.mu.Unlock()
}

// Write copies p into the stream, waiting for room as Reserve does.
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

// Close ends the stream: what was published is the whole message.
func (r *Ring) Close() {
	r.mu.Lock()
	r.closed = true
	r.data.Broadcast()
	r.mu.Unlock()
}

// Cancel ends the stream short: from now on readers and writer get ErrCanceled,
// also for bytes that were published before (R6).
func (r *Ring) Cancel() {
	r.mu.Lock()
	if r.err == nil && !r.closed {
		r.err = ErrCanceled
	}
	r.data.Broadcast()
	r.wakeWriterLocked()
	r.mu.Unlock()
}

// Message returns the whole message if it is complete and the ring still holds
// its first byte. Only the writer's goroutine may call it.
func (r *Ring) Message() ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed || r.err != nil || r.wrappedLocked() {
		return nil, false
	}
	return r.buf[:r.written], true
}

// wrappedLocked tells whether the stream's first byte may have been written over.
func (r *Ring) wrappedLocked() bool {
	return r.outside || max(r.written, r.reserved) > int64(len(r.buf))
}

// Waited is how long the writer has waited for room so far.
func (r *Ring) Waited() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waited
}

// Next returns the bytes that reader i has not let go of yet, as many as lie in
// one piece, and waits while there are none. They stay valid until Advance or
// Detach. Errors: io.EOF at the end of the message, ErrOutside, ErrCanceled, ErrCut,
// ErrLeft.
func (r *Ring) Next(i int) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rd := &r.readers[i]
	for {
		switch {
		case rd.cut:
			return nil, ErrCut
		case rd.left:
			return nil, ErrLeft
		case r.err != nil:
			return nil, r.err
		case rd.pos < r.written && r.outside && rd.pos >= r.inside:
			return nil, ErrOutside
		case rd.pos < r.written:
			end := r.written
			if r.outside {
				end = r.inside
			}
			at := rd.pos % int64(len(r.buf))
			n := min(end-rd.pos, int64(len(r.buf))-at)
			return r.buf[at : at+n], nil
		case r.closed:
			return nil, io.EOF
		}
		r.data.Wait()
	}
}

// Advance lets go of the first n bytes of what Next returned to reader i.
func (r *Ring) Advance(i, n int) {
	r.mu.Lock()
	rd := &r.readers[i]
	rd.pos += int64(n)
	behind := r.written - rd.pos
	// Waking the writer for every few bytes of a slow reader would cost more
	// than it brings: it sleeps until a quarter of the ring is free. A reader
	// that idles from now on turns the others into laggards (R10).
	if behind == 0 || rd.holding && behind <= int64(len(r.buf))/4*3 {
		r.wakeWriterLocked()
	}
	r.mu.Unlock()
}

// Rewind puts reader i back to the first byte of the stream, and tells whether
// it could: not any more once the ring has wrapped (R12), nor after the reader
// was cut or has left.
func (r *Ring) Rewind(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	rd := &r.readers[i]
	if !rd.attached || rd.cut || r.err != nil || r.wrappedLocked() {
		return false
	}
	rd.pos, rd.left = 0, false
	return true
}

// Leave makes Next of reader i fail with ErrLeft, also one that is waiting; from
// any goroutine. The reader stays attached until its own goroutine detaches it,
// or rewinds it to begin anew.
func (r *Ring) Leave(i int) {
	r.mu.Lock()
	r.readers[i].left = true
	r.data.Broadcast()
	r.mu.Unlock()
}

// Detach takes reader i out: the writer waits for it no longer. It may be
// called again; only the reader's own goroutine may call it, because the memory
// that Next returned may be written over from now on.
func (r *Ring) Detach(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rd := &r.readers[i]
	if !rd.attached {
		return
	}
	rd.attached = false
	r.attached--
	r.wakeWriterLocked()
}
