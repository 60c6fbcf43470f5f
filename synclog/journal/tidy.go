package journal

import (
	"cmp"
	"slices"
)

// forget drops the names of backends that are neither configured nor owed.
func (b *book) forget() {
	used := b.mine
	for i, n := range b.keys.byMask {
		if n > 0 {
			used |= b.keys.masks[i]
		}
	}
	b.opens.each(func(_ uint32, o *open) bool {
		var r record
		if b.openEntry(o, &r) {
			used |= r.Owed
		}
		return true
	})
	to := make([]uint8, len(b.names)) // the new bit of each old one
	names := b.names[:0:0]
	for i, name := range b.names {
		if used>>i&1 != 0 {
			to[i] = uint8(len(names))
			names = append(names, name)
		}
	}
	b.names = names
	for _, s := range b.segs {
		for i := range s.bits {
			s.bits[i] = to[s.bits[i]] // of a name that is dropped: nothing needs it
		}
	}
	k := &b.keys
	k.maskID = map[uint64]uint16{}
	for i, old := range k.masks {
		m := (&segment{bits: to}).ours(old & used)
		k.masks[i] = m
		if _, ok := k.maskID[m]; (!ok || k.byMask[i] > 0) && i != otherMasks {
			k.maskID[m] = uint16(i)
		}
	}
	k.maskID[0] = 0
}

// sort brings the keys in order of age, each age once, and drops those that no
// backend is owed; only as long as no intent is open.
func (b *book) sort() {
	k := &b.keys
	ordered, last := k.byMask[0] == 0, uint64(0)
	for _, id := range k.order {
		for i := range k.pages[id].n {
			s := &k.pages[id].slots[i]
			ordered = ordered && s.seg != 0 && s.age > last
			last = s.age
		}
	}
	if ordered {
		k.lastAge = last
		return
	}
	all := make([]slot, 0, k.live)
	for _, id := range k.order {
		for i := range k.pages[id].n {
			s := k.pages[id].slots[i]
			switch {
			case s.seg == 0:
			case s.mask == 0:
				b.segment(s.seg).live--
			default:
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(x, y slot) int { return cmp.Compare(x.age, y.age) })
	k.reset()
	for _, s := range all {
		s.age = max(s.age, k.lastAge+1)
		k.lastAge = s.age
		at := place{seg: s.seg, off: s.off, size: int(codedSize(s.size))}
		k.addAged(s, at, k.masks[s.mask], s.bits&slotParked != 0)
	}
}

// reset drops all slots and keeps the masks.
func (k *keys) reset() {
	masks, maskID, byMask, mine := k.masks, k.maskID, k.byMask, k.mine
	clear(byMask)
	*k = keys{masks: masks, maskID: maskID, byMask: byMask, mine: mine}
}
