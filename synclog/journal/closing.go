package journal

// What ends a key in the log, a settle or a gone record, is buffered for a while. Until it
// is written, a process that is killed leaves behind what it ends, which then stands again
// as if nothing had come since. That does no harm by itself, for repair finds the backends
// as they should be. But a later write of the key that all backends took is noted nowhere:
// an acknowledged delete of before it would be carried out once more, on what came after it
// (R35). So a write of such a key is not over before the record is written.

// closesLocked notes that the current batch ends a key of which the log has something.
func (j *Journal) closesLocked(hash uint32) {
	b := j.cur
	if j.closing[hash] == b {
		return
	}
	if j.closing == nil {
		j.closing = make(map[uint32]*batch)
	}
	j.closing[hash] = b
	b.closes = append(b.closes, hash)
}

// closedLocked notes that a batch is written.
func (j *Journal) closedLocked(b *batch) {
	for _, hash := range b.closes {
		if j.closing[hash] == b {
			delete(j.closing, hash)
		}
	}
	b.closes = b.closes[:0]
	j.knowLocked()
}

// closesElsewhereLocked moves what a batch ends to another one.
func (j *Journal) closesElsewhereLocked(from, to *batch) {
	for _, hash := range from.closes {
		if j.closing[hash] == from {
			j.closing[hash] = to
			to.closes = append(to.closes, hash)
		}
	}
	from.closes = from.closes[:0]
}

// closingLocked is the last batch that has yet to be written so that the log ends what it
// has of the entries' keys, or nil.
func (j *Journal) closingLocked(es []Entry) (last *batch) {
	if len(j.closing) == 0 {
		return nil
	}
	for i := range es {
		if b := j.closing[j.hashOf(identOf(&es[i]))]; b != nil && last != j.cur {
			last = b
		}
	}
	return last
}
