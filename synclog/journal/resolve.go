package journal

import "slices"

// Next gives the first pending key behind cursor, oldest first, and the cursor for
// the one behind it; 0 begins. ok is false at the end. Keys with an open intent
// are passed over, parked ones and those whose NotBefore is to come are not. A key
// that changes meanwhile keeps its place. It reads a record from disk, without
// holding up anybody.
func (j *Journal) Next(cursor uint64) (p Pending, next uint64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.closed {
		id, ok := j.keys.after(cursor, true)
		if !ok {
			break
		}
		s := *j.keys.at(id)
		if j.opens.inFlight(s.hash, noOpen) {
			cursor = s.age
			continue
		}
		r, err := j.fetchLocked(s)
		if now, ok := j.keys.withAge(s.age); !ok || *j.keys.at(now) != s || j.opens.inFlight(s.hash, noOpen) {
			continue // it has changed: look again
		} else if err == errDamaged {
			j.lose(now)
			continue
		}
		cursor = s.age
		if err != nil {
			j.problem("journal: cannot read segment %q at offset %d: %w", j.segment(s.seg).name(), s.off, err)
			continue
		}
		p = r.pending(j.mine)
		p.Version = s.version()
		return p, cursor, true
	}
	return Pending{}, cursor, false
}

// fetchLocked reads a slot's record, without the lock where it is on disk.
func (j *Journal) fetchLocked(s slot) (r *record, err error) {
	seg := j.segment(s.seg)
	var p []byte
	if in := j.unwritten(seg, s.off); in != nil {
		p = slices.Clone(in.buf[int64(s.off)-in.base:][:in.sizeAt(s.off)])
	} else {
		if p, err = j.readUnlocked(s); err != nil {
			return nil, err
		}
	}
	typ, payload, ok := parseFrame(p, seg.salt)
	if !ok || typ != typeState {
		return nil, errDamaged
	}
	r = &record{}
	return r, j.parse(seg, r, payload, typ)
}

// releaseLocked ends what readers++ began.
func (j *Journal) releaseLocked(s *segment) {
	s.readers--
	j.idle.Broadcast()
}

func (b *batch) sizeAt(off uint32) int { return frameSize(b.buf[int64(off)-b.base:]) }

// Resolve closes a key that Next gave: all backends are equal. It reports whether it
// did: not where anything came for the key since, nor where it is closed already.
// Buffered as Settle is. A Pending that is made anew needs Seq, Bucket, Key, Target
// (where Key is empty), Owed and Version as they were read.
func (j *Journal) Resolve(p *Pending) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.recallFor(p)()
	id, r, ok := j.currentLocked(p)
	if !ok {
		return false
	}
	if gone := r.Owed &^ j.mine; gone != 0 { // still owed to backends that are not here
		r.Owed = gone
		r.closes, r.tries, r.notBefore, r.parked, r.lastError = 0, 0, 0, false, nil
		j.moveKey(id, j.appendLocked(typeState, r), r.Owed, false)
		j.keys.changed(id)
	} else {
		j.appendGoneLocked(&r.Entry, 0)
		j.dropKey(id)
	}
	j.knowLocked()
	j.boundLocked()
	return true
}

// Note stores p's Tries, NotBefore, Parked and LastError with its key, as Resolve
// would close it, and false where Resolve would say so.
func (j *Journal) Note(p *Pending) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.recallFor(p)()
	id, r, ok := j.currentLocked(p)
	if !ok {
		return false
	}
	r.closes = 0
	r.tries, r.parked, r.lastError = uint64(max(0, p.Tries)), p.Parked, []byte(p.LastError)
	r.notBefore = 0
	if !p.NotBefore.IsZero() {
		r.notBefore = p.NotBefore.UnixNano()
	}
	j.moveKey(id, j.appendLocked(typeState, r), r.Owed, r.parked)
	j.boundLocked()
	return true
}

// recallFor has the record of p's key read, without the lock, which is held again then.
// What it gives is called once the record is not needed any more.
func (j *Journal) recallFor(p *Pending) (forget func()) {
	var got recalled
	if !j.closed {
		j.recallLocked(j.setIdent(&p.Entry), &got)
	}
	j.recalled = got
	return func() { j.recalled = nil }
}

// currentLocked gives p's key, unless it is not what p is any more.
func (j *Journal) currentLocked(p *Pending) (id uint32, r *record, ok bool) {
	if j.closed || j.failure != nil {
		return 0, nil, false
	}
	hash := j.setIdent(&p.Entry)
	id, r = j.find(hash)
	if r == nil || r.Seq != p.Seq || r.Owed&j.mine&^p.Owed != 0 || j.othersOpen(hash, 0) {
		return 0, nil, false
	}
	if p.Version != 0 && p.Version != j.keys.at(id).version() {
		return 0, nil, false
	}
	return id, r, true
}

// boundLocked keeps repair from filling the memory where the disk is slow.
func (j *Journal) boundLocked() {
	if b := j.cur; len(b.buf) > maxIdleBuffer && j.failure == nil {
		_ = j.waitLocked(b) // it is told elsewhere; what was resolved may come again
	}
}
