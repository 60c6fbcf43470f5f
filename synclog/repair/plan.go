package repair

import "github.com/akubra/akubra/synclog/task"

// What has to be done about a key is worked out here, by functions of what was acknowledged
// (claims) and of what each backend shows (views), and of nothing else (R35). docs/REPAIR.md has
// their table, which the test uses.
//
//   - A copy's source is a backend that is known to have the content: it does not owe it
//     and shows it. A delete follows from an acknowledged delete alone.
//   - Age, a clock, an absence or a majority decide nothing (but by OnConflict).
//   - Where knowing is not enough, the key is parked, and never closed as equal.

// Policy says what happens to a conflict (OnConflict).
type Policy struct {
	// Newest takes what is newest by the backends' own clocks. Nothing is deleted.
	Newest bool
	// Prefer names the backend whose state is right, even if it has nothing.
	Prefer string
}

// policy is a Policy with the backend's number.
type policy struct {
	newest bool
	prefer int // -1: none
}

// action is what has to be done about a key.
type action uint8

const (
	actNothing action = iota
	actCopy           // source to targets
	actDelete         // at targets
)

// plan is the result of planContent or planPart. Without an action, a wait or anything parked, all
// are equal.
type plan struct {
	action  action
	source  int
	targets []int
	wait    bool // for backends that cannot be asked
	park    task.ParkReason
	why     string
}

// parked is a plan that leaves the key to a person; nothing else is left to be done.
func parked(reason task.ParkReason, why string) plan { return plan{source: -1, park: reason, why: why} }

// planContent makes the plan for the object itself.
func planContent(k *knowledge, views []view, p policy) plan {
	if out := unseen(views); out == len(views) {
		return plan{source: -1, wait: true}
	}
	if k.stands == nil && len(k.rivals) == 0 && !k.lost {
		return planFound(k, views, p)
	}
	claims := make([]*claim, 0, 1+len(k.rivals))
	if k.stands != nil {
		claims = append(claims, k.stands)
	}
	for i := range k.rivals {
		claims = append(claims, &k.rivals[i])
	}
	if c, source := k.winner(claims, views); c != nil && c.del {
		return k.planDelete(c, claims, views, p)
	} else if c != nil && !c.certain(source, views) {
		return plan{source: -1, wait: true}
	} else if c != nil {
		return k.told(c, claims, views, k.planCopy(claims, source, views, p))
	}
	return k.planNobody(claims, views, p)
}

// winner is the write that every backend should have, and who certainly has it: the newest
// acknowledged one that any backend shows. Among rivals, one that is there goes before one that
// deleted it, so that no last copy is lost.
func (k *knowledge) winner(claims []*claim, views []view) (best *claim, source int) {
	source = -1
	var rank int
	overtaken := k.overtaken(views)
	for _, c := range claims {
		if c.del {
			continue
		}
		for i := range views {
			if !c.shownBy(i, &views[i]) || overtaken && c == k.stands {
				continue
			}
			r := 1
			switch sure := !has(c.owed, i); {
			case c.acked && sure && c == k.stands:
				r = 6
			case c.acked && sure:
				r = 5
			case c.acked && c == k.stands:
				r = 4
			case c.acked:
				r = 3
			case sure:
				r = 2
			}
			r *= 2
			if has(c.said, i) { // who never said so may show the same bytes from before, with other metadata
				r++
			}
			r *= 2
			if views[i].lossy == nil { // who keeps all is the better source
				r++
			}
			if r > rank {
				best, source, rank = c, i, r
			}
		}
	}
	if k.stands != nil && k.stands.del && rank < 3*2*2 && !k.explained(claims, views) {
		// No other acknowledged write is there.
		return k.stands, -1
	}
	if best != nil {
		return best, fullest(best, source, claims, views)
	}
	// Nothing is left of what was put: an acknowledged delete that was carried out is right.
	for _, c := range claims {
		for i := range views {
			if c.del && c.acked && (c == k.stands || has(c.said, i) && c.shownBy(i, &views[i])) {
				return c, -1
			}
		}
	}
	return nil, -1
}

// explained reports whether a backend that took the delete shows a rival: then the rival came
// after it.
func (k *knowledge) explained(claims []*claim, views []view) bool {
	for _, c := range claims {
		for i := range views {
			if !c.del && has(k.stands.took&^k.stands.owed, i) && c.shownBy(i, &views[i]) {
				return true
			}
		}
	}
	return false
}

