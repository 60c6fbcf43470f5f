package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// rig is a journal on a file system in memory, whose goroutine is the test.
type rig struct {
	t    testing.TB
	fs   *memFS
	o    Options
	errs []string
	*Journal
}

func (r *rig) mustFlush() {
	r.t.Helper()
	if err := r.Flush(); err != nil {
		r.t.Fatal(err)
	}
}

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	r := &rig{t: t, fs: newMemFS(), o: o}
	if r.o.Backends == nil {
		r.o.Backends = []string{"a:1", "b:2", "c:3"}
	}
	r.o.Dir, r.o.manual = "j", true
	r.o.OnError = func(err error) { r.errs = append(r.errs, err.Error()) }
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	r.o.FS = r.fs
	var err error
	if r.Journal, err = Open(r.o); err != nil {
		r.t.Fatal(err)
	}
}

// reopen closes and opens; restart kills and opens.
func (r *rig) reopen() {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

func (r *rig) restart() {
	r.t.Helper()
	r.fs = r.fs.kill()
	r.open()
}

func (r *rig) promise(e Entry) uint64 {
	r.t.Helper()
	es := []Entry{e}
	if err := r.Promise(es); err != nil {
		r.t.Fatal(err)
	}
	return es[0].Seq
}

func put(key string, owed uint64) Entry {
	return Entry{
		Method: "PUT", Target: []byte("/b/" + key), Host: []byte("s3:80"), Bucket: []byte("b"), Key: []byte(key),
		ETag: []byte("etag of " + key), ID: []byte("id"), Size: 17, Owed: owed,
	}
}

// settle has the entry seq end so.
func (r *rig) settle(seq, owed uint64, reason []byte) {
	r.Journal.settleOpen(&Entry{Seq: seq, Owed: owed, Reason: reason})
}

// one is what is known of the aspect that a task has alone.
func one(t *task.Task) *task.Write { return t.Newest() }

// owedBy is the mask of who owes anything of a task.
func (r *rig) owedBy(t *task.Task) uint64 { return maskOf(t.Owed(), r.Journal.o.Backends) }

func opened(e Entry) Entry { e.Open = true; return e }

func with(e Entry, method string) Entry {
	if e.Method = method; method == "" {
		e.Aspect = task.Found
	}
	return e
}

func untold(e Entry) Entry { e.Unacknowledged = true; return e }

func of(a task.Aspect, e Entry) Entry { e.Aspect = a; return e }

// all are the pending keys as Next gives them.
func (r *rig) all() (ps []task.Task) {
	for cursor := uint64(0); ; {
		p, next, ok := r.Next(cursor)
		if !ok {
			return ps
		}
		if next <= cursor {
			r.t.Fatalf("cursor %d after %d", next, cursor)
		}
		cursor = next
		ps = append(ps, p)
	}
}

// text is what matters of the pending keys: "PUT k 3" a key.
func (r *rig) text(ps []task.Task) string {
	var s []string
	for i := range ps {
		p := &ps[i]
		s = append(s, fmt.Sprintf("%s %s %b", one(p).Method, p.Key, r.owedBy(p)))
	}
	return strings.Join(s, ", ")
}

func (r *rig) want(want string) {
	r.t.Helper()
	if got := r.text(r.all()); got != want {
		r.t.Fatalf("pending %q, want %q", got, want)
	}
}

// wantAlways is want, also after a restart and after a Close.
func (r *rig) wantAlways(want string) {
	r.t.Helper()
	r.want(want)
	r.mustFlush()
	r.restart()
	r.want(want)
	r.reopen()
	r.want(want)
}

func (r *rig) quiet() {
	r.t.Helper()
	if len(r.errs) > 0 {
		r.t.Fatalf("errors: %q", r.errs)
	}
}

func TestR20Meaning(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(r *rig)
		want string
	}{
		{"nothing", func(*rig) {}, ""},
		{"owed", func(r *rig) { r.promise(put("k", 2)) }, "PUT k 10"},
		{"touch of nothing", func(r *rig) { r.promise(put("k", 0)) }, ""},
		{"settled well", func(r *rig) { r.settle(r.promise(opened(put("k", 6))), 0, nil) }, ""},
		{"settled badly", func(r *rig) { r.settle(r.promise(opened(put("k", 6))), 4, []byte("why")) }, "PUT k 100"},
		{"settled twice", func(r *rig) {
			s := r.promise(opened(put("k", 6)))
			r.settle(s, 4, nil)
			r.settle(s, 0, nil)
		}, "PUT k 100"},
		{"settled by a stranger", func(r *rig) { r.settle(17, 4, nil) }, ""},
		{"one key", func(r *rig) { r.promise(put("k", 2)); r.promise(with(put("k", 4), "DELETE")) }, "DELETE k 100"},
		{"one key, a part of it", func(r *rig) {
			r.promise(put("k", 2))
			r.promise(of(task.Tags, put("k", 4)))
		}, "PUT k 110"},
		{"in order", func(r *rig) { r.promise(put("x", 2)); r.promise(put("k", 2)); r.promise(put("x", 4)) },
			"PUT x 100, PUT k 10"},
		{"by seq, not by coming", func(r *rig) {
			early := r.Stamp(time.Now())
			r.promise(put("k", 2))
			e := with(put("k", 4), "DELETE")
			e.Seq = early
			r.promise(e)
		}, "PUT k 110"},
		{"touched", func(r *rig) { r.promise(put("k", 2)); r.promise(with(put("k", 0), "DELETE")) }, "DELETE k 10"},
		{"touched by an older one", func(r *rig) {
			e := with(put("k", 0), "DELETE")
			e.Seq = r.Stamp(time.Now())
			r.promise(put("k", 2))
			r.promise(e)
		}, "PUT k 10"},
		{"settled well over an older one", func(r *rig) {
			r.promise(put("k", 2))
			r.settle(r.promise(opened(with(put("k", 4), "DELETE"))), 0, nil)
		}, "DELETE k 10"},
		{"settled well under a newer one", func(r *rig) {
			s := r.promise(opened(with(put("k", 4), "DELETE")))
			r.promise(put("k", 2))
			r.settle(s, 0, nil)
		}, "PUT k 10"},
		{"touched in flight, then owed", func(r *rig) {
			s := r.promise(opened(put("k", 2)))
			r.promise(with(put("k", 0), "DELETE"))
			r.settle(s, 2, nil)
		}, "DELETE k 10"},
		{"touched in flight, then well", func(r *rig) {
			s := r.promise(opened(put("k", 2)))
			r.promise(with(put("k", 0), "DELETE"))
			r.settle(s, 0, nil)
		}, ""},
		{"a newer one in flight ends well, the older one badly", func(r *rig) {
			s := r.promise(opened(put("k", 2)))
			u := r.promise(opened(with(put("k", 4), "DELETE")))
			r.settle(u, 0, nil)
			r.settle(s, 2, nil)
		}, "DELETE k 10"},
		{"both in flight end well", func(r *rig) {
			s := r.promise(opened(put("k", 2)))
			u := r.promise(opened(with(put("k", 4), "DELETE")))
			r.settle(u, 0, nil)
			r.settle(s, 0, nil)
		}, ""},
		{"both in flight end well, the other way", func(r *rig) {
			s := r.promise(opened(put("k", 2)))
			u := r.promise(opened(with(put("k", 4), "DELETE")))
			r.settle(s, 0, nil)
			r.settle(u, 0, nil)
		}, ""},
		{"the older of two ends well under a touch, the other one badly", func(r *rig) {
			s := r.promise(opened(put("k", 2)))
			u := r.promise(opened(with(put("k", 4), "POST")))
			r.promise(with(put("k", 0), "DELETE"))
			r.settle(s, 0, nil)
			r.settle(u, 4, nil)
		}, "DELETE k 100"},
		{"verified is no write", func(r *rig) {
			r.promise(with(put("k", 2), "DELETE"))
			r.promise(with(put("k", 4), ""))
		}, "DELETE k 110"},
		{"a write is more than verified", func(r *rig) {
			early := r.Stamp(time.Now())
			r.promise(with(put("k", 2), ""))
			e := put("k", 4)
			e.Seq = early
			r.promise(e)
		}, "PUT k 110"},
		{"a write that nobody was told of is less", func(r *rig) {
			r.promise(put("k", 2))
			r.promise(untold(with(put("k", 7), "DELETE")))
		}, "PUT k 111"},
		{"a write that nobody was told of, alone", func(r *rig) { r.promise(untold(put("k", 7))) }, "PUT k 111"},
		{"a write over one that nobody was told of", func(r *rig) {
			r.promise(untold(put("k", 7)))
			r.promise(with(put("k", 0), "DELETE"))
		}, "DELETE k 111"},
		{"verified over one that nobody was told of", func(r *rig) {
			r.promise(untold(put("k", 1)))
			r.promise(with(put("k", 4), ""))
		}, "PUT k 101"},
		{"several at once", func(r *rig) {
			es := []Entry{put("x", 1), put("y", 0), opened(put("z", 3)), put("x", 2)}
			if err := r.Promise(es); err != nil {
				r.t.Fatal(err)
			}
			r.settle(es[2].Seq, 1, nil)
		}, "PUT x 10, PUT z 1"},
		{"bits of nobody", func(r *rig) { r.promise(put("k", 8|1)); r.promise(put("x", 16)) }, "PUT k 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{})
			c.do(r)
			if n := r.book.keys.live; c.want == "" && n != 0 {
				t.Errorf("%d keys in memory", n)
			}
			r.wantAlways(c.want)
			r.quiet()
		})
	}
}

