package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// faultRun is a life of a journal whose disk fails, and what was promised in it.
type faultRun struct {
	rig
	sure   map[string]Entry // the newest entry of each key that must not be lost
	failed bool             // a Promise failed
}

func (r *faultRun) open() bool {
	r.o.FS = r.fs
	j, err := Open(r.o)
	if err != nil {
		return false
	}
	r.Journal = j
	return true
}

func (r *faultRun) promise(es ...Entry) []Entry {
	if err := r.Promise(es); err != nil {
		if !errors.Is(err, ErrFailed) {
			r.t.Fatal(err)
		}
		r.failed = true
		return es
	}
	for _, e := range es {
		old, ok := r.sure[string(e.Key)]
		if !ok && e.Owed == 0 {
			continue
		}
		e.Owed |= old.Owed
		r.sure[string(e.Key)] = e
	}
	return es
}

// life is a bit of everything. It ends early where the journal cannot be opened.
func (r *faultRun) life() {
	if !r.open() {
		return
	}
	step := 0
	some := func() {
		for range 3 {
			step++
			r.promise(put(fmt.Sprint("k", step), 2))
			r.promise(put(fmt.Sprint("k", step/2), 4), put(fmt.Sprint("k", step), 0))
			r.settle(r.promise(opened(put(fmt.Sprint("well", step), 2)))[0].Seq, 0, nil)
			delete(r.sure, fmt.Sprint("well", step))
			r.settle(r.promise(opened(put(fmt.Sprint("badly", step), 2)))[0].Seq, 2, nil)
			r.promise(opened(put(fmt.Sprint("open", step), 1)))
		}
		r.tick()
	}
	repair := func() {
		for i, p := range r.all() {
			if i%4 == 0 {
				p.Tries++
				r.Note(&p)
			}
			if i%4 == 1 && r.Resolve(&p) {
				delete(r.sure, string(p.Key))
			}
		}
		r.tick()
	}
	some()
	repair()
	some()
	_ = r.checkpoint()
	repair()
	_ = r.Close()
	if !r.open() {
		return
	}
	some()
	r.tick()
	repair()
	_ = r.Flush()
	some()
}

// check opens what is left without faults.
func (r *faultRun) check(what string, files *memFS) {
	r.t.Helper()
	after := rig{t: r.t, fs: files, o: r.o}
	after.o.OnError = func(err error) { after.errs = append(after.errs, err.Error()) }
	after.open()
	have := map[string]task.Task{}
	for _, p := range after.all() {
		have[string(p.Key)] = p
	}
	for k, e := range r.sure {
		p, ok := have[k]
		if !ok || len(p.Owed()) == 0 || p.Newest().Seq < e.Seq {
			r.t.Fatalf("%s: %q was promised (owed %b, seq %d); there is %v: %+v\nerrors then %q\nerrors now %q",
				what, k, e.Owed, e.Seq, ok, p, r.errs, after.errs)
		}
	}
	for _, e := range after.errs {
		if strings.Contains(e, "a pending key is lost") {
			r.t.Fatalf("%s: %s", what, e)
		}
	}
}

func newFaultRun(t *testing.T, o Options) *faultRun {
	r := &faultRun{rig: rig{t: t, fs: newMemFS(), o: o}, sure: map[string]Entry{}}
	r.o.Dir, r.o.manual, r.o.Backends = "j", true, []string{"a:1", "b:2", "c:3"}
	r.o.OnError = func(err error) { r.errs = append(r.errs, err.Error()) }
	return r
}

// faultOptions are the journals that faults are tried with.
func faultOptions(policy bool) map[string]Options {
	return map[string]Options{
		"process":              {SegmentSize: 1500, Continue: policy},
		"power":                {SegmentSize: 1500, Continue: policy, Power: true},
		"process, checkpoints": {SegmentSize: 1500, Continue: policy, scanBelow: 1},
		"power, checkpoints":   {SegmentSize: 1500, Continue: policy, Power: true, scanBelow: 1},
	}
}

