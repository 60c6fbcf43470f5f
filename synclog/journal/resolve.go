package journal

import (
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// Next returns the first pending key behind cursor, oldest first, and the cursor for the key after
// it; cursor 0 begins. ok is false at the end. Keys with an open intent are skipped; parked ones,
// and those whose NotBefore is still to come, are not. A key that changes meanwhile keeps its
// place. It reads a record from disk without holding anybody up.
func (j *Journal) Next(cursor uint64) (t task.Task, next uint64, ok bool) {
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
		t = r.task(j.o.Backends)
		t.Version, t.Place = s.version(), cursor-1
		return t, cursor, true
	}
	return task.Task{}, cursor, false
}

// NextParked is Next restricted to parked keys. It reads no record of any other key.
func (j *Journal) NextParked(cursor uint64) (t task.Task, next uint64, ok bool) {
	for {
		age, found := j.parkedAfter(cursor)
		if !found {
			return task.Task{}, cursor, false
		}
		if t, cursor, ok = j.Next(age - 1); !ok || t.Parked != "" {
			return t, cursor, ok
		}
	}
}

// parkedAfter is the age of the first parked key behind a given age. It examines one page of keys
// at a time, because there may be millions.
func (j *Journal) parkedAfter(age uint64) (found uint64, ok bool) {
	for more := true; more && found == 0; {
		j.mu.Lock()
		more = !j.closed && j.keys.parked > 0 && j.keys.pageAfter(age, func(s *slot) {
			if age = s.age; found == 0 && s.bits&slotParked != 0 {
				found = age
			}
		})
		j.mu.Unlock()
	}
	return found, found != 0
}

// fetchLocked reads a slot's record, giving up the lock if it is on disk.
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
	if !ok {
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

// Resolve closes a key that Next returned: all backends are equal. It reports whether it did: not
// if anything has come for the key since, nor if it is closed already. Like a settlement it is
// buffered. It uses Bucket, Key, Target (if Key is empty) and Version of t, and Seq and Owed of
// its writes, all as they were read.
func (j *Journal) Resolve(t *task.Task) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	of, hash := j.hashOfTask(t)
	defer j.recallFor(hash)()
	id, r, ok := j.currentLocked(t, of, hash)
	if !ok {
		return false
	}
	if r.owed()&^j.mine != 0 { // still owed to backends that are not here
		r.entries(func(e *Entry) { e.Owed &^= j.mine })
		r.closes, r.tries, r.notBefore, r.parked, r.lastError = 0, 0, 0, nil, nil
		j.moveKey(id, r, j.appendLocked(r))
		j.keys.changed(id)
	} else {
		j.appendGoneLocked(of, hash, 0)
		j.dropKey(id)
	}
	j.knowLocked()
	j.boundLocked()
	return true
}

// Note stores t's Tries, NotBefore, Parked and LastError with its key, under the same conditions
// as Resolve, and otherwise returns false. It also stores which backends are no longer owed t's
// writes, which are known to have taken them since, and with which ETags.
func (j *Journal) Note(t *task.Task) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	of, hash := j.hashOfTask(t)
	defer j.recallFor(hash)()
	id, r, ok := j.currentLocked(t, of, hash)
	if !ok {
		return false
	}
	if r.note(t, j.o.Backends); r.owed() == 0 {
		j.appendGoneLocked(of, hash, 0)
		j.dropKey(id)
	} else {
		j.moveKey(id, r, j.appendLocked(r))
	}
	j.knowLocked()
	j.boundLocked()
	return true
}

// hashOfTask returns what distinguishes a task's key.
func (j *Journal) hashOfTask(t *task.Task) (of ident, hash uint32) {
	of = ident{[]byte(t.Bucket), []byte(t.Key), []byte(t.Target)}
	return of, j.hashOf(of)
}

// recallFor has the records for a hash read without the lock, which is held again when it returns.
// The returned function is called once the record is no longer needed.
func (j *Journal) recallFor(hash uint32) (forget func()) {
	var got recalled
	if !j.closed {
		j.recallLocked(hash, &got)
	}
	j.recalled = got
	return func() { j.recalled = nil }
}

// currentLocked returns t's key, unless it is no longer as t describes it.
func (j *Journal) currentLocked(t *task.Task, of ident, hash uint32) (id uint32, r *record, ok bool) {
	if j.closed || j.failure != nil {
		return 0, nil, false
	}
	id, r = j.find(of, hash)
	if r == nil || r.unread || !r.isOf(t, j.o.Backends) || j.othersOpen(of, hash, 0) {
		return 0, nil, false
	}
	if t.Version != 0 && t.Version != j.keys.at(id).version() {
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