// A touch that no open intent is older than is not worth a record.
func TestTouchBeforeIntent(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	e := with(put("k", 0), "DELETE")
	e.Seq = r.Stamp(time.Now())
	s := r.promise(opened(put("k", 2)))
	written := r.Stats().Written
	r.promise(e)
	r.promise(put("other", 0))
	if n := r.Stats().Written; n != written {
		t.Errorf("%d records for a touch of nothing", n-written)
	}
	r.settle(s, 2, nil)
	r.wantAlways("PUT k 10")
}

func TestR20UnknownOutcome(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(put("k", 4))
	seq := r.promise(opened(put("k", 2)))
	r.promise(opened(put("other", 1)))
	r.want("") // in flight, both
	if s := r.Stats(); s.Pending != 1 || s.Open != 2 {
		t.Fatalf("%+v", s)
	}
	r.restart()
	r.wantAlways("PUT k 10, PUT other 1")
	p := r.all()[0]
	if w := p.Newest(); w.Seq != seq || p.Open || w.Reason != "unknown outcome" {
		t.Fatalf("%+v", p)
	}
	r.quiet()
}

func TestFieldsComeBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	raw := make([]byte, 256)
	for i := range raw {
		raw[i] = byte(i)
	}
	e := Entry{
		Method: "PATCH", Target: raw, Host: raw[1:], Bucket: raw[2:], Key: raw[3:], ETag: raw[4:], ID: raw[5:],
		Reason: raw[6:], Size: -3, Owed: 5, Took: 6, Aspect: task.LegalHold, Overlapped: true, OverlapKnown: true, Unrepeatable: true, Carried: 7,
		ETags: []task.BackendETag{{Backend: 1, ETag: raw[7:]}, {Backend: 2, ETag: []byte("x")}},
		Made:  []task.BackendETag{{Backend: 1, ETag: raw[8:]}}, MadeNull: 4,
	}
	e.Seq = r.promise(e)
	for range 2 {
		p := r.all()[0]
		want := writeOf(&e, r.o.Backends)
		want.Settled = p.Writes[0].Settled
		if fmt.Sprint(p.Writes) != fmt.Sprint([]task.Write{want}) || p.First != e.Seq || p.Bucket != string(e.Bucket) || p.Key != string(e.Key) ||
			want.Settled <= e.Seq {
			t.Fatalf("%+v, want %+v", p, want)
		}
		r.restart()
	}
	p := r.all()[0]
	p.Tries, p.NotBefore, p.Parked, p.LastError = 7, time.Unix(0, 12345), task.Conflict, "no"
	for range 2 {
		if !r.Note(&p) {
			t.Fatal("not noted")
		}
	}
	for range 2 {
		if q := r.all()[0]; q.Tries != 7 || !q.NotBefore.Equal(p.NotBefore) || q.Parked != task.Conflict || q.LastError != "no" {
			t.Fatalf("%+v", q)
		}
		if r.Stats().Parked != 1 {
			t.Fatalf("%+v", r.Stats())
		}
		r.reopen()
	}
	r.promise(with(put("", 0), "PUT")) // another key
	e.Seq, e.Owed = 0, 0
	r.promise(e) // the same: a new chance
	if q := r.all()[0]; q.Tries != 0 || !q.NotBefore.IsZero() || q.Parked != "" || q.LastError != "" || r.Stats().Parked != 0 {
		t.Fatalf("%+v", q)
	}
}

