package journal

import (
	"math/bits"
	"sync"

	"github.com/akubra/akubra/synclog/task"
)

// maxIdent is the length of key up to which Owed allocates nothing.
const maxIdent = 1280

// identBuffers are for Owed. On the stack, such a buffer would make the stack of every client's
// connection grow to 8 KiB, for good, as soon as anything is pending.
var identBuffers = sync.Pool{New: func() any { return new([maxIdent]byte) }}

// Owed returns the backends that lack, or may lack, an acknowledged write of what a GET of the key
// returns (R30): because of pending keys, and of acknowledged writes whose legs are out. It uses
// only the key's hash, so once in four billion times it answers for another key. Without a key it
// is about the bucket itself: whether it exists. It reads no disk, allocates nothing for a key,
// and does nothing at all while nothing is pending.
func (j *Journal) Owed(bucket, key []byte) (owed uint64) {
	if j.Quiet() {
		return 0
	}
	of := ident{bucket: bucket, key: key}
	if len(key) == 0 {
		of.target = task.BucketTarget(bucket, nil)
	}
	buf := identBuffers.Get().(*[maxIdent]byte) //nolint:forcetypeassert // the pool holds nothing else
	hash := uint32(sipHash(j.hashKey[0], j.hashKey[1], of.append(buf[:0])))
	identBuffers.Put(buf)
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.owedLocked(hash)
}

func (j *Journal) owedLocked(hash uint32) (owed uint64) {
	return j.underWayLocked(hash, j.opens.added) | j.pendingLocked(hash)
}

// underWayLocked is what acknowledged writes are under way to, of those up to a number.
func (j *Journal) underWayLocked(hash uint32, last uint64) (set uint64) {
	for id := j.opens.oldest(hash); id != noOpen; id = j.opens.list[id].newer {
		if o := &j.opens.list[id]; o.number <= last {
			set |= o.lacking
		}
	}
	return set
}

// pendingLocked is what pending keys are owed to.
func (j *Journal) pendingLocked(hash uint32) (owed uint64) {
	t := j.keys.shard(hash)
	for i, id, ok := t.first(hash); ok; i, id, ok = t.after(i) {
		if s := j.keys.at(id); s.hash == hash {
			owed |= j.keys.classes[s.kind].lacking & j.mine
		}
	}
	return owed
}

// Took says that further backends have taken a write whose intent is open, so that reads may go there
// (R30). It is not durable: after a crash they are owed it until repair has looked.
func (j *Journal) Took(seq, backends uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	id, ok := j.opens.find(seq)
	if !ok {
		return
	}
	if o := &j.opens.list[id]; o.lacking&backends != 0 {
		count(o.bucket.out, o.lacking&backends, -1)
		o.lacking &^= backends
	}
}

// OwedPart returns the backends that lack, or may lack, the newest acknowledged write of what a target
// names: tags, an ACL or the like of a key, or without a key a setting of the bucket. It knows nothing
// about single versions. Unlike Owed it reads the record of a pending key.
func (j *Journal) OwedPart(bucket, key, target []byte) (owed uint64) {
	if j.Quiet() {
		return 0
	}
	aspect := task.AspectOf("PUT", target, key, true)
	if aspect == task.Version {
		return 0
	}
	of := ident{bucket: bucket, key: key}
	if len(key) == 0 {
		of.target = task.BucketTarget(bucket, target)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return 0
	}
	for id := j.opens.oldest(j.hashOf(of)); id != noOpen; id = j.opens.list[id].newer {
		var e Entry
		if j.openEntry(&j.opens.list[id], &e) && identOf(&e).is(of) {
			owed |= lackingPart(&e, aspect)
		}
	}
	r, _, ok := j.lookLocked(of)
	if !ok {
		return owed & j.mine
	}
	content := uint64(0) // it takes away what was there
	for i := range r.writes {
		if e := &r.writes[i]; e.Aspect == task.Content && !e.Unacknowledged {
			content = e.Seq
		}
	}
	for i := range r.writes {
		if e := &r.writes[i]; e.Seq > content {
			owed |= lackingPart(e, aspect)
		}
	}
	return owed & j.mine
}

