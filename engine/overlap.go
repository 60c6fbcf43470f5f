package engine

import (
	"sync"
	"time"
)

// overlaps is the table of keys that are being written, to see writes that
// overlap in time (R19). A key is known by its hash: a collision records one
// divergence too many, which costs a comparison. It is bounded by the number of
// requests in flight.
type overlaps struct {
	shards [overlapShards]overlapShard
}

// overlapShards is a few times as many as writes are under way at most times: a shard
// so has a list to walk of hardly ever more than one, which is cheaper than a map.
const overlapShards = 256

type overlapShard struct {
	mu   sync.Mutex
	keys *overlap // those that are being written, up to maxListed of them
	free *overlap
	// more are those beyond: whoever begins very many writes, of a multi-object delete
	// say, or of keys that he has chosen for their hash, makes nobody walk a long list.
	more   map[uint64]*overlap
	listed int32
	_      [28]byte // a cache line each
}

// maxListed bounds what is walked.
const maxListed = 8

// overlap is a run of writes to one key, each of which overlaps with another.
type overlap struct {
	hash   uint64 // of the key
	next   *overlap
	open   int32  // writes under way
	landed bool   // one of the ended ones may be stored
	runs   int32  // writes of the run so far, those that have left among them
	stored uint64 // backends that took one of the ended ones
	// repairing: one of the open ones is repair's; touched: a client's write has
	// begun since that one did.
	repairing, touched bool
	// deciding is the conditional write that is under way and not decided, or 0 (R29);
	// moved, unless nil, is closed when that, or the run, has ended.
	deciding requestID
	moved    chan struct{}
	// sealed, unless nil, is closed when clients' writes may begin again.
	sealed chan struct{}
}

func newOverlaps() *overlaps { return &overlaps{} }

func (o *overlaps) shard(hash uint64) *overlapShard { return &o.shards[hash%overlapShards] }

// findLocked is the key's run, or nil.
func (s *overlapShard) findLocked(hash uint64) *overlap {
	k := s.keys
	for k != nil && k.hash != hash {
		k = k.next
	}
	if k == nil && s.more != nil {
		k = s.more[hash]
	}
	return k
}

// addLocked begins a run of a key that has none.
func (s *overlapShard) addLocked(hash uint64) *overlap {
	k := s.free
	if k == nil {
		k = new(overlap)
	} else {
		s.free = k.next
	}
	*k = overlap{hash: hash}
	if s.listed >= maxListed {
		if s.more == nil {
			s.more = map[uint64]*overlap{}
		}
		s.more[hash] = k
		return k
	}
	k.next, s.keys = s.keys, k
	s.listed++
	return k
}

// begin notes that a write to the key has begun. Where repair is changing it at this
// moment it does not: the channel is closed when it may be tried again.
func (o *overlaps) begin(hash uint64) (sealed <-chan struct{}) {
	s := o.shard(hash)
	s.mu.Lock()
	k := s.findLocked(hash)
	if k == nil {
		k = s.addLocked(hash)
	}
	if sealed = k.sealed; sealed == nil {
		k.open++
		k.runs++
		k.touched = true
	}
	s.mu.Unlock()
	return sealed
}

// beginWithin is begin that waits where it has to. It fails after timeout.
func (o *overlaps) beginWithin(hash uint64, timeout time.Duration) bool {
	sealed := o.begin(hash)
	if sealed == nil {
		return true
	}
	over := time.NewTimer(timeout)
	defer over.Stop()
	for sealed != nil {
		select {
		case <-sealed:
			sealed = o.begin(hash)
		case <-over.C:
			return false
		}
	}
	return true
}

// beginAlone is begin for a conditional write. It waits until no other one is being decided,
// and for up to soft until nothing is under way. It fails after hard.
func (o *overlaps) beginAlone(hash uint64, id requestID, soft, hard time.Duration) bool {
	var late, over <-chan time.Time
	for patient := true; ; {
		moved := o.tryBeginAlone(hash, id, patient)
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
func (o *overlaps) tryBeginAlone(hash uint64, id requestID, patient bool) (moved <-chan struct{}) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	switch {
	case k == nil:
		k = s.addLocked(hash)
	case k.sealed != nil:
		return k.sealed
	case patient || k.deciding != 0:
		if k.moved == nil {
			k.moved = make(chan struct{})
		}
		return k.moved
	}
	k.open++
	k.runs++
	k.touched, k.deciding = true, id
	return nil
}

// decided lets the next conditional write begin, if nothing else is to be waited for.
func (o *overlaps) decided(hash uint64, id requestID) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.findLocked(hash); k != nil && k.deciding == id {
		k.deciding = 0
		k.tell()
	}
}