// planCopy makes all backends like source that owe anything, or have a rival.
func (k *knowledge) planCopy(claims []*claim, source int, views []view, p policy) plan {
	d := plan{action: actCopy, source: source}
	var leave plan
	for i := range views {
		v := &views[i]
		switch {
		case i == source || v.is == unknown || v.same(&views[source]):
			continue
		case v.refused != "":
			leave = worse(leave, parked(task.NotKept, v.refused))
		case v.folded:
			leave = worse(leave, parked(task.Conflict, nameTaken))
		case v.is == present && v.sameContent(&views[source]) && v.lost(&views[source]) != "":
			leave = worse(leave, parked(task.NotKept, v.lost(&views[source])))
		case k.owes(i) || v.damaged || k.isPast(i, v) || k.mixed || k.crossed || k.rival(claims, i, v):
			d.targets = append(d.targets, i)
		case v.is == present && v.sameContent(&views[source]):
			leave = worse(leave, k.unlike(v, &views[source]))
		case v.is == absent:
			leave = worse(leave, parked(task.Conflict, "it was deleted past the proxy"))
		default:
			leave = worse(leave, parked(task.Conflict, "it was changed past the proxy"))
		}
	}
	return k.finish(d, leave, views, p)
}

// lost is what two views of the same content differ in because one of the backends is known not to
// keep it, so that nothing can be copied; "" if they differ in anything else.
func (v *view) lost(o *view) string {
	name := v.metaBut(o)
	if name != "" && (v.loses(name) && !v.hasName(name) || o.loses(name) && !o.hasName(name)) {
		return name
	}
	return ""
}

// rival reports whether a backend shows a write that may just as well have been the last one.
func (k *knowledge) rival(claims []*claim, i int, v *view) bool {
	for _, c := range claims {
		if c.shownBy(i, v) && (k.stands == nil || c != k.stands || len(claims) > 1) {
			return true
		}
	}
	// One whose ETag nobody knows explains whatever has come after what stands.
	for _, c := range claims {
		if !c.acked && (c.any || c.del && v.is == absent || !c.del && v.is == present && c.etag == "" && (c.size == 0 || c.size == v.size)) {
			return true
		}
	}
	return k.lost || k.blur
}

// planDelete carries out an acknowledged delete where it is owed, whatever others show.
func (k *knowledge) planDelete(c *claim, claims []*claim, views []view, p policy) plan {
	d := plan{action: actDelete, source: -1}
	var leave plan
	for i := range views {
		v := &views[i]
		switch {
		case v.is != present || v.folded:
		case v.refused != "":
			leave = worse(leave, parked(task.NotKept, v.refused))
		case has(c.owed, i) || k.isPast(i, v):
			d.targets = append(d.targets, i)
		case k.rival(claims, i, v): // of unknown outcome, and behind the delete: both are right
			return k.planCopy(claims, i, views, p)
		default:
			leave = worse(leave, parked(task.Conflict, "it was deleted, and has come back past the proxy"))
		}
	}
	return k.finish(d, leave, views, p)
}

// planNobody is for content that no backend shows that can be asked.
func (k *knowledge) planNobody(claims []*claim, views []view, p policy) plan {
	if unseen(views) > 0 {
		return plan{source: -1, wait: true}
	}
	first := firstPresent(views)
	damaged, changed, folded, maybe := false, false, false, false
	for i := range views {
		maybe = maybe || k.stands != nil && k.mayHave(i, &views[i])
		folded = folded || views[i].folded
		damaged = damaged || views[i].damaged
		// One that took it and owes it all the same, without a rival, has it, too, but for what repair may have done there.
		had := !k.owes(i) || !k.doubtful() && has(k.stands.said, i)
		changed = changed || views[i].is == present && had && !k.isPast(i, &views[i])
	}
	switch {
	case first < 0 && (k.stands == nil || k.lost || deletes(claims)):
		return plan{source: -1} // never made, or a delete of unknown outcome came to pass
	case k.stands == nil || k.vague():
		// Whatever is there is right: what it replaced, or a write of unknown outcome. A backend
		// that reads are sent to comes first: of what stands, who took that has it, or what came after it.
		source := k.present(views, k.asked(len(views)))
		if source < 0 && k.deletedLast(views) {
			break
		}
		if source < 0 && k.stands == nil {
			source = k.present(views, ^uint64(0))
		} else if source < 0 {
			source = k.present(views, k.stands.said)
		}
		if source < 0 {
			break
		}
		if !views[source].damaged && !views[source].folded {
			all := *k
			all.lost = true
			return all.planCopy(claims, fuller(source, views), views, p)
		}
		return k.settled(parked(task.Damaged, "its content is not what its ETag says"), views, p)
	}
	if d, ok := k.planDoubtfulDelete(claims, views, p); ok {
		return d
	}
	switch {
	case damaged:
		return k.settled(parked(task.Damaged, "its content is not what was acknowledged, and no other backend has it"), views, p)
	case folded:
		return k.settled(parked(task.Conflict, nameTaken), views, p)
	case changed:
		return k.settled(parked(task.Conflict, "it was changed past the proxy, and no backend has what was acknowledged"), views, p)
	case maybe:
		return k.planMaybe(views, p)
	}
	return parked(task.Lost, "it was acknowledged, and no backend has it any more")
}

