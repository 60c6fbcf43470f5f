package journal

import (
	"math/bits"
	"slices"
	"sort"

	"github.com/akubra/akubra/synclog/task"
)

// slot is one pending key in memory: where its record is, and just enough to find, count and order
// it. The key itself stays on disk.
type slot struct {
	age  uint64 // First of its record, made unique; ascending from slot to slot
	seg  uint32 // number of the segment; 0: the slot is dead
	off  uint32
	hash uint32 // of bucket and key
	kind uint16 // keys.classes[kind] is its class
	size uint8  // of the record, as sizeCode has it
	bits uint8  // slotParked, slotHidden, and the version above them
}

const (
	slotParked   = 1 << 0
	slotHidden   = 1 << 1 // no configured backend is owed anything
	versionShift = 2
)

// version changes with each merge into the key; it is never 0.
func (s *slot) version() uint8 { return s.bits>>versionShift + 1 }

// A page is 12 KiB, one of the allocator's size classes.
const (
	pageSlots = 511
	pageShift = 9
)

type page struct {
	slots   [pageSlots]slot
	n       uint32 // slots used so far
	live    uint32
	visible uint32 // live and not hidden
}

const shards = 64 // so that no table grows for long

// keys are the pending keys, oldest first.
type keys struct {
	pages []*page  // by page id; nil: free
	free  []uint32 // page ids
	order []uint32 // page ids by age
	index [shards]table
	kinds

	live, visible, parked int
	// appeared and vanished count keys that became visible, and those that ceased to be.
	appeared, vanished uint64
	bytes              int64 // of the live records, about
	lastAge            uint64
}

func (k *keys) init(mine uint64) {
	*k = keys{}
	k.kinds.init(mine)
}

func (k *keys) at(id uint32) *slot { return &k.pages[id>>pageShift].slots[id&(1<<pageShift-1)] }

func (k *keys) hashOf(id uint32) uint32 { return k.at(id).hash }

func (k *keys) shard(hash uint32) *table { return &k.index[hash>>26] }

// unread stands for a record that cannot be read: it is what memory knows about it.
func (k *keys) unread(of ident, s *slot) record {
	r := record{bucket: of.bucket, key: of.key, first: s.age, unread: true}
	if len(of.key) == 0 {
		r.target = of.target
	}
	r.rivals = []Entry{{
		Seq: s.age, Aspect: task.Content, Unacknowledged: true, Owed: k.classes[s.kind].owed,
		Bucket: of.bucket, Key: of.key, Target: of.target, Reason: []byte("its record cannot be read"),
	}}
	return r
}

// place is a record's place in the log and its size.
type place struct {
	seg, off uint32
	size     int
}

// add makes a slot for a new key, behind all others.
func (k *keys) add(r *record, hash uint32, at place) uint32 {
	k.lastAge = max(k.lastAge+1, r.first)
	return k.addAged(slot{age: k.lastAge, hash: hash}, at, k.kindOf(r), len(r.parked) > 0)
}

// addAged makes a slot with a given age, of a kind in which it has been counted already.
func (k *keys) addAged(s slot, at place, kind uint16, parked bool) uint32 {
	id := k.room()
	p := k.pages[id>>pageShift]
	s.seg = at.seg
	p.slots[p.n] = s
	p.n++
	p.live++
	k.live++
	k.shard(s.hash).insert(k, id)
	k.count(id, at, kind, parked)
	return id
}

func (k *keys) room() uint32 {
	if n := len(k.order); n > 0 {
		if p := k.pages[k.order[n-1]]; p.n < pageSlots {
			return k.order[n-1]<<pageShift | p.n
		}
	}
	var id uint32
	if n := len(k.free); n > 0 {
		id, k.free = k.free[n-1], k.free[:n-1]
		k.pages[id] = new(page)
	} else {
		id = uint32(len(k.pages))
		k.pages = append(k.pages, new(page))
	}
	k.order = append(k.order, id)
	return id << pageShift
}

// count sets the record of a slot that has none counted yet.
func (k *keys) count(id uint32, at place, kind uint16, parked bool) {
	s := k.at(id)
	s.seg, s.off, s.size, s.kind = at.seg, at.off, sizeCode(at.size), kind
	s.bits &^= slotParked | slotHidden
	if k.classes[kind].owed&k.mine == 0 {
		s.bits |= slotHidden
	} else {
		k.visible++
		k.appeared++
		k.pages[id>>pageShift].visible++
		if parked {
			s.bits |= slotParked
			k.parked++
		}
	}
	k.bytes += codedSize(s.size)
}

