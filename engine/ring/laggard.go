package ring

import "time"

// waitLocked waits until a reader that holds the writer back has moved or left, until it is time
// to look at it again, or until a reader has used up its StallTimeout; that one is cut. The lock
// is released while it waits and while OnCut runs.
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

// looks is how often per StallTimeout OnLag is asked about a reader that does not move.
const looks = 8

// holdersLocked marks the readers that hold the writer back and returns how long until the first
// of them must be cut or looked at. They are laggards only while another reader is idle, having
// read everything: only then does waiting for them cost time that would not have been spent anyway
// (R10). Readers that are all slow, even at different places, are not cut.
func (r *Ring) holdersLocked() (left time.Duration, laggards bool) {
	left = r.stallTimeout
	if r.onLag != nil {
		left /= looks
	}
	for i := range r.readers {
		rd := &r.readers[i]
		behind := r.written - rd.pos
		rd.holding = rd.attached && (behind == int64(len(r.buf)) || r.draining && behind > 0)
		if rd.holding && !rd.cut {
			left = min(left, r.allowanceLocked(rd)-rd.stalled)
		}
	}
	return left, r.stallTimeout > 0 && r.idlerLocked()
}

// nearlyThrough: a reader is nearly through if less than one part in so many of the stream is left
// to it.
const nearlyThrough = 8

// allowanceLocked is how long a reader may hold the writer back in total. One that is nearly
// through gets more, because cutting it would waste what it has read (R10).
func (r *Ring) allowanceLocked(rd *reader) time.Duration {
	if left := r.total - rd.pos; r.total > 0 && left < r.total/nearlyThrough {
		return 2 * r.stallTimeout
	}
	return r.stallTimeout
}

// idlerLocked reports whether some reader has read everything. A stream's last reader cannot be
// cut, because only it could be the idle one.
func (r *Ring) idlerLocked() bool {
	for i := range r.readers {
		if rd := &r.readers[i]; rd.attached && !rd.cut && rd.pos == r.written {
			return true
		}
	}
	return false
}

// chargeLocked charges the wait to the readers that caused it and cuts those that have used up
// their StallTimeout, or that OnLag wants cut earlier. The idle reader may have left in the
// meantime, even during OnCut, so it is looked for each time.
func (r *Ring) chargeLocked(waited time.Duration) {
	for i := range r.readers {
		rd := &r.readers[i]
		if !rd.holding {
			continue
		}
		rd.stalled += waited
		inVain := false
		if total := rd.stalled; r.onLag != nil {
			r.mu.Unlock()
			inVain = r.onLag(i, waited, total)
			r.mu.Lock()
		}
		if rd.attached && !rd.cut && (inVain || rd.stalled >= r.allowanceLocked(rd)) && r.idlerLocked() {
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

// wakeWriterLocked makes a waiting writer check again.
func (r *Ring) wakeWriterLocked() {
	if r.blocked {
		r.blocked, r.woken = false, true // once per wait is enough
		select {
		case r.space <- struct{}{}:
		default:
		}
	}
}