// OwedIn adds to counts, by backend, how many keys of a bucket, and acknowledged writes in flight
// in it, the backend lacks, or may lack, of what a listing shows (R30). It costs as much as Owed.
// Without a bucket it is about the list of buckets: how many of them the backend has not created,
// or removed. That costs as much for each bucket with something pending.
func (j *Journal) OwedIn(bucket []byte, counts []int) { j.OwedApart(bucket, 0, counts, counts) }

// OwedApart is OwedIn that counts apart what is owed until repair has brought it, and what is
// under way: of the latter only what was acknowledged before the call that gave last, or all if
// that is 0. A write that fails is owed from the moment on in which it is not under way any more.
// With a last that is not 0 it costs as much for each write that is under way in the bucket.
func (j *Journal) OwedApart(bucket []byte, last uint64, owed, underWay []int) (now uint64) {
	if j.Quiet() {
		return last
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if now = j.opens.added; last != 0 {
		now = last
	}
	if len(bucket) == 0 {
		j.owedBucketsLocked(now, owed, underWay)
		return now
	}
	add(owed, j.keys.any.lacking)
	in := j.keys.buckets[string(bucket)]
	if in == nil {
		return now
	}
	add(owed, in.lacking)
	if last == 0 {
		add(underWay, in.out)
		return now
	}
	for id := in.first; id != noOpen && j.opens.list[id].number <= last; id = j.opens.list[id].after {
		countTo(underWay, j.opens.list[id].lacking)
	}
	return now
}

func add(to []int, counts []int32) {
	for i := range min(len(to), len(counts)) {
		to[i] += int(counts[i])
	}
}

func countTo(counts []int, set uint64) {
	for ; set != 0; set &= set - 1 {
		if i := bits.TrailingZeros64(set); i < len(counts) {
			counts[i]++
		}
	}
}

func (j *Journal) owedBucketsLocked(last uint64, owed, underWay []int) {
	for name, b := range j.keys.buckets {
		if b.refs == 0 {
			continue
		}
		of := ident{bucket: []byte(name)}
		of.target = task.BucketTarget(of.bucket, nil)
		hash := j.hashOf(of)
		pending := j.pendingLocked(hash)
		countTo(owed, pending)
		countTo(underWay, j.underWayLocked(hash, last)&^pending)
	}
}

// Find returns what is pending for a key, as Next does with the cursor t.Place. target counts only
// if key is empty.
func (j *Journal) Find(bucket, key, target []byte) (t task.Task, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return task.Task{}, false
	}
	of := ident{bucket, key, target}
	if len(key) == 0 {
		of.target = task.BucketTarget(bucket, target)
	}
	r, s, ok := j.lookLocked(of)
	if !ok && len(key) == 0 { // a journal of before has raw ones
		r, s, ok = j.lookLocked(ident{bucket, key, target})
	}
	if !ok || s.bits&slotHidden != 0 || j.opens.inFlight(s.hash, noOpen) {
		return task.Task{}, false
	}
	t = r.task(j.o.Backends)
	t.Version, t.Place = s.version(), s.age-1
	return t, true
}

// lookLocked returns a key's record and slot. It releases the lock while it reads, and starts
// again if the slot has changed meanwhile.
func (j *Journal) lookLocked(want ident) (r *record, s slot, ok bool) {
	hash := j.hashOf(want)
	passed := 0 // slots of other keys with the same hash
again:
	n := 0
	t := j.keys.shard(hash)
	for i, id, ok := t.first(hash); ok; i, id, ok = t.after(i) {
		s = *j.keys.at(id)
		if s.hash != hash {
			continue
		}
		if n++; n <= passed {
			continue
		}
		r, err := j.fetchLocked(s)
		if j.closed {
			return nil, slot{}, false
		}
		if now, ok := j.keys.withAge(s.age); !ok || *j.keys.at(now) != s {
			goto again
		}
		if err != nil { // with this hash it hardly ever is another key's
			unread := j.keys.unread(want, &s)
			r = &unread
		}
		if r.ident().is(want) {
			return r, s, true
		}
		passed++
		goto again // the table may have changed
	}
	return nil, slot{}, false
}
