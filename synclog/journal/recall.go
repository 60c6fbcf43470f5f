package journal

// The lock is never held over a read from disk. Whoever needs records of pending keys has them
// read first, without the lock, and continues only once it holds the lock and none is missing. So
// an intent, which others wait for, never waits for a disk.

// recalled holds records by their places in the log, as they were read without the lock. What is
// at a place never changes.
type recalled map[uint64]recalledRecord

type recalledRecord struct {
	p   []byte
	err error
}

func recallKey(seg, off uint32) uint64 { return uint64(seg)<<32 | uint64(off) }

// missingLocked is a slot that find needs for this hash, and whose record is neither in memory nor
// in got.
func (j *Journal) missingLocked(hash uint32, got recalled) (s slot, missing bool) {
	t := j.keys.shard(hash)
	for i, id, ok := t.first(hash); ok; i, id, ok = t.after(i) {
		s := j.keys.at(id)
		if s.hash != hash || j.unwritten(j.segment(s.seg), s.off) != nil {
			continue
		}
		if _, ok := got[recallKey(s.seg, s.off)]; !ok {
			return *s, true
		}
	}
	return slot{}, false
}

// recallLocked has the records read that find needs for a hash. It reports whether it had to give
// up the lock: then what was looked at before may have changed.
func (j *Journal) recallLocked(hash uint32, got *recalled) (unlocked bool) {
	for {
		s, missing := j.missingLocked(hash, *got)
		if !missing {
			return unlocked
		}
		unlocked = true
		p, err := j.readUnlocked(s)
		if *got == nil {
			*got = recalled{}
		}
		(*got)[recallKey(s.seg, s.off)] = recalledRecord{p, err}
	}
}

// readUnlocked reads a slot's record that is not in memory. It gives up the lock meanwhile.
func (j *Journal) readUnlocked(s slot) ([]byte, error) {
	seg := j.segment(s.seg)
	seg.readers++
	at := *seg // its size may grow
	j.mu.Unlock()
	p, err := readRecord(&at, int64(s.off), codedSize(s.size), nil)
	j.mu.Lock()
	j.releaseLocked(seg)
	return p, err
}
