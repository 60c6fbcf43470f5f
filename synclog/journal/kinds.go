package journal

import (
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/akubra/akubra/synclog/task"
)

// class is what many pending keys have in common. A slot holds only its number.
type class struct {
	owed    uint64 // backends that may lack anything of the key
	lacking uint64 // of these, the ones that lack an acknowledged write of what a GET gives
	// removing, of a bucket's own record, are the backends that owe its removal.
	removing uint64
	bucket   *bucketCount // nil: any bucket's
	parked   uint8        // why, see parkCode
}

// parkCode is a number for why a key is parked: 0 if it is not, its place in task.ParkReasons plus
// one, or one more than the last if the reason is not known here.
func parkCode(why []byte) uint8 {
	if len(why) == 0 {
		return 0
	}
	i := slices.Index(task.ParkReasons, task.ParkReason(why))
	if i < 0 {
		i = len(task.ParkReasons)
	}
	return uint8(i + 1)
}

// bucketCount counts what a bucket's keys are owed, so that a listing can be answered by a backend
// that lacks nothing in it (R30).
type bucketCount struct {
	name    string
	refs    int     // classes and open intents
	lacking []int32 // keys by backend
	out     []int32 // open intents by backend
	// first and last are the oldest and the newest of these intents.
	first, last uint32
	// removing are the backends that owe the bucket's removal, and leaving those whose legs are out.
	removing, leaving tally
}

func (b *bucketCount) count(mask uint64, n int32) { count(b.lacking, mask, n) }

func count(to []int32, mask uint64, n int32) {
	for ; mask != 0; mask &= mask - 1 {
		to[bits.TrailingZeros64(mask)] += n
	}
}

// kinds are the classes of the pending keys, with the number of keys in each, and the buckets.
type kinds struct {
	classes []class // by number; the first one is never freed
	byKind  []int   // live slots
	kindID  map[class]uint16
	unused  []uint16
	buckets map[string]*bucketCount
	any     bucketCount // what keys are owed of which the bucket is not known
	mine    uint64      // backends that are configured
	// removals counts removals that are owed, so that who asks for one need not lock.
	removals *atomic.Int32
}

const (
	// maxKinds: keys beyond it belong to otherKinds, which stands for anything owed by every
	// backend, in any bucket. Their records are more precise.
	maxKinds   = 1<<16 - 1
	otherKinds = 0
	// maxIdleBuckets buckets are remembered although nothing in them is owed, because they are
	// likely to come again.
	maxIdleBuckets = 1 << 10
)

func (k *kinds) init(mine uint64) {
	k.byKind, k.unused, k.any = []int{0}, nil, bucketCount{}
	k.mine, k.kindID, k.buckets = mine, map[class]uint16{}, map[string]*bucketCount{}
	k.removals = new(atomic.Int32)
	k.classes = []class{{owed: mine, lacking: mine}}
	k.any.lacking = make([]int32, bits.OnesCount64(mine))
}

// bucket returns a bucket's counts. leave must follow.
func (k *kinds) bucket(name []byte) *bucketCount {
	b := k.buckets[string(name)]
	if b == nil {
		if len(k.buckets) >= maxIdleBuckets {
			k.dropIdle()
		}
		n := bits.OnesCount64(k.mine)
		counts := make([]int32, 2*n)
		b = &bucketCount{name: string(name), lacking: counts[:n:n], out: counts[n:], first: noOpen, last: noOpen}
		k.buckets[b.name] = b
	}
	b.refs++
	return b
}

func (k *kinds) leave(b *bucketCount) {
	if b.refs--; b.refs == 0 && len(k.buckets) > maxIdleBuckets {
		delete(k.buckets, b.name)
	}
}

func (k *kinds) dropIdle() {
	for name, b := range k.buckets {
		if b.refs == 0 {
			delete(k.buckets, name)
		}
	}
}

// kindOf counts a key with this record and returns the number of its class.
func (k *kinds) kindOf(r *record) uint16 {
	return k.kindOfClass(class{owed: r.owed(), lacking: r.lacking(k.mine) & k.mine, removing: r.removing() & k.mine, parked: parkCode(r.parked)}, r.bucket)
}

func (k *kinds) kindOfClass(c class, bucket []byte) (kind uint16) {
	c.bucket = k.bucket(bucket)
	kind, ok := k.kindID[c]
	switch {
	case ok:
		k.leave(c.bucket)
	case len(k.unused) > 0:
		n := len(k.unused)
		kind, k.unused = k.unused[n-1], k.unused[:n-1]
		k.classes[kind] = c
		k.kindID[c] = kind
	case len(k.classes) <= maxKinds:
		kind = uint16(len(k.classes))
		k.classes, k.byKind = append(k.classes, c), append(k.byKind, 0)
		k.kindID[c] = kind
	default:
		k.leave(c.bucket)
		k.countOther()
		return otherKinds
	}
	k.byKind[kind]++
	k.counts(kind).count(k.classes[kind].lacking, 1)
	k.countRemoval(&k.counts(kind).removing, c.removing, 1)
	return kind
}

// countOther counts a key of otherKinds.
func (k *kinds) countOther() {
	k.byKind[otherKinds]++
	k.any.count(k.classes[otherKinds].lacking, 1)
}

// counts is where what a class's keys are owed is counted.
func (k *kinds) counts(kind uint16) *bucketCount {
	if b := k.classes[kind].bucket; b != nil {
		return b
	}
	return &k.any
}

// forgetKind reverses kindOf.
func (k *kinds) forgetKind(kind uint16) {
	c := k.classes[kind]
	k.counts(kind).count(c.lacking, -1)
	k.countRemoval(&k.counts(kind).removing, c.removing, -1)
	if k.byKind[kind]--; k.byKind[kind] > 0 || kind == otherKinds {
		return
	}
	if k.kindID[c] == kind {
		delete(k.kindID, c)
	}
	k.leave(c.bucket)
	k.classes[kind] = class{}
	k.unused = append(k.unused, kind)
}
