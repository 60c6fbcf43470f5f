package journal

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

func (r *rig) wantOwes(key string, want uint64) {
	r.t.Helper()
	if got := r.Owed([]byte("b"), []byte(key)); got != want {
		r.t.Fatalf("of %q is owed %b, want %b", key, got, want)
	}
}

// R30: what is owed of a key is what is pending, and what is still out.
func TestR30Owes(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.wantOwes("k", 0)
	r.promise(put("other", 2))
	r.wantOwes("k", 0)
	r.promise(put("k", 2))
	r.wantOwes("k", 2)
	if err := r.Flush(); err != nil { // from disk, too
		t.Fatal(err)
	}
	r.wantOwes("k", 2)
	seq := r.promise(opened(put("k", 4)))
	r.wantOwes("k", 6)
	r.settle(seq, 0, nil)
	r.wantOwes("k", 2)

	e := opened(put("l", 5))
	if err := r.intend(&e); err != nil {
		t.Fatal(err)
	}
	r.wantOwes("l", 5)
	r.settle(e.Seq, 1, nil)
	r.wantOwes("l", 1)
	p := r.all()[2]
	if !r.Resolve(&p) {
		t.Fatal("not resolved")
	}
	r.wantOwes("l", 0)

	// Tags are no content; but content that is owed beside them is.
	tags := put("tags", 2)
	tags.Aspect = task.Tags
	r.promise(tags)
	r.wantOwes("tags", 0)
	r.promise(put("tags", 1))
	r.wantOwes("tags", 1)
	tags.Seq = 0
	r.promise(tags)
	if got := r.Owed([]byte("b"), []byte("tags")); got&1 == 0 {
		t.Errorf("of both is owed %b", got)
	}
	r.quiet()
}

// Of writes to a key that are under way at once each counts.
func TestR30OwesOfWritesUnderWay(t *testing.T) {
	r := newRig(t, Options{})
	var seqs []uint64
	for _, owed := range []uint64{1, 2, 4} {
		seqs = append(seqs, r.promise(opened(put("k", owed))))
	}
	r.wantOwes("k", 7)
	r.Took(seqs[2], 1) // which it is not owed
	r.wantOwes("k", 7)
	r.Took(seqs[1], 2)
	r.wantOwes("k", 5)
	r.settle(seqs[1], 0, nil)
	r.Took(seqs[1], 7) // it is over
	r.wantOwes("k", 5)
	r.settle(seqs[0], 0, nil)
	r.wantOwes("k", 4)
	r.settle(seqs[2], 0, nil)
	r.wantOwes("k", 0)
	r.quiet()
}

// A backend that gave no answer to a write may take it late, over a newer one that it took:
// until that was looked at, who is sure of the newer one is asked alone. Where nobody is sure,
// each is as good.
func TestR30OwesWhereAnOlderWriteMayLandLate(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	took := func(key string, took, owed uint64) Entry {
		e := put(key, owed)
		e.Took = took
		return e
	}
	r.promise(took("k", 1, 2))
	r.wantOwes("k", 2)
	r.promise(took("k", 3, 0))
	r.wantOwes("k", 2)
	r.promise(took("l", 3, 3))
	r.wantOwes("l", 0)
	r.promise(took("m", 1, 6))
	r.promise(took("m", 7, 0))
	r.wantOwes("m", 6)
	r.promise(took("m", 5, 2)) // the third one took it, and may take the first one late
	r.wantOwes("m", 6)
}

