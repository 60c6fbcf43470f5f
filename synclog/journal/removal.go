package journal

import (
	"math/bits"
	"net/http"
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// A bucket that was removed, and that a backend still has, may be made again meanwhile. What that
// backend has under the name is the old bucket then: nobody may read it as the new one, or write into
// it, before repair has removed it there (R17, R30). So an acknowledged removal that is owed stays
// known behind the write that made the bucket again, as a rival that is older than what stands.

// removes reports whether a write is the acknowledged removal of a bucket.
func removes(e *Entry) bool {
	return len(e.Key) == 0 && e.Aspect == task.Content && e.Method == http.MethodDelete && !e.Unacknowledged
}

// precedes reports whether a write's client was told before another one's write began.
func precedes(e, later *Entry) bool {
	return endOf(e) <= later.Seq || e.Answered != 0 && e.Answered <= later.Seq
}

// removing are the backends that may still have the bucket as it was before its removal: they owe that,
// and have taken nothing of the bucket itself since, or beside it.
func (r *record) removing() (mask uint64) {
	if len(r.key) > 0 {
		return 0
	}
	var took uint64
	r.entries(func(e *Entry) {
		if e.Aspect == task.Content && !removes(e) {
			took |= e.Took
		}
	})
	for i := range r.writes {
		w := &r.writes[i]
		if w.Aspect != task.Content {
			continue
		}
		if removes(w) {
			mask |= w.Owed &^ w.Took
		}
	}
	for i := range r.rivals {
		if e := &r.rivals[i]; removes(e) && r.isBehind(e) {
			mask |= e.Owed &^ e.Took
		}
	}
	return mask &^ took
}

// isBehind reports whether a removal is only known behind the write that made the bucket again.
func (r *record) isBehind(e *Entry) bool {
	return slices.ContainsFunc(r.writes, func(w Entry) bool { return w.Aspect == task.Content && precedes(e, &w) })
}

// staysBehind keeps a removal known behind w, with which its bucket is made again, as far as a backend
// owes it that has not taken w. It returns the others.
func staysBehind(e, w *Entry) (stays bool, past uint64) {
	if !removes(e) || removes(w) {
		return false, e.Owed
	}
	past = e.Owed & (e.Took | w.Took)
	e.Owed &^= past
	return e.Owed != 0, past
}

// Removing returns the backends that owe the acknowledged removal of a bucket, also where it was made
// again since: what they have under the name is the old one. underWay are those of them whose legs are
// out. It reads no disk, and costs nothing while no removal is owed.
func (j *Journal) Removing(bucket []byte) (owed, underWay uint64) {
	if j.keys.removals.Load() == 0 || len(bucket) == 0 {
		return 0, 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.keys.buckets[string(bucket)]
	if b == nil {
		return 0, 0
	}
	underWay = b.leaving.set() & j.mine
	return b.removing.set()&j.mine | underWay, underWay
}

// tally counts by backend. It has memory once something was counted.
type tally []int32

func (t *tally) count(mask uint64, n int32) {
	if mask != 0 && *t == nil {
		*t = make(tally, 64)
	}
	for ; mask != 0; mask &= mask - 1 {
		(*t)[bits.TrailingZeros64(mask)] += n
	}
}

func (t tally) set() (mask uint64) {
	for i, n := range t {
		if n > 0 {
			mask |= 1 << i
		}
	}
	return mask
}

// countRemoval counts where the removal of a bucket is owed, for its own class of keys or an intent of it.
func (k *kinds) countRemoval(t *tally, mask uint64, n int32) {
	if mask != 0 {
		t.count(mask, n)
		k.removals.Add(n)
	}
}

// endsKeys reports whether keys are pending in a bucket that all backends have removed: they are gone
// with it, and repair has to close them.
func (j *Journal) endsKeys(e *Entry) bool {
	if !removes(e) || e.Owed&j.mine != 0 || e.Took&j.mine == 0 {
		return false
	}
	for i := range j.keys.classes {
		c := &j.keys.classes[i]
		if c.bucket != nil && c.bucket.name == string(e.Bucket) && j.keys.byKind[i] > 0 && c.owed&j.mine != 0 {
			return true
		}
	}
	return false
}

// mayEndKeys is that for an intent, as far as can be told at once.
func (j *Journal) mayEndKeys(o *open) bool { return o.removes && j.keys.visible > 0 }

// NextIn is Next restricted to what is pending in a bucket, settings included.
func (j *Journal) NextIn(bucket string, cursor uint64) (t task.Task, next uint64, ok bool) {
	for {
		age, found := j.ageIn(bucket, cursor)
		if !found {
			return task.Task{}, cursor, false
		}
		if t, cursor, ok = j.Next(age - 1); !ok || t.Bucket == bucket {
			return t, cursor, ok
		}
	}
}

// ageIn is the age of the first key behind a given age that is in a bucket, or may be. It examines
// one page of keys at a time, because there may be millions.
func (j *Journal) ageIn(bucket string, age uint64) (found uint64, ok bool) {
	for more := true; more && found == 0; {
		j.mu.Lock()
		more = !j.closed && j.keys.pageAfter(age, func(s *slot) {
			c := &j.keys.classes[s.kind]
			if age = s.age; found == 0 && s.bits&slotHidden == 0 && (c.bucket == nil || c.bucket.name == bucket) {
				found = age
			}
		})
		j.mu.Unlock()
	}
	return found, found != 0
}
