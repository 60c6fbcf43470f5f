package repair

import "github.com/akubra/akubra/synclog/task"

// mayHave reports whether a backend that owes what stands may show it all the same, under an ETag
// of its own that it has told nobody.
func (k *knowledge) mayHave(i int, v *view) bool {
	c := k.stands
	told := i < len(c.etags) && c.etags[i] != ""
	return k.own && !told && !has(c.said, i) && v.is == present && !v.damaged && !v.folded && (c.size == 0 || v.size == c.size)
}

// asked are the backends, of so many, that reads are sent to (R30), as the journal says: those that
// neither lack what stands nor may show a write of unknown outcome, or if there are none those that may
// show the last such write. Clients have seen what they have, and must not see anything older later.
func (k *knowledge) asked(backends int) uint64 {
	set, doubt := uint64(1)<<backends-1, uint64(0)
	if c := k.stands; c != nil && c.took != 0 {
		set &^= c.owed
	} else if c != nil {
		set &^= c.owed &^ c.said
	}
	var last *claim
	for i := range k.rivals {
		c := &k.rivals[i]
		if c.acked || c.took != 0 {
			continue
		}
		doubt |= c.owed &^ c.said
		if last == nil || c.seq > last.seq {
			last = c
		}
	}
	switch {
	case set&^doubt != 0:
		return set &^ doubt
	case last != nil && set&last.owed != 0:
		return set & last.owed
	}
	return set
}

// overtaken reports whether a write of unknown outcome has come to pass, since what stands, on all
// backends that reads are sent to. A backend that owes what stands is not among them, although it may
// have it late.
func (k *knowledge) overtaken(views []view) bool {
	if k.stands == nil || k.stands.del || k.stands.said == 0 {
		return false
	}
	asked := k.asked(len(views))
	for i := range views {
		if has(asked, i) && !k.cameAfter(i, &views[i]) {
			return false
		}
	}
	return asked != 0
}

// deletedLast reports whether a delete of unknown outcome that no other backend had to carry out has
// come to pass on all backends that reads are sent to.
func (k *knowledge) deletedLast(views []view) bool {
	asked := k.asked(len(views))
	for i := range views {
		if has(asked, i) && !(views[i].is == absent && k.cameAfter(i, &views[i])) {
			return false
		}
	}
	return asked != 0 && asked != uint64(1)<<len(views)-1
}

// cameAfter reports whether what a backend shows is not what stands, but what a write of unknown outcome
// may have left.
func (k *knowledge) cameAfter(i int, v *view) bool {
	if k.stands != nil && k.stands.shownBy(i, v) || v.damaged || v.folded {
		return false
	}
	for j := range k.rivals {
		c := &k.rivals[j]
		switch {
		case c.acked || !has(c.owed, i):
		case c.del && v.is == absent, !c.del && v.is == present && (c.etag == "" || c.shownBy(i, v)):
			return true
		}
	}
	return false
}

// planMaybe leaves what may be there to a person. A policy does not side with a backend that has
// nothing: what the others have may be the last copy, and an absence alone deletes nothing (R35).
func (k *knowledge) planMaybe(views []view, p policy) plan {
	leave := parked(task.Conflict, "who took it has it no more, and whether another backend has it its ETag does not tell")
	if p.prefer >= 0 && views[p.prefer].is == absent {
		return leave
	}
	return k.settled(leave, views, p)
}

// planDoubtfulDelete carries out a delete that came after what stands, if all backends that took what
// stands show that it was carried out: one of unknown outcome, or one among the rivals that were
// dropped. What other backends have is older, or from a write that no client was told about.
func (k *knowledge) planDoubtfulDelete(claims []*claim, views []view, p policy) (d plan, ok bool) {
	ok = k.lost // one of those that are not kept may be it
	for _, c := range claims {
		ok = ok || c.del && !c.acked
	}
	if !ok || (k.stands == nil || k.stands.said == 0) && !k.deletedLast(views) {
		return plan{}, false
	}
	asked := k.asked(len(views))
	d = plan{action: actDelete, source: -1}
	for i := range views {
		switch v := &views[i]; {
		case v.is != present:
		case has(asked, i) || !k.owes(i) || v.folded || v.refused != "":
			return plan{}, false
		default:
			d.targets = append(d.targets, i)
		}
	}
	return k.finish(d, plan{}, views, p), len(d.targets) > 0
}