// Whose an upload was that is completed is not known while several backends are asked, nor where more than one
// says yes: one of them may have the object that was there before.
func TestR26R30OwesOfACompletionInDoubt(t *testing.T) {
	t.Parallel()
	completion := func(took, owed uint64) Entry {
		e := with(put("k", owed), "POST")
		e.Target, e.Took = []byte("/b/k?x=1&uploadId=u"), took
		return e
	}
	for _, tt := range []struct {
		name       string
		took, owed uint64
		want       uint64
	}{
		{"one backend's", 1, 6, 6}, {"one backend's, whose order is in doubt", 1, 7, 6}, {"two say so", 3, 7, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Options{})
			seq := r.promise(opened(completion(1, 6))) // the others have not answered yet
			r.wantOwes("k", 7)
			r.Journal.settleOpen(&Entry{Seq: seq, Took: tt.took, Owed: tt.owed})
			r.wantOwes("k", tt.want)
			r.mustFlush()
			r.reopen()
			r.wantOwes("k", tt.want)
		})
	}
}

// So it is where the leg without an answer ended after the newer write had begun, whose client
// waited for another backend: the older write is its rival then, and no less past.
func TestR19R30OwesWhereAnOlderWriteEndsLate(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	late := func(key string) (seq uint64) {
		older := opened(put(key, 2))
		older.Took = 1
		if err := r.intend(&older); err != nil {
			t.Fatal(err)
		}
		seq = r.Stamp(time.Now()) // the newer one begins
		r.Journal.settleOpen(&Entry{Seq: older.Seq, Owed: 2, Took: 1})
		return seq
	}
	newer := put("k", 0)
	newer.Seq, newer.Took = late("k"), 3
	r.promise(newer)
	r.wantOwes("k", 2)
	counts := make([]int, 2)
	r.OwedIn([]byte("b"), counts)
	if counts[0] != 0 || counts[1] != 1 {
		t.Errorf("counts are %v", counts)
	}
	// Where the newer one is there alone it is the only one that can be asked.
	newer = put("l", r.Journal.mine&^2)
	newer.Seq, newer.Took = late("l"), 2
	r.promise(newer)
	r.wantOwes("l", r.Journal.mine&^2)
	r.mustFlush()
	r.reopen()
	r.wantOwes("k", 2)
}

// A write that nobody was told of, and that a backend may have stored all the same, may be undone
// yet: it is not shown, as long as another backend is in no doubt.
func TestR29R30OwesOfAnUndecidedWrite(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(untold(put("one", 1)))
	r.wantOwes("one", 1)
	r.promise(untold(put("all", r.Journal.mine)))
	r.wantOwes("all", 0)
	r.promise(put("behind", r.Journal.mine&^1))
	r.promise(untold(put("behind", 1))) // the others lack what came before
	r.wantOwes("behind", r.Journal.mine&^1)
	taken := untold(put("taken", 2))
	taken.Took = 1
	r.promise(taken)
	r.wantOwes("taken", 0)
	r.promise(of(task.Tags, untold(put("tags", 1))))
	r.wantOwes("tags", 0)
	// What comes after it replaces it, wherever it was taken.
	newer := put("one", 2)
	newer.Took = 1
	r.promise(newer)
	r.wantOwes("one", 2)
}

// A record that cannot be read still says who is owed.
func TestR30OwesOfADamagedRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(put("k", 2))
	r.mustFlush()
	r.fs.mu.Lock()
	r.fs.fault = func(op, _ string) error {
		if op == "read" {
			return errDamaged
		}
		return nil
	}
	r.fs.mu.Unlock()
	r.wantOwes("k", 2)
}

// Find gives what Next gives, and where.
func TestFind(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for i := range 1000 {
		r.promise(put(fmt.Sprint(i), 2))
	}
	p, ok := r.Find([]byte("b"), []byte("700"), nil)
	if !ok || p.Key != "700" || r.owedBy(&p) != 2 || p.Version == 0 {
		t.Fatalf("found %+v, %t", p, ok)
	}
	same, _, ok := r.Next(p.Place)
	if !ok || string(same.Key) != "700" || same.Newest().Seq != p.Newest().Seq || same.Version != p.Version {
		t.Fatalf("there it is %+v", same)
	}
	if !r.Resolve(&p) {
		t.Error("it cannot be resolved")
	}
	if _, ok := r.Find([]byte("b"), []byte("700"), nil); ok {
		t.Error("it is found after that")
	}
	r.promise(opened(put("701", 2)))
	if _, ok := r.Find([]byte("b"), []byte("701"), nil); ok {
		t.Error("one whose legs are out is found")
	}
}