func (k *keys) uncount(id uint32) {
	s := k.at(id)
	if s.bits&slotHidden == 0 {
		k.visible--
		k.vanished++
		k.pages[id>>pageShift].visible--
	}
	if s.bits&slotParked != 0 {
		k.parked--
	}
	k.bytes -= codedSize(s.size)
	k.forgetKind(s.kind)
}

// set gives a key a new record.
func (k *keys) set(id uint32, r *record, at place) {
	kind := k.kindOf(r) // first, so that one that stays is kept
	appeared, vanished := k.appeared, k.vanished
	k.uncount(id)
	k.count(id, at, kind, len(r.parked) > 0)
	if k.appeared > appeared && k.vanished > vanished { // it was visible, and still is
		k.appeared, k.vanished = appeared, vanished
	}
}

// mayHave reports whether there may be a key with this hash.
func (k *keys) mayHave(hash uint32) bool {
	t := k.shard(hash)
	for i, id, ok := t.first(hash); ok; i, id, ok = t.after(i) {
		if k.at(id).hash == hash {
			return true
		}
	}
	return false
}

// changed gives a key another version.
func (k *keys) changed(id uint32) { k.at(id).bits += 1 << versionShift }

func (k *keys) remove(id uint32) {
	k.uncount(id)
	k.shard(k.at(id).hash).remove(k, id)
	k.at(id).seg = 0
	k.live--
	p := k.pages[id>>pageShift]
	p.live--
	switch {
	case p.live == 0:
		at := slices.Index(k.order, id>>pageShift)
		k.order = slices.Delete(k.order, at, at+1)
		k.drop(id >> pageShift)
	case p.live < pageSlots/4 && bits.OnesCount32(p.live) == 1: // at each halving
		at := slices.Index(k.order, id>>pageShift)
		if !k.tryMerge(at) && at > 0 {
			k.tryMerge(at - 1)
		}
	}
}

func (k *keys) drop(page uint32) {
	k.pages[page] = nil
	k.free = append(k.free, page)
}

// tryMerge combines the slots of a page and the next one if that leaves half a page free: a few
// old keys must not keep many pages alive.
func (k *keys) tryMerge(at int) bool {
	if at+1 >= len(k.order) {
		return false
	}
	to, from := k.order[at], k.order[at+1]
	p, q := k.pages[to], k.pages[from]
	if p.live+q.live > pageSlots/2 {
		return false
	}
	n := uint32(0)
	for _, src := range [2]uint32{to, from} {
		page := k.pages[src]
		for i := range page.n {
			s := page.slots[i]
			if s.seg == 0 {
				continue
			}
			k.shard(s.hash).replace(s.hash, src<<pageShift|i, to<<pageShift|n)
			p.slots[n] = s
			n++
		}
	}
	clear(p.slots[n:])
	p.n, p.live, p.visible = n, n, p.visible+q.visible
	k.order = slices.Delete(k.order, at+1, at+2)
	k.drop(from)
	return true
}

// after returns the first live slot with a greater age; with visible, only among those that are
// not hidden.
func (k *keys) after(age uint64, visible bool) (id uint32, ok bool) {
	at := sort.Search(len(k.order), func(i int) bool { return k.pages[k.order[i]].slots[0].age > age })
	for at = max(0, at-1); at < len(k.order); at++ {
		p := k.pages[k.order[at]]
		if visible && p.visible == 0 {
			continue
		}
		i := sort.Search(int(p.n), func(i int) bool { return p.slots[i].age > age })
		for ; i < int(p.n); i++ {
			if s := &p.slots[i]; s.seg != 0 && !(visible && s.bits&slotHidden != 0) {
				return k.order[at]<<pageShift | uint32(i), true
			}
		}
	}
	return 0, false
}

// pageAfter calls fn for some of the live slots behind an age, in order, and reports whether there
// were any.
func (k *keys) pageAfter(age uint64, fn func(*slot)) bool {
	id, ok := k.after(age, false)
	if !ok {
		return false
	}
	p := k.pages[id>>pageShift]
	for i := id & (1<<pageShift - 1); i < p.n; i++ {
		if p.slots[i].seg != 0 {
			fn(&p.slots[i])
		}
	}
	return true
}

// withAge returns the live slot with this age.
func (k *keys) withAge(age uint64) (id uint32, ok bool) {
	id, ok = k.after(age-1, false)
	return id, ok && k.at(id).age == age
}

// Sizes are stored in one byte, rounded up: in steps of 32 bytes up to 4 KiB, and of 8 KiB beyond.
func sizeCode(n int) uint8 {
	if n <= 127*32 {
		return uint8((n + 31) / 32)
	}
	return uint8(min(255, 127+(n+8191)/8192))
}

func codedSize(c uint8) int64 {
	if c <= 127 {
		return int64(c) * 32
	}
	return int64(c-127) * 8192
}
