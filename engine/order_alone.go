package engine

import "time"

// The overlap table lets one conditional write to a key at a time be decided (R29).

// beginAlone is begin for a conditional write. It waits until no other one is being decided,
// and for up to soft until nothing is under way. It fails after hard.
func (o *overlaps) beginAlone(t *turn, hash uint64, by writer, id requestID, soft, hard time.Duration) bool {
	var late, over <-chan time.Time
	for patient := true; ; {
		moved := o.tryBeginAlone(t, hash, by, id, patient)
		if moved == nil {
			return true
		}
		if over == nil {
			late, over = time.After(soft), time.After(hard)
		}
		select {
		case <-moved:
		case <-late:
			patient = false
		case <-over:
			return false
		}
	}
}

// tryBeginAlone gives the channel that is closed when it may be tried again, or begins.
func (o *overlaps) tryBeginAlone(t *turn, hash uint64, by writer, id requestID, patient bool) (moved <-chan struct{}) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.runLocked(hash)
	switch {
	case k.sealed != nil:
		return k.sealed
	case patient && k.open > 0 || k.deciding != 0:
		if k.moved == nil {
			k.moved = make(chan struct{})
		}
		return k.moved
	}
	k.enterLocked(t, by)
	k.deciding, k.decides = id, by.r
	o.alone.Add(1)
	return nil
}

// decided lets the next conditional write begin, if nothing else is to be waited for.
func (o *overlaps) decided(hash uint64, id requestID) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.findLocked(hash); k != nil && k.deciding == id {
		o.decisions.Add(1) // before it is none that is being decided: see overtaken
		k.deciding, k.decides = 0, nil
		o.alone.Add(-1)
		k.tell()
	}
}
