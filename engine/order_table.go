package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// overlaps is the table of keys that are being written, to see writes that
// overlap in time (R19). A key is known by its hash: a collision records one
// divergence too many, which costs a comparison. It is bounded by the number of
// requests in flight.
type overlaps struct {
	shards [overlapShards]overlapShard
	alone  atomic.Int64 // conditional writes that are under way and not decided
	// decisions is how many have been decided. The outcome is in the journal before it counts here.
	decisions atomic.Uint64
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
	// repairing: one of the open ones is repair's. touched: a client's write has begun since that
	// one did.
	repairing, touched bool
	// deciding is the conditional write that is under way and not decided, or 0 (R29);
	// moved, unless nil, is closed when that, or the run, has ended.
	deciding requestID
	decides  *request // the same, unless it is nobody's, in a test
	moved    chan struct{}
	// sealed, unless nil, is closed when clients' writes may begin again.
	sealed chan struct{}
}

// turn is a client's write to a key while it is under way: of a request, or of one key of a
// multi-object delete. The shard's lock guards it, but for what others have told it once it
// has ended, which is its own, and for what is atomic.
type turn struct {
	writer
	hash   uint64 // of the key
	next   *turn
	number uint32 // in the order in which the run's writes have begun, from 1; 0: it is not under way
	ended  bool
	// passed is the first write of the run that began after its client may have been told, or 0.
	passed uint32
	// out are the backends that it has legs to. waits are those whose legs have to follow
	// another write's (order.go). followed: such a leg may wait for one of this write's.
	// took are the backends that have taken it, so far. missed are those that lack a write to the key which
	// has left since this one began.
	out      atomic.Uint64
	took     atomic.Uint64
	waits    uint64
	missed   uint64
	followed atomic.Bool
	// either: it reads the key beside a write, so each backend may have read the state before or after it.
	either bool
	// beside are the writes that overlapped with it and have ended before it, up to maxBeside.
	beside []*beside
}

// writer is whose write a turn is.
type writer struct {
	r *request // nil: nobody's, in a test
	// aspect is the part of the object that it is to, or the content, which stands for all of the object.
	aspect task.Aspect
	// reads: it only reads the key, as the source of a copy.
	reads bool
	// unordered: its legs have started already, or cannot wait.
	unordered bool
}

// precedes reports whether its client was told before later began, so that it comes first on
// each backend (R19).
func (t *turn) precedes(later *turn) bool {
	return t.number < later.number && t.passed != 0 && t.passed <= later.number
}

// overlaps reports whether either of two writes may be the last on any backend. A write to a part of the object
// overlaps with those to the same part, and with those that replace or delete the object and so the part.
func (t *turn) overlaps(w *turn) bool {
	switch {
	case t.reads || w.reads || !meet(t.aspect, w.aspect):
		return false
	case t.precedes(w):
		return w.unordered
	case w.precedes(t):
		return t.unordered
	}
	return true
}

// meet reports whether writes to these two aspects of an object may change the same of it.
func meet(a, b task.Aspect) bool {
	copied := max(a, b) <= task.LegalHold // not of one version alone
	return copied && (a == b || min(a, b) == task.Content)
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

// runLocked is the key's run, begun if it has none.
func (s *overlapShard) runLocked(hash uint64) *overlap {
	if k := s.findLocked(hash); k != nil {
		return k
	}
	return s.addLocked(hash)
}

// begin notes that a write to the key has begun. Where repair is changing it at this
// moment it does not: the channel is closed when it may be tried again.
func (o *overlaps) begin(t *turn, hash uint64, by writer) (sealed <-chan struct{}) {
	s := o.shard(hash)
	s.mu.Lock()
	k := s.runLocked(hash)
	if sealed = k.sealed; sealed == nil {
		k.enterLocked(t, by)
	}
	s.mu.Unlock()
	return sealed
}

// enterLocked makes t the run's newest write.
func (k *overlap) enterLocked(t *turn, by writer) {
	k.begun++
	if !by.reads {
		k.open++
		k.touched = true
	}
	*t = turn{writer: by, hash: k.hash, next: k.turns, number: k.begun}
	for w := t.next; w != nil; w = w.next {
		if w.passed == 0 && w.r != nil && w.r.ledger.isAnswered() {
			w.passed = t.number
		}
		t.readBeside(w)
	}
	k.turns = t
	k.orderLocked(t)
}

// beginWithin is begin that waits where it has to. It fails after timeout.
func (o *overlaps) beginWithin(t *turn, hash uint64, by writer, timeout time.Duration) bool {
	sealed := o.begin(t, hash, by)
	if sealed == nil {
		return true
	}
	over := time.NewTimer(timeout)
	defer over.Stop()
	for sealed != nil {
		select {
		case <-sealed:
			sealed = o.begin(t, hash, by)
		case <-over.C:
			return false
		}
	}
	return true
}

// tell has who waits look again.
func (k *overlap) tell() {
	if k.moved != nil {
		close(k.moved)
		k.moved = nil
	}
}

// overlapped reports whether a write overlaps, or has overlapped, with another client's. known: all
// of these that have ended report to the journal themselves.
func (o *overlaps) overlapped(t *turn) (is, known bool) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(t.beside) > 0 || s.findLocked(t.hash).othersLocked(t), !t.hasBeside()
}

// othersLocked reports whether a client's write overlaps with t that has not ended.
func (k *overlap) othersLocked(t *turn) bool {
	for w := k.turns; w != nil; w = w.next {
		if w != t && !w.ended && w.overlaps(t) {
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
	for t := k.firstLocked(); t != nil; t = t.next {
		if !t.reads {
			return true
		}
	}
	return false
}

// firstLocked is the newest of the run's turns; nil if there is no run.
func (k *overlap) firstLocked() *turn {
	if k == nil {
		return nil
	}
	return k.turns
}

// end notes that all legs of a write have ended, on these backends positively;
// landed reports whether it may have come to be stored anywhere. The write counts as under
// way until leave. untold: there are others that overlap with it, which have to be told of
// it: endBeside has to follow, and nothing is noted yet.
func (o *overlaps) end(t *turn, positive uint64, landed bool) (unordered uint64, untold bool) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if landed && s.findLocked(t.hash).othersLocked(t) {
		return 0, true
	}
	t.ended = true
	return t.differing(positive), false
}

// isUnderWay reports whether it is in the table. Its owner asks.
func (t *turn) isUnderWay() bool { return t.number != 0 }

// leave takes a write that has ended out. What followed it starts, if it is still waiting:
// startNext has to follow.
func (o *overlaps) leave(t *turn) (next []*leg) {
	s := o.shard(t.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.findLocked(t.hash)
	at := &k.turns
	for *at != t {
		at = &(*at).next
	}
	*at = t.next
	t.out.Store(0)
	next = k.followersLocked(t, ^uint64(0), false)
	k.missLocked(t)
	reads := t.reads
	*t = turn{}
	if reads {
		s.dropLocked(k)
	} else {
		s.leaveLocked(k)
	}
	return next
}

// leaveLocked is for a write that has left the run, or repair.
func (s *overlapShard) leaveLocked(k *overlap) {
	if k.open--; k.open > 0 {
		return
	}
	k.tell()
	s.dropLocked(k)
}

// dropLocked ends the run if nothing is under way.
func (s *overlapShard) dropLocked(k *overlap) {
	if k.open > 0 || k.turns != nil {
		return
	}
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
