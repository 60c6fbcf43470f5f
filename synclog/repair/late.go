package repair

import (
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// A backend that gave no answer to a write may carry it out when it resumes, which is also when it
// answers the look at the key. So a key that looks equal is looked at once more, a while later,
// before it is closed. Writes that all backends take meanwhile do not put that off: a key that is
// written all the time would never be closed (record.take in synclog/journal).

// restLate leaves such a task for a second look, once.
func (r *Repairer) restLate(t *task.Task) bool {
	if r.o.LateWait == 0 || r.o.DryRun || t.LastError == task.StillLate || !mayLandLate(t) {
		return false
	}
	t.LastError, t.NotBefore = task.StillLate, r.o.Now().Add(r.o.LateWait)
	r.note(t)
	select {
	case r.late <- struct{}{}:
	default: // it is known
	}
	return true
}

// mayLandLate reports whether the journal knows of a write that a backend may carry out late: one
// that it took while it owes an earlier one, one that precedes what stands, or one that nobody was
// told about.
func mayLandLate(t *task.Task) bool {
	w := t.Of(task.Content)
	if w != nil && len(w.Took) > len(w.Owed) && intersects(w.Took, w.Owed) {
		return true
	}
	for i := range t.Rivals {
		e := &t.Rivals[i]
		past := w != nil && !e.Unacknowledged && e.Answered != 0 && e.Answered <= w.Seq
		if e.Aspect == task.Content && len(e.Owed) > 0 && (past || e.Unacknowledged && len(e.Took) == 0) {
			return true
		}
	}
	return false
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}
