package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// clean deletes segments in which nothing is needed any more, from the oldest on. If too little of
// the log is still needed, it first moves what is needed in the oldest segment to the head.
// Deleting in order keeps what ends a record for as long as the record.
func (j *Journal) clean() error {
	j.mu.Lock()
	epoch, most := j.epochs, 2*len(j.segs)
	j.mu.Unlock()
	for range most {
		j.mu.Lock()
		dead := j.deadLocked()
		var victim *segment
		if dead == 0 && j.wastefulLocked() {
			victim = j.segs[0]
		}
		j.mu.Unlock()
		switch {
		case victim != nil:
			if err := j.moveLive(victim, epoch); err != nil {
				return err
			}
			if !j.isDead(victim) {
				return nil // being read; the next tick sees to it
			}
		case dead > 0:
			if err := j.deleteSegments(dead); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// deadLocked counts the oldest segments in which nothing is needed.
func (j *Journal) deadLocked() (n int) {
	for _, s := range j.segs {
		if s == j.cur.seg || j.writing != nil && s == j.writing.seg || s.live > 0 || s.readers > 0 || s.suspect {
			break
		}
		n++
	}
	return n
}

func (j *Journal) isDead(s *segment) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.deadLocked() > 0 && j.segs[0] == s
}

// wastefulLocked reports whether the oldest segment should be cleaned: the log is limited to twice
// what is needed plus two segments, and to few small segments.
func (j *Journal) wastefulLocked() bool {
	first := j.segs[0]
	if first == j.cur.seg || j.writing != nil && first == j.writing.seg || first.suspect || first.readers > 0 {
		return false
	}
	total := j.total()
	return total > 2*(j.keys.bytes+j.opens.bytes)+2*j.o.SegmentSize ||
		int64(len(j.segs)) > 8+2*total/j.o.SegmentSize
}

// deleteSegments deletes the first n segments once everything that replaced their content is
// synced.
func (j *Journal) deleteSegments(n int) error {
	j.mu.Lock()
	dead := slices.Clone(j.segs[:n])
	j.mu.Unlock()
	if err := j.syncLog(); err != nil {
		return err
	}
	for _, s := range dead {
		j.mu.Lock()
		busy := s.readers > 0
		s.leaving = s.leaving || !busy
		j.mu.Unlock()
		if busy {
			return nil // Flush syncs it; the next tick sees to the rest
		}
		name := j.path(s.name())
		var err error
		if s.damaged && !s.kept {
			err = j.fs.Rename(name, name+damagedExt)
		} else {
			err = j.fs.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		j.mu.Lock()
		j.segs = slices.DeleteFunc(j.segs, func(x *segment) bool { return x == s })
		j.dirMade++
		j.mu.Unlock()
		_ = s.file.Close() // it was only to be read still, and nothing in it is
	}
	return nil
}

// moveLive moves everything that is needed in a segment to the head of the log. It gives up if the
// journal fails after epoch.
func (j *Journal) moveLive(s *segment, epoch uint64) error {
	j.mu.Lock()
	for _, id := range j.intentsIn(s) { // their payload is in memory
		s.live--
		j.logOpenLocked(&j.opens.list[id])
	}
	left, size := s.live, s.size
	j.mu.Unlock()

	sc := &j.scanner
	*sc = scanner{f: s.file, size: size, salt: s.salt, off: int64(len(segmentMagic)), buf: sc.buf[:0]}
	sc.bad = func(int64, int64) {} // of what is lost so, loseRest tells
	for left > 0 {
		typ, payload, off, ok := sc.next()
		if !ok {
			break
		}
		if typ != typeState && typ != typeOldState {
			continue
		}
		j.mu.Lock()
		j.moveStateLocked(s, uint32(off), typ, payload)
		left = s.live
		err := j.writeOutLocked(epoch)
		j.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if sc.unread != nil {
		return fmt.Errorf("segment %q: %w", s.name(), sc.unread)
	}
	if left > 0 {
		j.loseRest(s)
	}
	return nil
}

// writeOutLocked writes what is buffered if that is much.
func (j *Journal) writeOutLocked(epoch uint64) error {
	for j.writing != nil {
		j.idle.Wait()
	}
	if j.epochs == epoch && len(j.cur.buf) >= wakeAt {
		j.leadLocked(false)
	}
	if j.epochs != epoch {
		return j.failure
	}
	return nil
}

func (j *Journal) intentsIn(s *segment) (ids []uint32) {
	j.opens.each(func(id uint32, o *open) bool {
		if o.at.seg == s.num {
			ids = append(ids, id)
		}
		return true
	})
	return ids
}

// moveStateLocked writes a key's record again, if it is the one at off.
func (j *Journal) moveStateLocked(s *segment, off uint32, typ byte, payload []byte) {
	r := &j.book.old
	if j.parse(s, r, payload, typ) != nil {
		return
	}
	hash := j.hashOf(r.ident())
	t := j.keys.shard(hash)
	for i, id, ok := t.first(hash); ok; i, id, ok = t.after(i) {
		if k := j.keys.at(id); k.seg == s.num && k.off == off {
			r.closes = 0
			j.moveKey(id, r, j.appendLocked(r))
			return
		}
	}
}

// loseRest gives up the keys of a segment that was read to its end without finding their records.
func (j *Journal) loseRest(s *segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	age := uint64(0)
	for {
		id, ok := j.keys.after(age, false)
		if !ok {
			return
		}
		age = j.keys.at(id).age
		if j.keys.at(id).seg == s.num {
			j.lose(id)
		}
	}
}