func TestCompaction(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	for _, e := range []Entry{
		{Method: "PUT", Bucket: []byte("b"), Key: []byte("k"), Target: []byte("/b/k")},
		{Method: "PUT", Bucket: []byte("bk"), Target: []byte("/bk")},
		{Method: "PUT", Bucket: []byte("b"), Target: []byte("k")},
		{Method: "PUT", Bucket: []byte("b"), Target: []byte("/b?cors")},
		{Method: "PUT", Bucket: []byte("b"), Target: []byte("/b?policy")},
		{Method: "PUT", Bucket: []byte("b"), Target: []byte("/b?cors")},
		{Method: "PUT", Bucket: []byte("b"), Key: []byte("k"), Target: []byte("/b/k?acl"), Aspect: task.ACL},
	} {
		e.Owed = 1
		r.promise(e)
	}
	for range 2 {
		ps := r.all()
		if len(ps) != 5 || one(&ps[0]).Target != "/b/k?acl" || len(ps[0].Writes) != 2 {
			t.Fatalf("%+v", ps)
		}
		r.restart()
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	one := func() *task.Task {
		t.Helper()
		ps := r.all()
		if len(ps) != 1 {
			t.Fatalf("pending %q", r.text(ps))
		}
		return &ps[0]
	}
	r.promise(put("k", 2))
	p := one()
	for name, newer := range map[string]func(){
		"owed":     func() { r.promise(put("k", 2)) },
		"touch":    func() { r.promise(put("k", 0)) },
		"verified": func() { r.promise(with(put("k", 2), "")) },
		"in flight": func() {
			s := r.promise(opened(put("k", 2)))
			if r.Resolve(p) || r.Note(p) {
				t.Error("resolved what is in flight")
			}
			r.settle(s, 2, nil)
		},
		"older": func() { e := put("k", 2); e.Seq = p.Newest().Seq - 1; r.promise(e) },
	} {
		p = one()
		newer()
		if r.Resolve(p) || r.Note(p) {
			t.Errorf("%s: resolved though newer came", name)
		}
	}
	p = one()
	p.Tries = 3
	if !r.Note(p) || !r.Resolve(p) || r.Resolve(p) || r.Note(p) {
		t.Error("not resolved once")
	}
	r.wantAlways("")

	// As it comes over the network.
	r.promise(untold(put("k", 2)))
	p = one()
	byHand := task.Task{Bucket: p.Bucket, Key: p.Key, Rivals: p.Rivals}
	r.promise(put("x", 1))
	r.promise(with(put("k", 4), ""))
	if r.Resolve(&byHand) {
		t.Error("resolved though more is owed")
	}
	p = &r.all()[0]
	byHand = task.Task{Bucket: p.Bucket, Key: p.Key, Writes: p.Writes, Rivals: p.Rivals, Version: p.Version}
	r.promise(with(put("k", 2), ""))
	if r.Resolve(&byHand) {
		t.Error("resolved though a difference was found since")
	}
	byHand = r.all()[0]
	byHand.Version = 0
	if !r.Resolve(&byHand) {
		t.Error("not resolved by hand")
	}
	r.wantAlways("PUT x 1")
	r.quiet()
}

func TestGoneBackends(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Backends: []string{"a:1", "b:2", "c:3"}})
	r.promise(put("ab", 3))
	r.promise(put("b", 2))
	r.promise(put("c", 4))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.o.Backends = []string{"new:9", "c:3", "a:1"}
	r.open()
	for range 2 {
		r.want("PUT ab 100, PUT c 10")
		if s := r.Stats(); s.Pending != 2 || s.Gone != 2 || !slices.Equal(s.ByBackend, []int{0, 1, 1}) {
			t.Fatalf("%+v", s)
		}
		if !slices.Equal(r.Gone(), []string{"b:2"}) {
			t.Fatal(r.Gone())
		}
		r.restart()
	}
	r.promise(put("ab", 4)) // a newer write takes nothing to the backend that is gone
	if s := r.Stats(); s.Gone != 2 {
		t.Fatalf("%+v", s)
	}
	for _, p := range r.all() {
		if !r.Resolve(&p) {
			t.Fatal("not resolved")
		}
	}
	r.wantAlways("")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.o.Backends = []string{"b:2"}
	r.open()
	r.wantAlways("PUT ab 1, PUT b 1")
	if len(r.Gone()) != 0 {
		t.Fatal(r.Gone())
	}
	r.quiet()
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{}, {Backends: make([]string, 65)}, {Backends: []string{"a", "a"}},
		{Backends: []string{"a"}, SegmentSize: 1 << 31}, {Backends: []string{"a"}, SyncEvery: -1}, {Backends: []string{"a"}, WatchEvery: -1},
	} {
		o.Dir = t.TempDir()
		if j, err := Open(o); err == nil {
			j.Close()
			t.Errorf("%+v: opened", o)
		}
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	e := put("k", 1)
	e.Target = make([]byte, maxPayload)
	if err := r.Promise([]Entry{put("x", 1), e}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	r.wantAlways("")
	e.Target = make([]byte, maxEntry-maxOverhead-maxReason-100)
	e.Reason = make([]byte, 1<<20) // cut
	seq := r.promise(opened(e))
	r.settle(seq, 1, bytes.Repeat([]byte("x"), 1<<20))
	r.wantAlways("PUT k 1")
	if p := one(&r.all()[0]); len(p.Reason) != maxReason || len(p.Target) != len(e.Target) {
		t.Fatal(len(p.Reason), len(p.Target))
	}
	r.quiet()
}

func TestStampAscends(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	e := put("k", 1)
	e.Seq = uint64(time.Now().Add(time.Hour).UnixNano()) // a clock that was wrong
	r.promise(e)
	if s := r.Stamp(time.Now()); s <= e.Seq {
		t.Fatalf("stamp %d after %d", s, e.Seq)
	}
	r.restart()
	if s := r.Stamp(time.Now()); s <= e.Seq {
		t.Fatalf("stamp %d after %d", s, e.Seq)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.promise(put("k", 1))
	p := r.all()[0]
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Promise([]Entry{put("k", 1)}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := r.Flush(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := r.Close(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if r.Resolve(&p) || r.Note(&p) || len(r.all()) != 0 {
		t.Error("a closed journal resolves")
	}
	r.settle(1, 1, nil)
}

func TestRealFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/made/here"
	o := Options{Dir: dir, Backends: []string{"a"}, OnError: func(err error) { t.Error(err) }}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second journal: %v", err)
	}
	if err := j.Promise([]Entry{put("k", 1)}); err != nil {
		t.Fatal(err)
	}
	n := 0
	count := func(p *task.Task, backends []string) bool {
		n++
		return p.Key == "k" && fmt.Sprint(p.Owed()) == "[a]" && slices.Equal(backends, []string{"a"})
	}
	if s, err := Read(dir, count); err != nil || s.Pending != 1 || n != 1 {
		t.Errorf("beside it: %+v, %v, %d", s, err, n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	o.Power = true
	if j, err = Open(o); err != nil {
		t.Fatal(err)
	}
	if err := j.Promise([]Entry{put("l", 1)}); err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); s.Pending != 2 || s.Syncs == 0 {
		t.Errorf("%+v", s)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
