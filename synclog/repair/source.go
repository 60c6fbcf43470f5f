package repair

import "time"

// nearer changes a plan to copy from the nearest of the backends that are known to have the same
// as its source: nothing is pending on them, and they show what was acknowledged, down to the
// metadata. It makes no difference to the copy which of them is the source, but a large object
// should not travel a long way twice. A person's decision is not changed.
func (w *run) nearer(p plan, s *sight) plan {
	c := w.know.stands
	if p.action != actCopy || p.source < 0 || w.decided != nil || c == nil || w.know.owes(p.source) || !c.shownBy(p.source, &s.views[p.source]) {
		return p
	}
	chosen := &s.views[p.source]
	best := p.source
	for i := range s.views {
		v := &s.views[i]
		switch {
		case i == best || v.is != present || w.know.owes(i) || !c.shownBy(i, v) || !v.same(chosen) || v.refused != "":
		case (v.lossy != nil) != (chosen.lossy != nil) || v.invents != chosen.invents:
		case w.r.backends[i].nearer(w.r.backends[best]):
			best = i
		}
	}
	p.source = best
	return p
}

// farther is how many times longer answers must take from a backend for it to count as farther
// away than another one of its weight.
const farther = 5 * time.Millisecond

// nearer reports whether a backend is nearer than another one, or cheaper, according to its
// weight; among equals, whether it answers in less than half the time.
func (b *backend) nearer(other *backend) bool {
	if b.weight != other.weight {
		return b.weight > other.weight
	}
	mine, its := b.pace.usual(), other.pace.usual()
	return mine > 0 && its > 0 && 2*mine+farther < its
}
