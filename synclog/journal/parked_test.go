package journal

import (
	"fmt"
	"maps"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// R35: parked keys are counted by why they are, whatever the journal was read from, and are
// found without the others.
func TestR35ParkedByReason(t *testing.T) {
	t.Parallel()
	const keys = 3 * pageSlots
	r := newRig(t, Options{scanBelow: 1})
	for i := range keys {
		r.promise(put(fmt.Sprint("k", i), 1))
	}
	park := func(n int, why task.ParkReason) {
		t.Helper()
		all := r.all()
		for i := range all {
			if all[i].Key == fmt.Sprint("k", n) {
				all[i].Parked = why
				if !r.Note(&all[i]) {
					t.Fatalf("cannot park %q", all[i].Key)
				}
			}
		}
	}
	park(1, task.Conflict)
	park(pageSlots+1, task.Conflict)
	park(keys-1, task.Lost)
	park(7, "a reason of times to come")
	want := map[task.ParkReason]int{task.Conflict: 2, task.Lost: 1}
	check := func(when string, want map[task.ParkReason]int, parked int, names string) {
		t.Helper()
		if s := r.Stats(); s.Parked != parked || !maps.Equal(s.ParkedFor, want) {
			t.Errorf("%s: %d parked, %v, want %d, %v", when, s.Parked, s.ParkedFor, parked, want)
		}
		var got string
		for cursor := uint64(0); ; {
			p, next, ok := r.NextParked(cursor)
			if !ok {
				break
			}
			got, cursor = got+" "+p.Key, next
		}
		if got != names {
			t.Errorf("%s: found%s, want%s", when, got, names)
		}
	}
	all := fmt.Sprintf(" k1 k7 k%d k%d", pageSlots+1, keys-1)
	check("as noted", want, 4, all)
	r.mustFlush()
	r.restart()
	check("from the log", want, 4, all)
	testkit.MustDo(t, r.checkpoint())
	r.restart()
	check("from a checkpoint", want, 4, all)
	r.promise(put("k1", 1)) // a newer write: repair goes on with it
	check("written again", map[task.ParkReason]int{task.Conflict: 1, task.Lost: 1}, 3, all[len(" k1"):])
	last := r.all()
	if !r.Resolve(&last[keys-1]) {
		t.Fatal("cannot close the last key")
	}
	check("settled", map[task.ParkReason]int{task.Conflict: 1}, 2, fmt.Sprintf(" k7 k%d", pageSlots+1))
}