// present is a backend of set that shows anything, if there is one: rather one that is whole and in no doubt.
func (k *knowledge) present(views []view, set uint64) int {
	source := -1
	for i := range views {
		if !has(set, i) || views[i].is != present {
			continue
		}
		if source < 0 || !views[i].damaged && !views[i].folded && (views[source].damaged || views[source].folded || k.owes(source) && !k.owes(i)) {
			source = i
		}
	}
	return source
}

const nameTaken = "the storage takes its name for another key's"

// planFound is for what verify has found and no write is known of. Backends that are not owed it
// are right, as far as verify could see; if all are owed it, a person must decide.
func planFound(k *knowledge, views []view, p policy) plan {
	if unseen(views) > 0 {
		return plan{source: -1, wait: true}
	}
	source, whole, equal, agree := -1, -1, true, true
	for i := range views {
		v := &views[i]
		equal = equal && v.same(&views[0]) && !v.damaged && !v.folded
		if v.is != present || v.damaged || v.folded {
			continue
		}
		agree = agree && (whole < 0 || v.same(&views[whole]))
		if whole < 0 {
			whole = i
		}
		if source < 0 && k.found != nil && !has(k.found.owed, i) {
			source = i
		}
	}
	if equal {
		return plan{source: -1}
	}
	d := plan{action: actCopy, source: source}
	for i := range views {
		v := &views[i]
		switch {
		case v.refused != "":
			return parked(task.NotKept, v.refused)
		case v.damaged && whole >= 0 && agree:
			d.source = whole
			d.targets = append(d.targets, i)
		case source >= 0 && k.found != nil && has(k.found.owed, i) && !v.folded && !v.same(&views[source]):
			d.targets = append(d.targets, i)
		}
	}
	if len(d.targets) > 0 {
		return d
	}
	reason, why := task.Conflict, "the backends differ, and nobody knows which of them is right"
	if whole < 0 && firstPresent(views) >= 0 && views[firstPresent(views)].damaged {
		reason, why = task.Damaged, "its content is not what its ETag says, on any backend"
	}
	return k.settled(parked(reason, why), views, p)
}

// finish combines what has to be done with what is left to a person afterwards.
func (k *knowledge) finish(d, leave plan, views []view, p policy) plan {
	switch {
	case len(d.targets) > 0:
		return d
	case leave.park != "" && unseen(views) == 0:
		return k.settled(leave, views, p)
	case leave.park != "":
		return plan{source: -1, wait: true}
	}
	for i := range views {
		if views[i].is == unknown && (k.doubtful() || k.owes(i)) {
			return plan{source: -1, wait: true}
		}
	}
	return plan{source: -1}
}

// settled is a conflict as OnConflict settles it.
func (k *knowledge) settled(leave plan, views []view, p policy) plan {
	if leave.park != task.Conflict {
		return leave
	}
	source := p.prefer
	if source < 0 && p.newest {
		for i := range views {
			v := &views[i]
			if v.is == present && !v.damaged && !v.folded && (source < 0 || v.modified.After(views[source].modified)) {
				source = i
			}
		}
	}
	if source < 0 || views[source].damaged || views[source].folded {
		return leave
	}
	return take(source, views, leave)
}

// take makes all others what source shows; leave is what remains where that is not possible.
func take(source int, views []view, leave plan) plan {
	d := plan{action: actCopy, source: source}
	if views[source].is == absent {
		d.action = actDelete
	}
	for i := range views {
		v := &views[i]
		switch {
		case v.is == unknown:
			d.wait = true
		case v.same(&views[source]):
		case v.folded || v.refused != "":
			return leave
		default:
			d.targets = append(d.targets, i)
		}
	}
	if len(d.targets) == 0 {
		d.action = actNothing
	}
	return d
}

// worse is the more serious of two reasons to park.
func worse(a, b plan) plan {
	if a.park == "" || a.park == task.NotKept && b.park != "" && b.park != task.NotKept {
		return b
	}
	return a
}
