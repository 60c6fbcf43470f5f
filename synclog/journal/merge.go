package journal

import (
	"bytes"
	"math"
	"slices"
	"sort"

	"github.com/akubra/akubra/synclog/task"
)

// What is known of a key is kept by aspect (R35): a write replaces what was known of its
// own aspect, and of no other.

const (
	// maxRivals are kept of a key.
	maxRivals = 8
	// maxTargets bounds the versions and settings of a key that are kept.
	maxTargets = 64
	// allAspects, of rivalsLost: anything may stand behind the key.
	allAspects = 1<<8 - 1
)

// owed are the backends that may lack anything of the key.
func (r *record) owed() (mask uint64) {
	for i := range r.writes {
		mask |= r.writes[i].Owed
	}
	for i := range r.rivals {
		mask |= r.rivals[i].Owed
	}
	return mask
}

// lacking are the backends that lack, or may lack, an acknowledged write of what a GET returns
// (R30). mine are the configured backends.
func (r *record) lacking(mine uint64) (mask uint64) {
	for i := range r.writes {
		mask |= lacking(&r.writes[i])
	}
	mask |= r.doubtful(mine &^ mask)
	if r.rivalsLost == allAspects { // an old journal does not say what its writes were
		for i := range r.rivals {
			if e := &r.rivals[i]; e.Unacknowledged && e.Method == "" {
				mask |= e.Owed
			}
		}
	}
	return mask
}

// doubtful are the backends that may show a write that must not be seen, or no longer: one from
// before what stands that they have not answered (R19), or one that no client was told of and no
// backend has confirmed, so that repair may yet undo it. sure are the backends that lack nothing
// else. If at least one of them is not doubtful, reads go there. If all are, reads go to the ones
// that decided the last such write alone (R29), since they were not doubtful before it.
func (r *record) doubtful(sure uint64) (mask uint64) {
	var last *Entry
	for i := range r.rivals {
		e := &r.rivals[i]
		if e.Aspect != task.Content || e.Took&^e.Owed != 0 && e.Unacknowledged {
			continue
		}
		if e.Unacknowledged || r.follows(e) {
			mask |= e.Owed &^ e.Took
		}
		if e.Unacknowledged && (last == nil || e.Seq > last.Seq) {
			last = e
		}
	}
	if sure&^mask == 0 {
		if last == nil || sure&last.Owed == 0 {
			return 0
		}
		mask = sure &^ last.Owed
	}
	return mask
}

// follows reports whether what stands began after e's client was told.
func (r *record) follows(e *Entry) bool {
	return e.Answered != 0 && slices.ContainsFunc(r.writes, func(w Entry) bool { return together(&w, e) && e.Answered <= w.Seq })
}

// lacking is what one acknowledged write contributes. A backend that a write is still under way to
// owes it.
//
// A backend may have taken the write and owe it all the same: an older write, which it has not
// answered, may land there late. Reads then go to backends that took it and owe nothing. If there
// are none, ETags or the order of writes are in doubt everywhere, and any backend is as good.
func lacking(e *Entry) uint64 {
	if e.Unacknowledged || e.Aspect != task.Content && e.Aspect != task.Version {
		return 0
	}
	return lackingFor(e)
}

// lackingPart is lacking for a write of another aspect.
func lackingPart(e *Entry, aspect task.Aspect) uint64 {
	if e.Unacknowledged || e.Aspect != aspect {
		return 0
	}
	return lackingFor(e)
}

// lackingFor is that for every aspect. Some storages say that an upload is completed which they do not know
// (R26). So nobody is read from whose yes may be such a one: while others are asked as well, and where more than
// one has said so.
func lackingFor(e *Entry) uint64 {
	switch {
	case e.Completes() && (e.Open || e.Took&(e.Took-1) != 0):
		return e.Owed | e.Took
	case e.Took&^e.Owed != 0:
		return e.Owed
	}
	return e.Owed &^ e.Took
}

// seq is the newest write's.
func (r *record) seq() (seq uint64) {
	r.entries(func(e *Entry) { seq = max(seq, e.Seq) })
	return seq
}

// endOf is when a write's last leg ended, comparable with Seq. A write of an old journal ended
// before any of this journal's began.
func endOf(e *Entry) uint64 {
	switch {
	case e.Open:
		return math.MaxUint64
	case e.Settled != 0:
		return e.Settled
	case e.Unacknowledged:
		return e.Seq
	}
	return 0
}