// Without a key it is the bucket that is owed, and neither a setting of it nor a key in it.
func TestR30OwesTheBucket(t *testing.T) {
	r := newRig(t, Options{})
	of := func(target string) Entry {
		e := put("", 2)
		e.Target, e.Aspect = []byte(target), task.AspectOf("PUT", []byte(target), nil, target != "/b")
		return e
	}
	r.promise(put("k", 2))
	r.promise(of("/b?policy"))
	if got := r.Owed([]byte("b"), nil); got != 0 {
		t.Errorf("owed %b, want nothing", got)
	}
	r.promise(of("/b"))
	if got := r.Owed([]byte("b"), nil); got != 2 {
		t.Errorf("owed %b, want 10", got)
	}
	if got := r.Owed([]byte("other"), nil); got != 0 {
		t.Errorf("owed %b of another one", got)
	}
}

// R30, R35: tags are owed apart from content, which a copy asks for; newer content takes older
// ones away.
func TestR30OwesTags(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	want := func(want uint64) {
		t.Helper()
		if got := r.OwedPart([]byte("b"), []byte("k"), []byte("/b/k?tagging")); got != want {
			t.Fatalf("tags are owed by %b, want %b", got, want)
		}
	}
	want(0)
	r.promise(put("k", 1))
	want(0)
	tags := put("k", 2)
	tags.Aspect = task.Tags
	r.promise(tags)
	want(2)
	seq := r.promise(opened(func() Entry { e := put("k", 4); e.Aspect = task.Tags; return e }()))
	want(6)
	r.settle(seq, 4, nil)
	want(4)
	unknown := tags
	unknown.Owed, unknown.Unacknowledged = 1, true
	r.promise(unknown)
	want(4)
	r.promise(put("k", 2))
	want(0)
	other := tags
	other.Key = []byte("other")
	r.promise(other)
	want(0)
}

// R30: so is each other part of a key, and each setting of a bucket.
func TestR30OwesParts(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"k", ""} {
		for target, others := range map[string][]string{
			"/b/k?tagging": {"/b/k?acl", "/b/k?retention"}, "/b/k?acl": {"/b/k?tagging", "/b/k"}, "/b/k?retention": {"/b/k?legal-hold"},
			"/b/k?legal-hold": {"/b/k?acl"}, "/b?policy": {"/b?cors", "/b"}, "/b/?tagging&x-id=PutBucketTagging": {"/b?acl"},
		} {
			if (key != "") != strings.HasPrefix(target, "/b/k") {
				continue
			}
			r := newRig(t, Options{})
			e := put(key, 2)
			e.Target, e.Aspect = []byte(target), task.AspectOf("PUT", []byte(target), []byte(key), true)
			owes := func(target string, want uint64) {
				t.Helper()
				if got := r.OwedPart([]byte("b"), []byte(key), []byte(target)); got != want {
					t.Errorf("%s is owed by %b, want %b", target, got, want)
				}
			}
			seq := r.promise(opened(e))
			owes(target, 2)
			owes(strings.Replace(target, "?", "?X-Amz-Signature=1&", 1), 2)
			r.settle(seq, 2, nil)
			owes(target, 2)
			for _, other := range others {
				owes(other, 0)
			}
			if key != "" {
				owes(target+"&versionId=v", 0)
			}
		}
	}
}

