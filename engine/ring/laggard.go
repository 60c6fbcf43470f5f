package ring

import "time"

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

// idlerLocked reports whether a reader has read all there is. The last reader of
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
		r.blocked, r.woken = false, true // once a wait is enough
		select {
		case r.space <- struct{}{}:
		default:
		}
	}
}
