package ring

import "io"

// Pending is how many bytes outside the ring reader i has not consumed yet.
func (r *Ring) Pending(i int) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written - max(r.readers[i].pos, r.inside)
}

// Next returns the bytes that reader i has not consumed yet, as many as are contiguous. It waits
// while there are none. The bytes stay valid until Advance or Detach. Errors: io.EOF at the end of
// the message, ErrOutside, ErrCanceled, ErrCut, ErrLeft.
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
		case rd.pos < r.endLocked(i):
			end := r.endLocked(i)
			if r.outside {
				end = r.inside
			}
			at := rd.pos % int64(len(r.buf))
			n := min(end-rd.pos, int64(len(r.buf))-at)
			return r.buf[at : at+n], nil
		case r.closed && rd.pos == r.written:
			return nil, io.EOF
		}
		r.data.Wait()
	}
}

// Advance consumes the first n bytes of what Next returned to reader i.
func (r *Ring) Advance(i, n int) {
	r.mu.Lock()
	rd := &r.readers[i]
	rd.pos += int64(n)
	behind := r.written - rd.pos
	// Waking the writer for every few bytes of a slow reader would cost more than it gains, so the
	// writer sleeps until a quarter of the ring is free. A reader that becomes idle turns the
	// others into laggards (R10).
	if behind == 0 || rd.holding && behind <= int64(len(r.buf))/4*3 {
		r.wakeWriterLocked()
	}
	r.mu.Unlock()
}

// Rewind moves reader i back to the first byte of the stream and reports whether it could. That is
// no longer possible once the ring has wrapped (R12), or after the reader was cut or has left.
func (r *Ring) Rewind(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.rewindableLocked(i) {
		return false
	}
	rd := &r.readers[i]
	rd.pos, rd.left = 0, false
	return true
}

// Rewindable reports whether Rewind would succeed. Any goroutine may call it.
func (r *Ring) Rewindable(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rewindableLocked(i)
}

func (r *Ring) rewindableLocked(i int) bool {
	rd := &r.readers[i]
	return rd.attached && !rd.cut && r.err == nil && !r.wrappedLocked()
}

// Leave makes reader i's Next fail with ErrLeft, even one that is waiting. Any goroutine may call
// it. The reader stays attached until its own goroutine detaches it, or rewinds it to start again.
func (r *Ring) Leave(i int) {
	r.mu.Lock()
	r.readers[i].left = true
	r.data.Broadcast()
	r.mu.Unlock()
}

// Detach takes reader i out: the writer no longer waits for it. It may be called more than once,
// but only by the reader's own goroutine, because the memory that Next returned may be overwritten
// from now on.
func (r *Ring) Detach(i int) {
	r.mu.Lock()
	if rd := &r.readers[i]; rd.attached {
		rd.attached = false
		r.attached--
		r.wakeWriterLocked()
	}
	r.mu.Unlock()
}
