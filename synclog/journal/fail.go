package journal

import (
	"fmt"
	"time"
)

// reviveEvery is how often a failed journal tries to work again.
const reviveEvery = time.Second

// failLocked makes a failure final for its segment: nothing more is written to it. What was to be
// written, the records of b if not nil and those of the current batch, moves to a segment that has
// yet to be created.
func (j *Journal) failLocked(b *batch, seg *segment, err error) {
	j.breakLocked(b, seg, fmt.Errorf("%w: cannot write segment %q: %w", ErrFailed, seg.name(), err))
}

// breakLocked is failLocked for any failure. A final failure stays.
func (j *Journal) breakLocked(b *batch, seg *segment, failure error) {
	j.counts.Failures++
	j.epochs++
	seg.suspect = true
	for _, s := range j.segs {
		s.suspect = s.suspect || s.made > j.dirSynced // the directory may not have it
	}
	first := j.failure == nil
	if !j.gone {
		j.failure = failure
	}
	j.fails.Store(true)
	if first {
		j.problem("%w", j.failure)
	}

	old, n := j.cur, j.newBatch()
	n.seg, n.base = j.newSegmentLocked(), j.headerLen
	if b != nil {
		j.relocateLocked(b, n)
	}
	j.relocateLocked(old, n)
	for p := n.buf; len(p) > 0; p = p[frameSize(p):] {
		endFrame(p[:frameSize(p)], n.seg.salt)
	}
	j.cur = n
	if b != nil && b.seg.size == 0 {
		j.forgetSegmentLocked(b.seg)
	}
	if old.seg.file == nil {
		j.forgetSegmentLocked(old.seg)
	}

	for _, x := range [2]*batch{b, old} {
		if x == nil {
			continue
		}
		if !j.o.Continue {
			x.err = j.failure
		}
		x.done = true
		x.cond.Broadcast()
	}
	j.freeLocked(old)
}

// relocateLocked moves a batch's records to the end of another one.
func (j *Journal) relocateLocked(from, to *batch) {
	end := from.base + int64(len(from.buf))
	move := to.base + int64(len(to.buf)) - from.base
	within := func(at place) bool {
		return at.seg == from.seg.num && int64(at.off) >= from.base && int64(at.off) < end
	}
	k := &j.keys
	for _, id := range k.order {
		p := k.pages[id]
		for i := range p.n {
			if s := &p.slots[i]; within(place{seg: s.seg, off: s.off}) {
				s.seg, s.off = to.seg.num, uint32(int64(s.off)+move)
				from.seg.live--
				to.seg.live++
			}
		}
	}
	j.opens.each(func(_ uint32, o *open) bool {
		if within(o.at) {
			o.at.seg, o.at.off = to.seg.num, uint32(int64(o.at.off)+move)
			from.seg.live--
			to.seg.live++
		}
		return true
	})
	to.buf = append(to.buf, from.buf...)
	j.closesElsewhereLocked(from, to)
}

// forgetSegmentLocked drops a segment that has come to nothing. Its file, if any, is removed at
// the next attempt to work again.
func (j *Journal) forgetSegmentLocked(s *segment) {
	for i := range j.segs {
		if j.segs[i] == s {
			j.segs = append(j.segs[:i], j.segs[i+1:]...)
			break
		}
	}
	if s.file != nil {
		j.stillborn = append(j.stillborn, s)
	}
}

// revive tries to work again after a failure that is not final: in a new segment, with everything
// that the failed ones may have lost written again and synced.
func (j *Journal) revive() {
	j.tried = time.Now()
	if _, err := j.missing(); err != nil {
		return
	}
	j.mu.Lock()
	if j.gone {
		j.mu.Unlock()
		return
	}
	stillborn := j.stillborn
	j.stillborn = nil
	var suspects []*segment
	for _, s := range j.segs {
		if s.suspect && s.file != nil {
			suspects = append(suspects, s)
		}
	}
	epoch := j.epochs
	j.leadLocked(true)
	failed := j.epochs != epoch
	j.mu.Unlock()
	for _, s := range stillborn {
		_ = s.file.Close()
		_ = j.fs.Remove(j.path(s.name())) // it has nothing that is not elsewhere
	}
	if failed {
		return
	}
	for _, s := range suspects {
		// What a failed write left behind is not a record; later it would look like damage.
		if !s.lost {
			_ = j.fs.Truncate(j.path(s.name()), s.size)
		}
		if err := j.moveLive(s, epoch); err != nil {
			j.complain("journal: cannot move what is left in segment %q: %w", s.name(), err)
		}
	}
	if j.syncSince(epoch) != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.epochs != epoch {
		return // it was found gone meanwhile
	}
	for _, s := range suspects {
		s.suspect, s.synced = false, s.size
	}
	j.failure = nil
	j.fails.Store(false)
	j.revived = true
}
