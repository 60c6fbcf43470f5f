package journal

import "bytes"

// Owes is the set of backends that are owed the content of a key, or may be: by what is
// pending of it, and by intents whose legs are out. Where the key may be pending its
// record is read from disk, without holding up anybody.
func (j *Journal) Owes(bucket, key []byte) uint64 {
	if j.Quiet() {
		return 0
	}
	want := Entry{Bucket: bucket, Key: key}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return 0
	}
	owed := j.openOwedLocked(&want)
	if r, _, ok := j.lookLocked(&want); ok && ofContent(&r.Entry) {
		owed |= r.Owed & j.mine
	}
	return owed
}

// Find gives what is pending of a key, as Next does with the cursor before place.
func (j *Journal) Find(bucket, key []byte) (p Pending, place uint64, ok bool) {
	want := Entry{Bucket: bucket, Key: key}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return Pending{}, 0, false
	}
	r, s, ok := j.lookLocked(&want)
	if !ok || s.bits&slotHidden != 0 || j.opens.inFlight(s.hash, noOpen) {
		return Pending{}, 0, false
	}
	p = r.pending(j.mine)
	p.Version = s.version()
	return p, s.age - 1, true
}

// ofContent reports whether an entry is about more than a part like ?acl.
func ofContent(e *Entry) bool { return e.Aux&AuxSubresource == 0 || e.Aux&AuxMixed != 0 }

// openOwedLocked is what open intents of the key owe.
func (j *Journal) openOwedLocked(want *Entry) (owed uint64) {
	hash := j.setIdent(want)
	for id := j.opens.oldest(hash); id != noOpen; id = j.opens.list[id].newer {
		var r record
		if j.openEntry(&j.opens.list[id], &r) && j.sameKey(&r.Entry) && ofContent(&r.Entry) {
			owed |= r.Owed & j.mine
		}
	}
	return owed
}

// lookLocked gives a key's record and slot. It lets go of the lock while it reads, and
// begins anew where the slot has changed meanwhile.
func (j *Journal) lookLocked(want *Entry) (r *record, s slot, ok bool) {
	hash := j.setIdent(want)
	passed := 0 // slots of other keys with the same hash
again:
	n := 0
	t := j.keys.shard(hash)
	for i, id, ok := t.first(hash); ok; i, id, ok = t.after(i) {
		s = *j.keys.at(id)
		if s.hash != hash {
			continue
		}
		if n++; n <= passed {
			continue
		}
		r, err := j.fetchLocked(s)
		if j.closed {
			return nil, slot{}, false
		}
		if now, ok := j.keys.withAge(s.age); !ok || *j.keys.at(now) != s {
			goto again
		}
		if err != nil { // with this hash it hardly ever is another key's
			r = &record{Entry: *want, first: s.age}
			r.Owed = j.keys.masks[s.mask]
		}
		if bytes.Equal(r.Bucket, want.Bucket) && bytes.Equal(r.Key, want.Key) {
			return r, s, true
		}
		passed++
		goto again // the table may have changed
	}
	return nil, slot{}, false
}
