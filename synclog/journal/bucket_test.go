package journal

import (
	"testing"

	"github.com/akubra/akubra/synclog/task"
)

// However a client writes a bucket's target, what is known of one sub-resource is one task
// (R35): the later write replaces the earlier one.
func TestR35OneTaskForASubresourceOfABucket(t *testing.T) {
	for _, c := range []struct {
		aspect  task.Aspect
		targets []string
	}{
		{task.Content, []string{"/b", "/b/", "/", "/b?x-id=CreateBucket"}},
		{task.Setting, []string{"/b?policy", "/b/?policy", "/?policy", "/b?policy=&X-Amz-Signature=***"}},
	} {
		r := newRig(t, Options{})
		about := func(target, id string, aspect task.Aspect) Entry {
			e := of(aspect, put("", 2))
			e.Target, e.ID = []byte(target), []byte(id)
			return e
		}
		r.promise(about("/b?versioning", "other", task.Setting))
		for _, target := range c.targets {
			r.promise(about(target, target, c.aspect))
			seq := r.promise(opened(about(target, target, c.aspect)))
			r.settle(seq, 2, nil)
		}
		all := r.all()
		if len(all) != 2 {
			t.Fatalf("%d tasks: %+v", len(all), all)
		}
		last := c.targets[len(c.targets)-1]
		if w := all[1].Newest(); w.ID != last || len(all[1].Writes) != 1 {
			t.Errorf("the last write was %q, known is %+v", last, all[1])
		}
		for _, target := range c.targets {
			if found, ok := r.Find([]byte("b"), nil, []byte(target)); !ok || found.Newest().ID != last {
				t.Errorf("%q: found %t, %+v", target, ok, found)
			}
		}
		r.restart()
		if again := r.all(); len(again) != 2 || !r.Resolve(&again[1]) || len(r.all()) != 1 {
			t.Errorf("after a restart: %+v", again)
		}
	}
}

// A journal of before has raw targets: they are found and closed as they are.
func TestR35RawTargetsOfBefore(t *testing.T) {
	r := newRig(t, Options{})
	e := of(task.Setting, put("", 2))
	e.Target = []byte("/b/?policy")
	r.mu.Lock() // past Promise
	r.promiseLocked(&e, true)
	r.mu.Unlock()
	r.reopen()
	all := r.all()
	if len(all) != 1 || all[0].Target != "/b/?policy" {
		t.Fatalf("tasks %+v", all)
	}
	if _, ok := r.Find([]byte("b"), nil, []byte("/b/?policy")); !ok {
		t.Error("not found")
	}
	if !r.Resolve(&all[0]) || len(r.all()) != 0 {
		t.Errorf("left: %+v", r.all())
	}
}
