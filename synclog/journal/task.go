package journal

import (
	"math/bits"
	"slices"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// task is the record as it is handed out, by the names of backends. It shares no memory
// with the record.
func (r *record) task(names []string) task.Task {
	t := task.Task{
		Bucket: string(r.bucket), Key: string(r.key), Target: string(r.target),
		VersionsLost: r.targetsLost, RivalsLost: r.rivalsLost != 0,
		First: r.first, Tries: int(r.tries), Parked: task.ParkReason(r.parked), LastError: string(r.lastError),
	}
	for i := range r.writes {
		t.Writes = append(t.Writes, writeOf(&r.writes[i], names))
	}
	for i := range r.rivals {
		t.Rivals = append(t.Rivals, writeOf(&r.rivals[i], names))
	}
	if r.notBefore != 0 {
		t.NotBefore = time.Unix(0, r.notBefore)
	}
	return t
}

func writeOf(e *Entry, names []string) task.Write {
	w := task.Write{
		Aspect: e.Aspect, Seq: e.Seq, Settled: e.Settled, Answered: e.Answered, Method: e.Method, Target: string(e.Target), Host: string(e.Host),
		ETag: string(e.ETag), ID: string(e.ID), Reason: string(e.Reason), Size: e.Size,
		Took: namesOf(e.Took, names), Owed: namesOf(e.Owed, names),
		Overlapped: e.Overlapped, OverlapKnown: e.Overlapped && e.OverlapKnown, Unacknowledged: e.Unacknowledged, Unrepeatable: e.Unrepeatable,
		Carried: e.Carried,
	}
	w.ETags, w.Made = etagsOf(e.ETags, names), etagsOf(e.Made, names)
	for _, name := range namesOf(e.MadeNull, names) {
		if w.Made == nil {
			w.Made = map[string]string{}
		}
		w.Made[name] = task.NullVersion
	}
	return w
}

func etagsOf(list []task.BackendETag, names []string) (of map[string]string) {
	for _, x := range list {
		if x.Backend < len(names) {
			if of == nil {
				of = map[string]string{}
			}
			of[names[x.Backend]] = string(x.ETag)
		}
	}
	return of
}

// namesOf are the names of a mask's backends, as far as there are names.
func namesOf(mask uint64, names []string) (list []string) {
	for ; mask != 0; mask &= mask - 1 {
		if i := bits.TrailingZeros64(mask); i < len(names) {
			list = append(list, names[i])
		}
	}
	return list
}

// maskOf is the mask of some of the names.
func maskOf(list, names []string) (mask uint64) {
	for _, name := range list {
		for i := range names {
			if names[i] == name {
				mask |= 1 << i
			}
		}
	}
	return mask
}

// isOf reports whether the record is still what t was made of: it has no newer write, and nothing
// more is owed.
func (r *record) isOf(t *task.Task, names []string) bool {
	var seq, owed uint64
	for w := range t.All() {
		seq = max(seq, w.Seq)
		owed |= maskOf(w.Owed, names)
	}
	return seq == r.seq() && (t.Version != 0 || r.owed()&(1<<len(names)-1)&^owed == 0)
}

// note takes over what repair has found out about a task.
func (r *record) note(t *task.Task, names []string) {
	r.closes = 0
	r.tries, r.parked, r.lastError = uint64(max(0, t.Tries)), []byte(t.Parked), []byte(t.LastError)
	r.notBefore = 0
	if !t.NotBefore.IsZero() {
		r.notBefore = t.NotBefore.UnixNano()
	}
	// A parked key is kept whatever is owed: a person has to see it.
	done := t.Parked == "" || maskOf(t.Owed(), names) != 0
	noteWrites(r.writes, t.Writes, names, done)
	noteWrites(r.rivals, t.Rivals, names, done)
	r.rivals = slices.DeleteFunc(r.rivals, func(e Entry) bool { return removes(&e) && e.Owed == 0 && r.isBehind(&e) })
	r.bound()
}

// noteWrites takes what is less owed than before, and who has it now; nothing of it can be
// taken back so.
func noteWrites(es []Entry, ws []task.Write, names []string, done bool) {
	mine := uint64(1)<<len(names) - 1
	for i := range es {
		e := &es[i]
		for k := range ws {
			w := &ws[k]
			if w.Seq != e.Seq || w.Aspect != e.Aspect || w.Target != string(e.Target) {
				continue
			}
			if done {
				e.Owed &= maskOf(w.Owed, names) | ^mine
			}
			e.Took |= maskOf(w.Took, names)
			for n, name := range names {
				etag, ok := w.ETags[name]
				if ok && len(etag) > 0 {
					setETag(e, n, etag)
				}
			}
		}
	}
}

func setETag(e *Entry, backend int, etag string) {
	for i := range e.ETags {
		if x := &e.ETags[i]; x.Backend == backend {
			x.ETag = []byte(etag)
			return
		}
	}
	e.ETags = append(e.ETags, task.BackendETag{Backend: backend, ETag: []byte(etag)})
}
