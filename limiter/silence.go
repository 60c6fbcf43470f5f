package limiter

// A backend is silent while something is waited for, and no leg ends well. It may be slow, or a link was
// cut without a word: whoever asks finds out by a probe, and demotes the backend where that fails (R13).

// Silence returns how long the backend has been silent, or 0. It scans every slot. Where no leg has ended well
// since the last call, it asks unacknowledged, too, for how long something that was sent has not arrived: a slot
// makes progress with what the system takes. One goroutine may call it for a backend, and the time is only as
// exact as it calls it often.
func (l *Limiter) Silence(backend int, now int64, unacknowledged func(backend int, now int64) int64) int64 {
	b := &l.backends[backend]
	if b.succeeded.Load() {
		b.succeeded.Store(false)
		l.Heard(backend, now)
	}
	waits := int64(0)
	if b.heard != now && b.slots.taken() > 0 {
		waits = max(b.slots.longestWait(now), unacknowledged(backend, now))
	}
	if since := b.cut.Load(); since != 0 {
		waits = max(waits, now-since)
	}
	return max(0, min(waits, now-b.heard))
}

// Cut records that a leg was cut which had held its client back since then, or has tried to connect since then in
// vain. What it waited for has not come, so that the backend is silent until something does, or it answers a probe:
// legs that do not wait for long would hide that a link was cut.
func (l *Limiter) Cut(backend int, since int64) { l.backends[backend].cut.Store(max(since, 1)) }

// Heard ends a silence: the backend has answered a probe. It is for Silence's goroutine.
func (l *Limiter) Heard(backend int, now int64) {
	b := &l.backends[backend]
	b.heard = now
	b.cut.Store(0)
}

// DemoteSilent demotes a backend that a probe has not reached, unless it is the last one in the pool. It
// reports whether it did.
func (l *Limiter) DemoteSilent(backend int, now int64) bool {
	l.mu.Lock()
	event := l.demoteLocked(backend, ReasonSilent, now)
	l.mu.Unlock()
	if event == nil {
		return false
	}
	l.wake()
	l.tellDemoted(event)
	return true
}

// Waits is how long a leg has waited for the backend that has done so for longest. It scans every slot.
func (l *Limiter) Waits(backend int, now int64) int64 {
	return l.backends[backend].slots.longestWait(now)
}

// Busy is how many connections of the backend are busy, whether it is in the pool or not.
func (l *Limiter) Busy(backend int) int { return l.backends[backend].slots.taken() }

// longestWait is how long the busy slot has waited for its backend that has done so for longest; one
// that only lasts after its client was answered does not wait.
func (t *table) longestWait(now int64) (longest int64) {
	for c := range t.used.Load() / chunkSize {
		chunk := t.chunks[c].Load()
		for i := range chunk {
			if s := &chunk[i]; s.answered.Load() != free {
				longest = max(longest, now-s.progress.Load())
			}
		}
	}
	return longest
}
