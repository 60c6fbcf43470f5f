package engine

import (
	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

// A copy reads its source on each backend (R30), so it is ordered among the writes to the source (R19).
// Its leg to a backend follows the legs of writes that were acknowledged before the copy began, and
// precedes those of writes that begin after the copy was acknowledged. If an earlier write's leg fails,
// the copy's leg ends too, and the copy is owed there. Any other write overlaps with the copy: the copies
// may differ even if their ETags do not, and count as concurrent writes.

// copyTurns is a copy's place among the writes to its source.
type copyTurns struct {
	turns []turn // one for each name that backends may take the source for; others point at them
	// coming are the backends that the journal says owe the source, for a write to it is under way there,
	// or was when the journal knew last.
	coming uint64
}

// enterSource notes that a copy is about to read its source. orderCopy and leaveSource have to follow.
func (r *request) enterSource() {
	if !r.head.is(s3.KindCopy) || r.head.source.VersionID != "" {
		return
	}
	names := r.head.source.Names
	r.source.turns = make([]turn, len(names))
	for i, n := range names {
		r.e.writes.beginReading(&r.source.turns[i], hashKey(n.Bucket, n.Key), r)
	}
}

// comingTo are the backends that have the newest acknowledged write to one of the source's names, or
// have it under way.
func (r *request) comingTo(name int) uint64 {
	if r.source.turns == nil {
		return 0
	}
	return r.e.writes.coming(&r.source.turns[name])
}

// orderCopy has the legs, which have not started, wait for what is coming to their backends.
func (r *request) orderCopy() {
	for i := range r.source.turns {
		r.e.writes.orderLegs(&r.source.turns[i])
	}
}

// passSource starts the writes to the source that have waited for a copy's leg.
func (r *request) passSource(l *leg) {
	for i := range r.source.turns {
		startNext(r.e.writes.legEnded(&r.source.turns[i], l.backend, l.state == votePositive, false), false)
	}
}

func (r *request) leaveSource() {
	turns := r.source.turns
	r.source = copyTurns{}
	for i := range turns {
		startNext(r.e.writes.leave(&turns[i]), false)
	}
}

// isComing reports whether the leg's backend has the source of the copy only if all goes well.
func (l *leg) isComing() bool { return l.r.source.coming&(1<<l.backend) != 0 }

// beginReading enters a copy into the run of the key that it reads. It keeps out nobody.
func (o *overlaps) beginReading(t *turn, hash uint64, r *request) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runLocked(hash).enterLocked(t, writer{r: r, reads: true})
}

// readBeside notes, as t begins, whether one of the two turns reads the key while the other one writes to
// it, and t's legs do not follow w's.
func (t *turn) readBeside(w *turn) {
	if t.reads == w.reads || t.r == w.r || w.passed != 0 && !t.unordered {
		return
	}
	if t.reads {
		t.either = true
	} else {
		w.either = true
	}
}

// readsEither reports whether backends may have copied another state of the source each.
func (r *request) readsEither() bool {
	for i := range r.source.turns {
		if r.e.writes.isEither(&r.source.turns[i]) {
			return true
		}
	}
	return false
}

func (o *overlaps) isEither(t *turn) bool {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.either
}

// coming are the backends that took, or are at, the newest write to the key that t reads which was
// acknowledged, and any to a part of the key since: none where that is not clear.
func (o *overlaps) coming(t *turn) uint64 {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(t.hash)
	set := ^uint64(0)
	for w := k.turns; w != nil; w = w.next {
		if w.reads || w.r == nil || !w.precedes(t) {
			continue
		}
		at := w.out.Load() | w.took.Load() // in this order: took is set first
		if at == 0 {
			continue // it was refused
		}
		set &= at &^ w.missed
		switch {
		case w.aspect != task.Content:
		case !w.r.head.isOneKey() || w.r.head.target.Version || len(w.beside) > 0 || k.othersLocked(w):
			return 0
		default:
			return set
		}
	}
	return 0
}

// missLocked notes, as a write leaves, who has not got it.
func (k *overlap) missLocked(t *turn) {
	took := t.took.Load()
	if t.reads || took == 0 {
		return
	}
	for w := k.turns; w != nil; w = w.next {
		w.missed |= ^took
	}
}

// withoutSourceLocked marks the legs of a copy whose backends have missed what was coming.
func (r *request) withoutSourceLocked(k *overlap, t *turn) {
	for i := range r.legs {
		if l := &r.legs[i]; l.isComing() && k.lacksLocked(t, 1<<l.backend) {
			l.lacksSource.Store(true)
		}
	}
}

// lacksLocked reports whether a backend lacks one of the writes that t, which reads the key, follows.
func (k *overlap) lacksLocked(t *turn, backend uint64) bool {
	if t.missed&backend != 0 {
		return true
	}
	for w := k.turns; w != nil; w = w.next {
		if !w.reads && w.precedes(t) && (w.out.Load()|w.took.Load())&backend == 0 && w.took.Load() != 0 {
			return true
		}
	}
	return false
}