// Each call to the disk fails in turn: alone, or with all that follow.
func TestR20EachCallFails(t *testing.T) {
	t.Parallel()
	for name, o := range faultOptions(false) {
		t.Run(name, func(t *testing.T) {
			r := newFaultRun(t, o)
			r.life()
			calls := r.fs.calls
			r.quiet()
			r.check("no fault", r.fs.kill())
			t.Logf("%d calls", calls)
			step := 1
			if testing.Short() {
				step = 7
			}
			for _, kind := range []error{errInput, errSpace, errShort} {
				for _, forever := range []bool{false, true} {
					for at := 1; at <= calls; at += step {
						r := newFaultRun(t, o)
						what := fmt.Sprintf("call %d, %v, forever %v", at, kind, forever)
						hit := false
						r.fs.fault = func(op, _ string) error {
							late := r.fs.calls == at || forever && r.fs.calls > at
							writes := op == "write" || op == "create" || op == "sync" || op == "syncdir"
							if !late || forever && !writes || kind != errInput && op != "write" && op != "create" {
								return nil
							}
							hit = true
							what += ", " + op
							return kind
						}
						r.life()
						r.fs.fault = nil
						r.check(what, r.fs.clone())
						if r.failed && !hit {
							t.Fatalf("%s: failed without a fault", what)
						}
						if !r.o.Power {
							r.check(what, r.fs.kill())
							continue
						}
						r.check(what, r.fs.powerCut(nil))
					}
				}
			}
		})
	}
}

// The machine, or the process, dies at each call.
func TestR20DiesAtEachCall(t *testing.T) {
	t.Parallel()
	for name, o := range faultOptions(false) {
		t.Run(name, func(t *testing.T) {
			r := newFaultRun(t, o)
			r.life()
			calls := r.fs.calls
			for at := 1; at <= calls; at++ {
				for n := range 4 {
					r := newFaultRun(t, o)
					r.fs.fault = func(string, string) error {
						if r.fs.calls < at {
							return nil
						}
						r.fs.dead = true
						return errDead
					}
					r.life()
					what := fmt.Sprintf("call %d", at)
					switch {
					case !o.Power:
						r.check(what+", kill", r.fs.kill())
					case n == 0:
						r.check(what+", power", r.fs.powerCut(nil))
					default:
						r.check(what+", power, by chance", r.fs.powerCut(rand.New(rand.NewPCG(uint64(at), uint64(n)))))
					}
					if !o.Power || testing.Short() {
						break
					}
				}
			}
		})
	}
}

// In process mode a power cut loses at most what came after the last sync.
func TestR20PowerCutAfterSync(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := newFaultRun(t, Options{SegmentSize: 1500, scanBelow: int64(1 + seed%2*1e9)})
		r.life()
		r.tick()
		r.quiet()
		for i := range seed % 20 {
			e := put(fmt.Sprint("later", i), 2)
			testkit.MustDo(t, r.Promise([]Entry{e}))
		}
		r.check(fmt.Sprint("seed ", seed), r.fs.powerCut(rand.New(rand.NewPCG(seed, 1))))
	}
}

// With Continue a failure loses nothing either, where the disk works again in time.
func TestR20ContinueRevives(t *testing.T) {
	t.Parallel()
	for name, o := range faultOptions(true) {
		t.Run(name, func(t *testing.T) {
			r := newFaultRun(t, o)
			r.life()
			for at := 1; at <= r.fs.calls; at++ {
				r := newFaultRun(t, o)
				what := fmt.Sprintf("call %d", at)
				r.fs.fault = func(op, _ string) error {
					if r.fs.calls >= at && r.fs.calls < at+5 && op != "readdir" && op != "size" && op != "read" {
						what += ", " + op
						return errInput
					}
					return nil
				}
				r.life()
				if r.failed {
					t.Fatalf("%s: Promise gave an error", what)
				}
				if r.Journal == nil {
					continue // not even opened
				}
				r.fs.fault = nil
				r.tick()
				r.tick()
				if r.Failed() {
					t.Fatalf("%s: still failed: %q", what, r.errs)
				}
				if s := r.Stats(); s.Dropped > 0 {
					t.Fatalf("%s: %+v", what, s)
				}
				r.check(what, r.fs.kill())
			}
		})
	}
}

func TestRefusesWhileFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	revived := 0
	r.o.OnRevive = func() { revived++ }
	r.restart()
	r.promise(put("before", 1))
	full := true
	r.fs.fault = func(op, _ string) error {
		if full && (op == "write" || op == "create") {
			return errSpace
		}
		return nil
	}
	if err := r.Promise([]Entry{opened(put("k", 1))}); !errors.Is(err, ErrFailed) || !errors.Is(err, errSpace) {
		t.Fatal(err)
	}
	if err := r.Promise([]Entry{put("k", 1)}); !errors.Is(err, ErrFailed) || !r.Failed() {
		t.Fatal(err)
	}
	if err := r.Flush(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := r.Promise([]Entry{put("k", 0)}); !errors.Is(err, ErrFailed) { // it may be a write to a pending key
		t.Fatal(err)
	}
	r.want("PUT before 1, PUT k 1") // reading goes on
	if p := r.all()[0]; r.Resolve(&p) || r.Note(&p) {
		t.Fatal("resolved what cannot be stored")
	}
	for range 3 {
		r.tick()
	}
	if len(r.errs) != 1 || !strings.Contains(r.errs[0], "cannot write segment") {
		t.Fatalf("errors %q", r.errs)
	}
	full = false
	r.tick()
	if r.Failed() || revived != 1 {
		t.Fatalf("failed %v, revived %d", r.Failed(), revived)
	}
	r.noStrays()
	r.promise(put("after", 1))
	r.wantAlways("PUT before 1, PUT k 1, PUT after 1")
}

// noStrays checks that there is no segment's file that the journal does not know.
func (r *rig) noStrays() {
	r.t.Helper()
	known := 0
	for _, s := range r.segs {
		if s.file != nil {
			known++
		}
	}
	if n, _ := r.segmentFiles(); n != known {
		r.t.Errorf("%d files, %d segments", n, known)
	}
}

// After a failed sync nobody knows what is on disk: what was promised is written
// anew before the journal works again.
func TestRevivedIsDurable(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"sync", "syncdir"} {
		for _, size := range []int64{0, 200} {
			if op == "syncdir" && size == 0 {
				continue // no file is made
			}
			r := newRig(t, Options{SegmentSize: size})
			r.tick()
			for i := range 20 {
				r.promise(put(fmt.Sprint("k", i), 1))
			}
			r.promise(opened(put("open", 2)))
			newest := r.segs[len(r.segs)-1].num
			failed := false
			r.fs.fault = func(o, _ string) error {
				if o == op && !failed {
					failed = true
					return errInput
				}
				return nil
			}
			r.tick()
			if !r.Failed() || len(r.errs) != 1 {
				t.Fatalf("%s: errors %q", op, r.errs)
			}
			suspects := map[uint32]bool{}
			for _, s := range r.segs {
				suspects[s.num] = s.suspect
			}
			r.tick()
			if r.Failed() {
				t.Fatalf("%s: still failed", op)
			}
			for age := uint64(0); ; {
				id, ok := r.book.keys.after(age, false)
				if !ok {
					break
				}
				s := r.book.keys.at(id)
				age = s.age
				if suspects[s.seg] || size > 0 && op == "syncdir" && s.seg <= newest && s.seg > 1 {
					t.Errorf("%s: a record is still in segment %d", op, s.seg)
				}
			}
			r.fs = r.fs.powerCut(nil)
			r.open()
			if n := len(r.all()); n != 21 {
				t.Errorf("%s: %d keys", op, n)
			}
		}
	}
}

func TestContinueHoldsAndDrops(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Continue: true})
	full := true
	r.fs.fault = func(op, _ string) error {
		if full && op == "write" {
			return errSpace
		}
		return nil
	}
	e := put("", 1)
	e.Target = make([]byte, 100<<10)
	for i := range 100 {
		e.Key = fmt.Append(nil, i)
		e.Open = i%2 == 0
		r.promise(e)
		r.tick()
	}
	s := r.Stats()
	if s.Dropped < 50 || s.Dropped > 62 || s.Pending+s.Open+int(s.Dropped) != 100 {
		t.Fatalf("%+v", s)
	}
	if len(r.errs) != 1 {
		t.Errorf("errors %q", r.errs)
	}
	full = false
	r.tick()
	r.noStrays()
	r.restart()
	if n := len(r.all()); n != 100-int(s.Dropped) {
		t.Errorf("%d keys, want %d", n, 100-s.Dropped)
	}
}

// A start without a disk that can be written to goes on: reads do.
func TestOpensOnAFullDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(put("k", 1))
	r.promise(opened(put("open", 1)))
	r.fs = r.fs.kill()
	r.fs.fault = func(op, _ string) error {
		if op == "write" {
			return errSpace
		}
		return nil
	}
	before := maps.Clone(r.fs.files)
	r.open()
	if !r.Failed() || len(r.errs) != 1 {
		t.Fatalf("errors %q", r.errs)
	}
	r.want("PUT k 1, PUT open 1")
	r.fs.fault = nil
	r.tick()
	r.wantAlways("PUT k 1, PUT open 1")
	for name, in := range before {
		if now := r.fs.files[name]; now != nil && string(now.data) != string(in.data) {
			t.Errorf("%s was written to", name)
		}
	}
}

func TestCannotOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	if _, err := Open(r.o); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	for _, op := range []string{"mkdir", "lock", "readdir", "open", "size"} {
		m := r.fs.clone()
		m.fault = func(o, _ string) error {
			if o == op {
				return fs.ErrPermission
			}
			return nil
		}
		o := r.o
		o.FS = m
		if _, err := Open(o); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", op, err)
		}
		if m.locked {
			t.Errorf("%s: still locked", op)
		}
	}
}

// An intent that is kept elsewhere waits for nothing, and is in the log with the
// next tick; what it has become is there once Flush has returned.
func TestR20Intend(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	intend := func(key string) uint64 {
		t.Helper()
		e := opened(put(key, 2))
		testkit.MustDo(t, r.intend(&e))
		if e.Seq == 0 {
			t.Fatal("it has no place")
		}
		return e.Seq
	}
	before := r.Stats()
	intend("lost")
	if s := r.Stats(); s.Batches != before.Batches || s.Open != 1 {
		t.Fatalf("it was written at once: %+v", s)
	}
	r.restart()
	r.want("")

	intend("open")
	r.tick()
	r.restart()
	r.want("PUT open 10")

	r.settle(intend("well"), 0, nil)
	r.settle(intend("badly"), 4, []byte("why"))
	r.mustFlush()
	r.restart()
	r.want("PUT open 10, PUT badly 100")

	// What has ended well before the next tick is not written at all.
	before = r.Stats()
	r.settle(intend("soon"), 0, nil)
	r.tick()
	if s := r.Stats(); s.Written != before.Written || s.Batches != before.Batches || s.Open != before.Open {
		t.Fatalf("it was written: %+v, before %+v", s, before)
	}
	// What is still open then is, once, and so is its end.
	late := intend("late")
	r.tick()
	r.tick()
	if s := r.Stats(); s.Written != before.Written+1 || s.Open != before.Open+1 {
		t.Fatalf("%+v, before %+v", s, before)
	}
	r.settle(late, 0, nil)
	r.mustFlush()
	r.restart()
	r.want("PUT open 10, PUT badly 100")

	// Who has kept it promises it once more: it is the same write.
	again := opened(put("twice", 2))
	testkit.MustDo(t, r.intend(&again))
	r.tick()
	r.restart()
	again.Open = false
	if seq := r.promise(again); seq != again.Seq {
		t.Fatalf("seq %d, want %d", seq, again.Seq)
	}
	r.wantAlways("PUT open 10, PUT badly 100, PUT twice 10")

	if err := r.intend(&Entry{Key: make([]byte, 1<<20), Owed: 1, Open: true}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	// A write that fails later loses nothing in this process's life; from then on
	// there are no more.
	full := true
	r.fs.fault = func(op, _ string) error {
		if full && (op == "write" || op == "create") {
			return errSpace
		}
		return nil
	}
	seq := intend("full")
	r.tick()
	if err := r.intend(&Entry{Key: []byte("k"), Owed: 1, Open: true}); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	r.settle(seq, 2, nil)
	if err := r.Flush(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	full = false
	r.tick()
	r.wantAlways("PUT open 10, PUT badly 100, PUT twice 10, PUT full 10")
	testkit.MustDo(t, r.Close())
	if err := r.intend(&Entry{Key: []byte("k"), Owed: 1, Open: true}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// A write that is newer than an open intent of its key stands for the key, also where
// the process dies before the log would have heard of the intent by itself.
func TestR20IntendIsLoggedBeforeWhatIsNewer(t *testing.T) {
	t.Parallel()
	for _, newer := range []Entry{put("k", 0), with(put("k", 0), "DELETE"), put("k", 4)} {
		r := newRig(t, Options{})
		e := opened(put("k", 2))
		testkit.MustDo(t, r.intend(&e))
		seq := r.promise(newer)
		r.restart()
		got := r.all()
		if len(got) != 1 || got[0].Newest().Seq != seq || got[0].Newest().Method != newer.Method || got[0].First != e.Seq {
			t.Fatalf("%+v, want one with seq %d and first %d", got, seq, e.Seq)
		}
	}
}
