package repair

import "github.com/akubra/akubra/synclog/task"

// mayHave reports whether a backend that owes what stands may show it all the same, under an ETag
// of its own that it has told nobody.
func (k *knowledge) mayHave(i int, v *view) bool {
	c := k.stands
	told := i < len(c.etags) && c.etags[i] != ""
	return k.own && !told && !has(c.said, i) && v.is == present && !v.damaged && !v.folded && (c.size == 0 || v.size == c.size)
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

// planDoubtfulDelete carries out a delete of unknown outcome, or one among rivals that are not
// kept, that came after what stands, if all that took what stands show that it was carried out.
// What others have is older, or from a write that nobody was told about.
func (k *knowledge) planDoubtfulDelete(claims []*claim, views []view, p policy) (d plan, ok bool) {
	ok = k.lost // one of those that are not kept may be it
	for _, c := range claims {
		ok = ok || c.del && !c.acked
	}
	if !ok || k.stands == nil || k.stands.said == 0 {
		return plan{}, false
	}
	d = plan{action: actDelete, source: -1}
	for i := range views {
		switch v := &views[i]; {
		case v.is != present:
		case has(k.stands.said, i) || !k.owes(i) || v.folded || v.refused != "":
			return plan{}, false
		default:
			d.targets = append(d.targets, i)
		}
	}
	return k.finish(d, plan{}, views, p), len(d.targets) > 0
}
