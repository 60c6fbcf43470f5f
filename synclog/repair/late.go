package repair

import (
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// A backend that gave no answer to a write may carry it out when it resumes, which is also when it
// answers the look at the key. So a key that looks equal is looked at once more, a while later,
// before it is closed.

const stillLate = "all are equal, but a write without an answer may still land: it is looked at once more"

// restLate leaves such a task for a second look, once.
func (r *Repairer) restLate(t *task.Task) bool {
	if r.o.LateWait == 0 || r.o.DryRun || t.LastError == stillLate || !mayLandLate(t) {
		return false
	}
	t.LastError, t.NotBefore = stillLate, r.o.Now().Add(r.o.LateWait)
	r.note(t)
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