// tell has who waits look again.
func (k *overlap) tell() {
	if k.moved != nil {
		close(k.moved)
		k.moved = nil
	}
}

// overlapped reports whether a write to the key overlaps, or has overlapped, with
// another one of those under way.
func (o *overlaps) overlapped(hash uint64) bool {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	return k.runs > 1 || k.repairing
}

// underWay reports whether a client's write to the key is.
func (o *overlaps) underWay(hash uint64) bool {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	return k != nil && k.runs > 0
}

// end notes that all legs of a write have ended, on these backends positively;
// landed reports whether it may have come to be stored anywhere. concurrent tells
// whether such a write of the same run has ended before it; stored is then where
// either of them may be. The write counts as under way until leave.
func (o *overlaps) end(hash, positive uint64, landed bool) (stored uint64, concurrent bool) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	concurrent = k.landed && positive != 0
	k.landed = k.landed || landed
	k.stored |= positive
	return k.stored, concurrent
}

// leave takes a write that has ended out.
func (o *overlaps) leave(hash uint64) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked(s.findLocked(hash))
}

// leaveLocked ends the run with its last write.
func (s *overlapShard) leaveLocked(k *overlap) {
	if k.open--; k.open > 0 {
		return
	}
	k.tell()
	if s.more[k.hash] == k {
		if delete(s.more, k.hash); len(s.more) == 0 {
			s.more = nil // a map does not shrink
		}
		return
	}
	at := &s.keys
	for *at != k {
		at = &(*at).next
	}
	*at = k.next
	s.listed--
	k.next, s.free = s.free, k
}

// beginRepair notes that repair is about to make the key equal, unless a client
// is writing it: then it must come back later.
func (o *overlaps) beginRepair(hash, backends uint64) bool {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.findLocked(hash) != nil {
		return false
	}
	// What repair copies may be anywhere: a write that begins from now on
	// overlaps with it.
	k := s.addLocked(hash)
	k.open, k.landed, k.stored, k.repairing = 1, true, backends, true
	return true
}

// endRepair ends it, and reports whether no client's write has begun meanwhile.
func (o *overlaps) endRepair(hash uint64) (clean bool) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	if k == nil || !k.repairing {
		panic("engine: EndRepair without BeginRepair")
	}
	clean = !k.touched
	k.unseal()
	k.repairing = false
	s.leaveLocked(k)
	return clean
}

// seal keeps clients' writes from beginning, unless one has since beginRepair.
func (o *overlaps) seal(hash uint64) bool {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	if k == nil || !k.repairing || k.touched || k.sealed != nil {
		return false
	}
	k.sealed = make(chan struct{})
	return true
}

func (o *overlaps) unseal(hash uint64) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.findLocked(hash); k != nil {
		k.unseal()
	}
}

func (k *overlap) unseal() {
	if k.sealed != nil {
		close(k.sealed)
		k.sealed = nil
	}
}

// SealRepair makes clients' writes to the key wait, for SlotTimeout each at most,
// while repair changes it on a backend: a storage that knows no conditional writes
// would take repair's copy over theirs. It is false where one has begun since
// BeginRepair: repair must look again. UnsealRepair has to follow a true, soon;
// EndRepair does so, too.
func (e *Engine) SealRepair(bucket, key string) bool { return e.writes.seal(hashKey(bucket, key)) }

// UnsealRepair ends what SealRepair began, if it is not over yet.
func (e *Engine) UnsealRepair(bucket, key string) { e.writes.unseal(hashKey(bucket, key)) }

// BeginRepair notes that repair is about to make an object equal on all backends.
// It is false where a client's write to it is under way: repair comes back later.
// key is decoded. Any goroutine may call it; EndRepair has to follow a true.
func (e *Engine) BeginRepair(bucket, key string) bool {
	return e.writes.beginRepair(hashKey(bucket, key), e.all)
}

// EndRepair ends what BeginRepair began. It is false where a client's write has
// begun meanwhile: what repair has seen and done may be out of date. Such a write
// becomes a divergence by itself (R19).
func (e *Engine) EndRepair(bucket, key string) (clean bool) {
	return e.writes.endRepair(hashKey(bucket, key))
}