// R30: of the list of buckets those are owed that a backend has not removed, or made, and nothing in them.
func TestR30OwesOfTheListOfBuckets(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	counts := func(want ...int) {
		t.Helper()
		got := make([]int, 2)
		if r.OwedIn(nil, got); !slices.Equal(got, want) {
			t.Errorf("owed of the list is %v, want %v", got, want)
		}
	}
	r.promise(put("k", 2))
	counts(0, 0)
	for _, e := range []Entry{
		{Method: "DELETE", Target: []byte("/b"), Bucket: []byte("b"), Owed: 2},
		{Method: "PUT", Target: []byte("/c/"), Bucket: []byte("c"), Owed: 2},
		{Method: "PUT", Target: []byte("/d"), Bucket: []byte("d"), Owed: 1},
	} {
		r.promise(e)
	}
	counts(1, 2)
	r.mustFlush()
	r.reopen()
	counts(1, 2)
}

// R30: what is under way, and what is owed until repair has brought it, are told apart. A write that fails goes
// from the one to the other; and who waits for what was under way once does not wait for what came later.
func TestR30OwesApart(t *testing.T) {
	t.Parallel()
	for _, bucket := range []string{"b", ""} {
		t.Run(fmt.Sprintf("of %q", bucket), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Options{})
			write := func(name string, owed uint64) Entry {
				e := put(name, owed)
				if bucket == "" { // of the list of buckets
					e = Entry{Method: "PUT", Target: []byte("/" + name), Bucket: []byte(name), Owed: owed}
				}
				return e
			}
			want := func(last uint64, owed, out [2]int) (now uint64) {
				t.Helper()
				var gotOwed, gotOut [2]int
				if now = r.OwedApart([]byte(bucket), last, gotOwed[:], gotOut[:]); gotOwed != owed || gotOut != out {
					t.Errorf("since %d is owed %v, and under way %v, want %v, %v", last, gotOwed, gotOut, owed, out)
				}
				return now
			}
			want(0, [2]int{}, [2]int{})
			r.promise(write("pending", 1))
			want(0, [2]int{1, 0}, [2]int{})
			fails := r.promise(opened(write("fails", 2)))
			ends := r.promise(opened(write("ends", 3)))
			taken := r.promise(opened(write("taken", 2)))
			last := want(0, [2]int{1, 0}, [2]int{1, 3})
			if now := want(last, [2]int{1, 0}, [2]int{1, 3}); now != last {
				t.Errorf("the last is %d, and was %d", now, last)
			}
			later := r.promise(opened(write("later", 3)))
			want(last, [2]int{1, 0}, [2]int{1, 3})
			want(0, [2]int{1, 0}, [2]int{2, 4})
			r.settle(ends, 0, nil)
			want(last, [2]int{1, 0}, [2]int{0, 2})
			r.Took(taken, 2)
			want(last, [2]int{1, 0}, [2]int{0, 1})
			r.settle(fails, 2, nil)
			want(last, [2]int{1, 1}, [2]int{})
			want(0, [2]int{1, 1}, [2]int{1, 1})
			r.settle(taken, 0, nil)
			r.settle(later, 0, nil)
			want(0, [2]int{1, 1}, [2]int{})
			for _, p := range r.all() {
				if !r.Resolve(&p) {
					t.Error("not resolved")
				}
			}
			want(last, [2]int{}, [2]int{})
			r.quiet()
		})
	}
}

// At no moment a write that fails is neither under way nor owed.
func TestR30OwesApartWithoutAGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	over := make(chan struct{})
	ended := make(chan struct{}, 1)
	var looks atomic.Int64
	seq := r.promise(opened(put("0", 2)))
	go func() {
		for {
			var owed, out [2]int
			if r.OwedApart([]byte("b"), 0, owed[:], out[:]); owed[1]+out[1] < 1 {
				t.Error("nothing is owed, and nothing under way")
			}
			looks.Add(1)
			select {
			case <-over:
				ended <- struct{}{}
				return
			default:
			}
		}
	}()
	for i := 0; i < 2000 || looks.Load() < 100; i++ {
		r.settle(seq, 2, nil)
		seq = r.promise(opened(put(fmt.Sprint(i+1), 2)))
	}
	close(over)
	testkit.Receive(t, "the end of the looks", ended)
	r.settle(seq, 0, nil)
}