// together reports whether two writes are of one aspect, and so replace one another.
func together(a, b *Entry) bool {
	if a.Aspect != b.Aspect {
		return false
	}
	return a.Aspect != task.Version && a.Aspect != task.Setting || bytes.Equal(a.Target, b.Target)
}

// take takes in a write that has ended. mine are the configured backends: one that is gone
// has taken nothing since.
func (r *record) take(e *Entry, mine uint64) {
	w, owed, before := *e, e.Owed, r.owed()
	late := string(r.lastError) == task.StillLate && len(r.parked) == 0 && owed == 0
	if r.unread { // whatever it was
		w.Owed |= before
	}
	at := slices.IndexFunc(r.writes, func(o Entry) bool { return together(&o, e) })
	switch {
	case r.knows(&w):
	case at >= 0 && w.Aspect == task.Found:
		w.Owed |= r.writes[at].Owed
		r.writes = insert(slices.Delete(r.writes, at, at+1), &w)
	case at >= 0 && (w.Unacknowledged || w.Seq < r.writes[at].Seq):
		if s := &r.writes[at]; takesAway(s, &w) {
			s.Owed |= w.Owed | w.Took
		} else if endOf(&w) > s.Seq {
			overlap(s, &w)
			r.addRival(&w)
		} else if s.Owed == 0 { // it came and went before s
			s.Owed = w.Owed
		}
	case w.Unacknowledged:
		r.addRival(&w)
	default:
		r.replace(at, &w, mine)
	}
	switch {
	case r.owed() == 0:
		r.first = w.Seq
	case before == 0:
		r.first = w.Seq
	case owed != 0:
		r.first = min(r.first, w.Seq)
	}
	// The key has changed: what was tried before says nothing about it now. But the second look for a write that
	// may land late stays due where all backends have taken this one: they have answered it.
	r.closes, r.tries, r.parked = 0, 0, nil
	if !late || r.owed()&^before != 0 {
		r.notBefore, r.lastError = 0, nil
	}
	if r.unread {
		r.targetsLost, r.rivalsLost, r.unread = true, allAspects, false
	}
	r.bound()
}

// overlap notes that a known rival overlapped with what stands. If it is noted already, what stands
// also says whether there were unknown ones.
func overlap(stands, rival *Entry) {
	if !rival.Unacknowledged && !stands.Overlapped {
		stands.Overlapped, stands.OverlapKnown = true, true
	}
}

// takesAway reports whether e is a delete that began after older was acknowledged, while legs of
// older were still out: for the clients the object is gone, wherever older has landed since (R19,
// R35). Two writes that both store something stay rivals, because the newer one may have been
// overwritten everywhere.
func takesAway(e, older *Entry) bool {
	return e.Method == "DELETE" && !e.Unacknowledged && e.Aspect == task.Content &&
		!older.Unacknowledged && older.Answered != 0 && older.Answered < e.Seq && endOf(older) > e.Seq
}

// knows reports whether a write is known already, by its Seq: the table of writes under way and
// the log may both have it. The log's version counts, since it may say how the write ended and has
// the backends' names. Only what overlapped with it may be reported later.
func (r *record) knows(w *Entry) (known bool) {
	r.entries(func(e *Entry) {
		if e.Seq == w.Seq && together(e, w) && e.Unacknowledged == w.Unacknowledged {
			known, e.OverlapKnown = true, e.OverlapKnown || w.OverlapKnown
		}
	})
	return known
}

// replace makes w the write that stands for its aspect, instead of the one at index at. A write that
// ended before w began was replaced wherever w was taken; any other may have landed after w.
func (r *record) replace(at int, w *Entry, mine uint64) {
	var past uint64 // what was owed
	if at >= 0 {
		old := r.writes[at]
		r.writes = slices.Delete(r.writes, at, at+1)
		if len(w.Reason) == 0 {
			w.Reason = old.Reason
		}
		if takesAway(w, &old) {
			w.Owed |= old.Owed | old.Took
		} else if endOf(&old) > w.Seq {
			overlap(w, &old)
			r.addRival(&old)
		} else {
			stays, over := staysBehind(&old, w)
			if past |= over; stays {
				r.addRival(&old)
			}
		}
	}
	left := false
	r.rivals = deleteFunc(r.rivals, func(e *Entry) bool {
		switch {
		case !together(e, w):
			return false
		case takesAway(w, e):
			w.Owed |= e.Owed | e.Took
			return true
		case endOf(e) > w.Seq:
			left = true
			overlap(w, e)
			return false
		}
		stays, over := staysBehind(e, w)
		past |= over
		return !stays
	})
	if !left && !w.Overlapped {
		r.rivalsLost &^= 1 << w.Aspect
	}
	switch {
	case w.Owed == 0 || ofTarget(w): // the latter may be owed what others were, which are missing
		// All backends have taken w. An earlier write that one of them has not answered may
		// still land there, so repair looks at the key once more.
		w.Owed |= past
	case len(w.ETag) > 0 || w.Method == "DELETE":
		// The same for the backends that took w, while another one lacks it: from what they
		// show, repair sees whether they have it.
		w.Owed |= past & w.Took
	}
	w.Owed |= past &^ mine
	r.writes = insert(r.writes, w)
}

