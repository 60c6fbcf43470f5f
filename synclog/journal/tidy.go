package journal

import (
	"cmp"
	"slices"
)

// forget drops the names of backends that are neither configured nor owed anything.
func (b *book) forget() {
	used := b.mine
	for _, c := range b.keys.classes {
		used |= c.owed
	}
	b.opens.each(func(_ uint32, o *open) bool {
		var e Entry
		if b.openEntry(o, &e) {
			used |= e.Owed
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
	clear(k.kindID)
	for i := range k.classes {
		c := &k.classes[i]
		c.owed = (&segment{bits: to}).ours(c.owed & used)
		if k.byKind[i] > 0 && i != otherKinds {
			k.kindID[*c] = uint16(i)
		}
	}
}

// sort puts the keys in order of age, each age once, and drops those that no backend is owed. It
// may be called only while no intent is open.
func (b *book) sort() {
	k := &b.keys
	ordered, last := true, uint64(0)
	for _, id := range k.order {
		for i := range k.pages[id].n {
			s := &k.pages[id].slots[i]
			ordered = ordered && s.seg != 0 && s.age > last && k.classes[s.kind].owed != 0
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
			case k.classes[s.kind].owed == 0:
				b.segment(s.seg).live--
				k.forgetKind(s.kind)
			default:
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(x, y slot) int { return cmp.Compare(x.age, y.age) })
	*k = keys{kinds: k.kinds}
	for _, s := range all {
		s.age = max(s.age, k.lastAge+1)
		k.lastAge = s.age
		at := place{seg: s.seg, off: s.off, size: int(codedSize(s.size))}
		k.addAged(s, at, s.kind, s.bits&slotParked != 0)
	}
}
