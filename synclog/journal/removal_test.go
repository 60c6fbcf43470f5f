package journal

import (
	"slices"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// bucketWrite is a write of bucket "b" itself that a took, and that b owes.
func bucketWrite(method string) Entry {
	e := with(put("", 2), method)
	e.Target, e.Took, e.ETag = []byte("/b"), 1, nil
	return e
}

func (r *rig) removing(want uint64) {
	r.t.Helper()
	if got, underWay := r.Removing([]byte("b")); got != want || underWay != 0 {
		r.t.Errorf("removing %b (%b under way), want %b", got, underWay, want)
	}
	if got, _ := r.Removing([]byte("c")); got != 0 {
		r.t.Errorf("another bucket: removing %b", got)
	}
}

// A removal that a backend owes stays known behind the write that makes the bucket again (R17, R35), also over
// a kill and a checkpoint, until repair has noted that it is done.
func TestR17RemovalBehindTheBucketMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{scanBelow: 1})
	r.removing(0)
	first := r.promise(bucketWrite("DELETE"))
	r.removing(2)
	r.promise(put("k", 2)) // a key owes no removal
	r.promise(bucketWrite("PUT"))
	r.removing(2)
	check := func() *task.Task {
		t.Helper()
		found, ok := r.Find([]byte("b"), nil, nil)
		w, old := found.Of(task.Content), slices.IndexFunc(found.Rivals, func(w task.Write) bool { return w.Delete() && w.Seq == first })
		if !ok || w == nil || w.Method != "PUT" || w.Overlapped || old < 0 || !slices.Equal(found.Rivals[old].Owed, []string{"b:2"}) {
			t.Fatalf("known: %+v", found)
		}
		return &found
	}
	check()
	r.promise(bucketWrite("PUT")) // as of a client that did not hear of the first
	testkit.MustDo(t, r.Flush())
	r.restart()
	r.removing(2)
	testkit.MustDo(t, r.checkpoint())
	r.reopen()
	r.removing(2)
	found := check()
	found.Rivals[0].Owed = nil
	if !r.Note(found) {
		t.Fatal("not noted")
	}
	r.removing(0)
	if again, _ := r.Find([]byte("b"), nil, nil); len(again.Rivals) != 0 || again.Of(task.Content).Method != "PUT" {
		t.Errorf("after the removal: %+v", again)
	}
	r.reopen()
	r.removing(0)
}

// What makes the bucket again may have come to a backend that owes the removal: that one has the new one. A
// removal replaces another one.
func TestR17RemovalIsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(bucketWrite("DELETE"))
	made := bucketWrite("PUT")
	made.Took, made.Owed = 3, 0
	r.promise(made)
	r.removing(0)
	r.promise(bucketWrite("DELETE"))
	r.removing(2)
	r.promise(bucketWrite("PUT"))
	r.promise(bucketWrite("DELETE"))
	r.removing(2)
	if found, _ := r.Find([]byte("b"), nil, nil); len(found.Rivals) != 0 {
		t.Errorf("known: %+v", found)
	}
	unheard := bucketWrite("PUT")
	unheard.Unacknowledged = true
	r.promise(unheard)
	r.removing(2)
}

// While a leg of the removal is out, and where the process is killed meanwhile, it is owed as well.
func TestR17RemovalUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(opened(bucketWrite("DELETE")))
	if got, underWay := r.Removing([]byte("b")); got != 2 || underWay != 2 {
		t.Errorf("removing %b, %b under way", got, underWay)
	}
	testkit.MustDo(t, r.Flush())
	r.restart()
	r.removing(2)
	r = newRig(t, Options{})
	seq := r.promise(opened(bucketWrite("DELETE")))
	r.settle(seq, 0, nil)
	r.removing(0)
	if got := r.all(); len(got) != 0 {
		t.Errorf("left: %+v", got)
	}
}

// A removal that all have taken is pending as long as keys are that went with the bucket: repair ends them.
func TestR35RemovalEndsKeys(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		r := newRig(t, Options{})
		r.promise(put("k", 2))
		e := bucketWrite("DELETE")
		e.Took, e.Owed = 7, 0
		if e.Open = open; open {
			e.Took, e.Owed = 1, 6
		}
		if seq := r.promise(e); open {
			r.settleOpen(&Entry{Seq: seq, Took: 7})
		}
		r.removing(0)
		r.want("PUT k 10, DELETE  111")
		var in []string
		for cursor := uint64(0); ; {
			p, next, ok := r.NextIn("b", cursor)
			if cursor = next; !ok {
				break
			}
			in = append(in, p.Key)
		}
		if _, _, ok := r.NextIn("c", 0); ok || !slices.Equal(in, []string{"k", ""}) {
			t.Errorf("in b: %q", in)
		}
		r = newRig(t, Options{})
		other := put("k", 2)
		other.Bucket = []byte("c")
		r.promise(other)
		if seq := r.promise(e); open {
			r.settleOpen(&Entry{Seq: seq, Took: 7})
		}
		r.want("PUT k 10")
	}
}