// deleteFunc is slices.DeleteFunc for a del that may change the elements that stay.
func deleteFunc(es []Entry, del func(e *Entry) bool) []Entry {
	kept := es[:0]
	for i := range es {
		if !del(&es[i]) {
			kept = append(kept, es[i])
		}
	}
	clear(es[len(kept):])
	return kept
}

// insert puts a write in its place.
func insert(es []Entry, e *Entry) []Entry {
	at := sort.Search(len(es), func(i int) bool { return es[i].Seq > e.Seq })
	return slices.Insert(es, at, *e)
}

func (r *record) addRival(e *Entry) {
	r.rivals = insert(r.rivals, e)
	for len(r.rivals) > maxRivals {
		r.dropRival()
	}
}

// dropRival drops the oldest rival that has a younger one of its aspect, to which it leaves what it
// is owed. With more than maxRivals there is such a pair; otherwise the oldest rival is dropped.
func (r *record) dropRival() {
	at, heir := 0, r.heirOf(0)
	for i := range r.rivals {
		if h := r.heirOf(i); h != nil && !removes(&r.rivals[i]) {
			at, heir = i, h
			break
		}
	}
	old := &r.rivals[at]
	if heir == nil && len(r.writes) > 0 {
		heir = &r.writes[0]
	}
	if heir != nil {
		heir.Owed |= old.Owed
	}
	r.rivalsLost |= 1 << old.Aspect
	r.rivals = slices.Delete(r.rivals, at, at+1)
}

func (r *record) heirOf(rival int) *Entry {
	for i := rival + 1; i < len(r.rivals); i++ {
		if r.rivals[i].Aspect == r.rivals[rival].Aspect {
			return &r.rivals[i]
		}
	}
	return nil
}

// bound keeps the record short enough to be written.
func (r *record) bound() {
	targets := 0
	for i := range r.writes {
		if ofTarget(&r.writes[i]) {
			targets++
		}
	}
	for ; targets > maxTargets; targets-- {
		r.dropTarget()
	}
	for r.size() > maxPayload && len(r.rivals) > 1 {
		r.dropRival()
	}
	for r.size() > maxPayload && r.dropTarget() {
	}
}

func ofTarget(e *Entry) bool { return e.Aspect == task.Version || e.Aspect == task.Setting }

// dropTarget drops the oldest write to a version or a setting and leaves what it is owed to the next
// one. It does nothing if there is only one.
func (r *record) dropTarget() bool {
	at := slices.IndexFunc(r.writes, func(e Entry) bool { return ofTarget(&e) })
	if at < 0 {
		return false
	}
	for i := at + 1; i < len(r.writes); i++ {
		if heir := &r.writes[i]; ofTarget(heir) {
			heir.Owed |= r.writes[at].Owed
			r.targetsLost = true
			r.writes = slices.Delete(r.writes, at, at+1)
			return true
		}
	}
	return false
}

// size is at least what the payload has.
func (r *record) size() int {
	n := maxOverhead + len(r.bucket) + len(r.key) + len(r.target) + 2*maxReason
	r.entries(func(e *Entry) { n += sizeOf(e) })
	return n
}

// sizeOf is at least what a write takes of a payload.
func sizeOf(e *Entry) int {
	n := maxOverhead + len(e.Method) + len(e.Target) + len(e.Host) + len(e.ETag) + len(e.ID) + min(len(e.Reason), maxReason)
	for _, list := range [2][]task.BackendETag{e.ETags, e.Made} {
		for _, x := range list {
			n += 8 + min(len(x.ETag), maxETag)
		}
	}
	return n
}
