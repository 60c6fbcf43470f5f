package engine

import (
	"math/bits"
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
	hash  uint64 // of the key
	next  *overlap
	open  int32 // writes under way
	turns *turn // the clients' among them, the newest first
	begun uint32
	// repairing are the backends that repair may be changing; one of the open ones is its
	// then. touched: a client's write has begun since that one did.
	repairing uint64
	touched   bool
	// deciding is the conditional write that is under way and not decided, or 0 (R29);
	// moved, unless nil, is closed when that, or the run, has ended.
	deciding requestID
	moved    chan struct{}
	// sealed, unless nil, is closed when clients' writes may begin again.
	sealed chan struct{}
}

// turn is a client's write to a key while it is under way: of a request, or of one key of a
// multi-object delete. The shard's lock guards it, but for what others have told it once it
// has ended, which is its own.
type turn struct {
	hash   uint64 // of the key
	next   *turn
	number uint32 // in the order in which the run's writes have begun, from 1; 0: it is not under way
	ended  bool
	// repairing are the backends that repair was changing when it began.
	repairing uint64
	// beside are the writes that overlapped with it and have ended before it, up to maxBeside.
	beside []*beside
}

// beside is a write that has ended, as those that overlapped with it know it. It does not
// change.
type beside struct {
	number uint32 // as a turn's
	upTo   uint32 // the run's newest when it ended: what began later is behind it everywhere
	stored uint64 // backends that took it
	landed bool   // it may be stored anywhere
	// entry is for the journal, which would not know the write else: it was acknowledged,
	// and ended well. nil: there is no journal, or the write was not acknowledged, and the
	// journal was told so.
	entry *Promise
}

// maxBeside is one more than the journal keeps of a key, so that it knows that there were more.
const maxBeside = 9

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
func (o *overlaps) begin(t *turn, hash uint64) (sealed <-chan struct{}) {
	s := o.shard(hash)
	s.mu.Lock()
	k := s.findLocked(hash)
	if k == nil {
		k = s.addLocked(hash)
	}
	if sealed = k.sealed; sealed == nil {
		k.enterLocked(t)
	}
	s.mu.Unlock()
	return sealed
}

// enterLocked makes t the run's newest write.
func (k *overlap) enterLocked(t *turn) {
	k.open++
	k.begun++
	k.touched = true
	*t = turn{hash: k.hash, next: k.turns, number: k.begun, repairing: k.repairing}
	k.turns = t
}

// beginWithin is begin that waits where it has to. It fails after timeout.
func (o *overlaps) beginWithin(t *turn, hash uint64, timeout time.Duration) bool {
	sealed := o.begin(t, hash)
	if sealed == nil {
		return true
	}
	over := time.NewTimer(timeout)
	defer over.Stop()
	for sealed != nil {
		select {
		case <-sealed:
			sealed = o.begin(t, hash)
		case <-over.C:
			return false
		}
	}
	return true
}

// beginAlone is begin for a conditional write. It waits until no other one is being decided,
// and for up to soft until nothing is under way. It fails after hard.
func (o *overlaps) beginAlone(t *turn, hash uint64, id requestID, soft, hard time.Duration) bool {
	var late, over <-chan time.Time
	for patient := true; ; {
		moved := o.tryBeginAlone(t, hash, id, patient)
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
func (o *overlaps) tryBeginAlone(t *turn, hash uint64, id requestID, patient bool) (moved <-chan struct{}) {
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
	k.enterLocked(t)
	k.deciding = id
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

// overlapped reports whether a write overlaps, or has overlapped, with another one.
func (o *overlaps) overlapped(t *turn) bool {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.repairing != 0 || len(t.beside) > 0 || s.findLocked(t.hash).othersLocked(t)
}

// othersLocked reports whether a client's write overlaps with t that has not ended.
func (k *overlap) othersLocked(t *turn) bool {
	for w := k.turns; w != nil; w = w.next {
		if w != t && !w.ended {
			return true
		}
	}
	return false
}

// underWay reports whether a client's write to the key is.
func (o *overlaps) underWay(hash uint64) bool {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	return k != nil && k.turns != nil
}

// end notes that all legs of a write have ended, on these backends positively;
// landed reports whether it may have come to be stored anywhere. The write counts as under
// way until leave. untold: there are others that overlap with it, which have to be told of
// it: endBeside has to follow, and nothing is noted yet.
func (o *overlaps) end(t *turn, positive uint64, landed bool) (also uint64, untold bool) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if landed && s.findLocked(t.hash).othersLocked(t) {
		return 0, true
	}
	t.ended = true
	return t.also(positive), false
}

// endBeside is end for a write that others are told of. It gives where the writes may have
// landed in another order.
func (o *overlaps) endBeside(t *turn, b *beside) (also uint64) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.ended = true
	if also = t.also(b.stored); also != 0 {
		b.entry = nil // it tells the journal itself that it is owed
	}
	k := s.findLocked(t.hash)
	b.number, b.upTo = t.number, k.begun
	for w := k.turns; w != nil; w = w.next {
		if w != t && !w.ended {
			w.tell(b)
		}
	}
	return also
}

// isUnderWay reports whether it is in the table. Its owner asks.
func (t *turn) isUnderWay() bool { return t.number != 0 }

// tell notes that a write that overlaps with t has ended. What that one came behind on all
// backends is not the last there.
func (t *turn) tell(b *beside) {
	kept := t.beside[:0]
	for _, old := range t.beside {
		if old.upTo >= b.number {
			kept = append(kept, old)
		}
	}
	if len(kept) == maxBeside {
		kept = append(kept[:0], kept[1:]...)
	}
	t.beside = append(kept, b)
}

// also is where t, which these backends took, may have landed in another order than a write
// that overlapped with it and has ended.
func (t *turn) also(positive uint64) uint64 {
	set, overlaps := positive|t.repairing, t.repairing != 0
	for _, b := range t.beside {
		set |= b.stored
		overlaps = overlaps || b.landed
	}
	if !overlaps || positive == 0 || bits.OnesCount64(set) < 2 {
		return 0
	}
	return set
}

// entries adds what the journal has to be told beside a write that has ended: those that
// overlapped with it, ended before it, and were acknowledged.
func (t *turn) entries(es []Promise) []Promise {
	for _, b := range t.beside {
		if b.entry != nil {
			es = append(es, *b.entry)
		}
	}
	return es
}

// leave takes a write that has ended out.
func (o *overlaps) leave(t *turn) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(t.hash)
	at := &k.turns
	for *at != t {
		at = &(*at).next
	}
	*at = t.next
	*t = turn{}
	s.leaveLocked(k)
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
	k.open, k.repairing = 1, backends
	return true
}

// endRepair ends it, and reports whether no client's write has begun meanwhile.
func (o *overlaps) endRepair(hash uint64) (clean bool) {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	if k == nil || k.repairing == 0 {
		panic("engine: EndRepair without BeginRepair")
	}
	clean = !k.touched
	k.unseal()
	k.repairing = 0
	s.leaveLocked(k)
	return clean
}

// seal keeps clients' writes from beginning, unless one has since beginRepair.
func (o *overlaps) seal(hash uint64) bool {
	s := o.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(hash)
	if k == nil || k.repairing == 0 || k.touched || k.sealed != nil {
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
