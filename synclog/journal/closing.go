package journal

// What ends a key in the log, a settlement or a gone record, is buffered for a while. If the
// process is killed before it is written, what it ends stands again as if nothing had come since.
// By itself that does no harm, because repair finds the backends as they should be. But a later
// write of the key that all backends took is recorded nowhere: an acknowledged delete from before
// it would be carried out again, on what came after it (R35). So a write to such a key is not over
// before that record is written.

// closesLocked records that the current batch ends a key that the log knows of.
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

// closedLocked records that a batch is written.
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

// closingLocked is the last batch that must be written before the log ends what it has for the
// entries' keys, or nil.
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
