package journal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// slowFS is a file system on which what hold tells waits until it is released.
type slowFS struct {
	FS
	hold    atomic.Pointer[func(op string) bool]
	waiting chan string // an op that has come to wait
	release chan struct{}
}

func newSlowFS() *slowFS {
	return &slowFS{FS: newMemFS(), waiting: make(chan string, 100), release: make(chan struct{})}
}

// holds makes the first n calls of op wait; -1: all.
func (f *slowFS) holds(op string, n int64) {
	var left atomic.Int64
	left.Store(n)
	hold := func(o string) bool { return o == op && (n < 0 || left.Add(-1) >= 0) }
	f.hold.Store(&hold)
}

func (f *slowFS) begin(op string) {
	if hold := f.hold.Load(); hold != nil && (*hold)(op) {
		f.waiting <- op
		<-f.release
	}
}

func (f *slowFS) file(file File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &slowFile{file, f}, nil
}

func (f *slowFS) Create(name string) (File, error) {
	f.begin("create")
	return f.file(f.FS.Create(name))
}
func (f *slowFS) Open(name string) (File, error) { return f.file(f.FS.Open(name)) }
func (f *slowFS) Link(from, to string) error     { f.begin("link"); return f.FS.Link(from, to) }
func (f *slowFS) Remove(name string) error       { f.begin("remove"); return f.FS.Remove(name) }
func (f *slowFS) Rename(from, to string) error   { f.begin("rename"); return f.FS.Rename(from, to) }
func (f *slowFS) SyncDir(dir string) error       { f.begin("syncdir"); return f.FS.SyncDir(dir) }
func (f *slowFS) Lock(name string) (Held, error) {
	return f.FS.Lock(name)
}

type slowFile struct {
	File
	f *slowFS
}

func (s *slowFile) ReadAt(p []byte, off int64) (int, error) {
	s.f.begin("read")
	return s.File.ReadAt(p, off)
}

func (s *slowFile) WriteAt(p []byte, off int64) (int, error) {
	s.f.begin("write")
	return s.File.WriteAt(p, off)
}
func (s *slowFile) Sync() error  { s.f.begin("sync"); return s.File.Sync() }
func (s *slowFile) Close() error { s.f.begin("close"); return s.File.Close() }

// slowRig is a journal on such a file system, that keys "k" and "l" are pending in.
func slowRig(t *testing.T) (*rig, *slowFS) {
	t.Helper()
	f := newSlowFS()
	r := &rig{t: t}
	var err error
	r.Journal, err = Open(Options{Dir: "j", Backends: []string{"a:1", "b:2", "c:3"}, FS: f, manual: true, SegmentSize: 4 << 10})
	testkit.MustDo(t, err)
	r.promise(put("k", 0b10))
	r.promise(put("l", 0b10))
	testkit.MustDo(t, r.Flush()) // so they are on disk alone
	return r, f
}

func soon(do func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	return done
}

// What a client's answer waits for waits for no disk, whatever others have it read or
// written for.
func TestIntendWaitsForNoDisk(t *testing.T) {
	t.Parallel()
	settle := func(r *rig, key string, owed uint64) func() {
		seq := r.promise(opened(put(key, 0b110)))
		return func() { r.settle(seq, owed, []byte("why")) }
	}
	for _, tt := range []struct {
		name, op string
		prepare  func(r *rig) func() // the call that waits
	}{
		{"settled", "read", func(r *rig) func() { return settle(r, "k", 0b100) }},
		{"settled, and nothing owed", "read", func(r *rig) func() { return settle(r, "k", 0) }},
		{"promised", "read", func(r *rig) func() { return func() { r.promise(put("k", 0b1)) } }},
		{"touched", "read", func(r *rig) func() { return func() { r.promise(put("k", 0)) } }},
		{"many promised", "read", func(r *rig) func() {
			return func() { _ = r.Promise([]Entry{put("new", 1), put("l", 1), put("k", 0)}) }
		}},
		{"resolved", "read", func(r *rig) func() {
			p := r.all()[0]
			return func() { r.Resolve(&p) }
		}},
		{"noted", "read", func(r *rig) func() {
			p := r.all()[0]
			return func() { r.Note(&p) }
		}},
		{"given out", "read", func(r *rig) func() { return func() { r.Next(0) } }},
		{"written", "write", func(r *rig) func() { return func() { r.promise(put("new", 1)) } }},
		{"flushed", "write", func(r *rig) func() {
			r.mustIntend("x")
			return func() { _ = r.Flush() }
		}},
		{"synced", "sync", func(r *rig) func() {
			r.promise(put("new", 1))
			return func() { r.tick() }
		}},
		{"in a new segment", "create", func(r *rig) func() {
			for i := range 30 {
				r.promise(put(fmt.Sprint("filling", i), 1))
			}
			return func() {
				for i := range 30 {
					r.promise(put(fmt.Sprint("more", i), 1))
				}
			}
		}},
		{"cleaned", "remove", (*rig).wasteful},
		{"cleaned, and closed", "close", (*rig).wasteful},
		{"checkpointed", "rename", func(r *rig) func() { return func() { _ = r.checkpoint() } }},
		{"damage kept", "link", func(r *rig) func() {
			r.mu.Lock()
			r.segs[0].damaged = true
			r.mu.Unlock()
			return func() { r.keepDamaged() }
		}},
		{"damage kept durably", "syncdir", func(r *rig) func() {
			r.mu.Lock()
			r.segs[0].damaged = true
			r.mu.Unlock()
			return func() { r.keepDamaged() }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, f := slowRig(t)
			call := tt.prepare(r)
			f.holds(tt.op, -1)
			done := soon(call)
			select {
			case <-f.waiting:
			case <-done:
				t.Fatal("it has not waited")
			}
			testkit.Receive(t, "a client", soon(func() {
				for _, key := range []string{"m", "k", "l"} {
					r.Stamp(time.Now())
					seq := r.mustIntend(key)
					r.Stats()
					r.settleSoon(&Entry{Seq: seq})
				}
			}))
			f.hold.Store(nil)
			close(f.release)
			testkit.Receive(t, "the call", done)
			testkit.MustDo(t, r.Close())
		})
	}
}

func (r *rig) mustIntend(key string) uint64 {
	e := opened(put(key, 0b10))
	if err := r.intend(&e); err != nil {
		r.t.Error(err)
	}
	return e.Seq
}

// wasteful makes the journal one that has to be cleaned.
func (r *rig) wasteful() func() {
	for i := range 300 {
		r.promise(put(fmt.Sprint("gone", i), 1))
	}
	for _, p := range r.all() {
		r.Resolve(&p)
	}
	return func() { r.tick() }
}

// A key that has changed while its record was read is looked at again.
func TestReadAheadIsCheckedAgain(t *testing.T) {
	t.Parallel()
	r, f := slowRig(t)
	newer := put("k", 0b1)
	newer.Method = "DELETE"
	older := opened(put("k", 0b100))
	older.Seq, newer.Seq = r.Stamp(time.Now()), r.Stamp(time.Now()) // both began before one was answered
	seq := r.promise(older)
	f.holds("read", 1)
	settled := soon(func() { r.settle(seq, 0b100, []byte("late")) })
	testkit.Receive(t, "who waits", f.waiting)
	r.promise(newer)
	r.mustFlush()
	close(f.release)
	testkit.Receive(t, "the end", settled)
	r.want("DELETE k 101, PUT l 10")
	if p := r.all()[0]; len(p.Rivals) != 1 || p.Rivals[0].Reason != "late" {
		t.Errorf("%+v: the settlement was not merged", p)
	}
	testkit.MustDo(t, r.Close())
}

// Close waits for settlements that are being read for, and writes them down.
func TestCloseWaitsForSettlements(t *testing.T) {
	t.Parallel()
	r, f := slowRig(t)
	seq := r.promise(opened(put("k", 0b100)))
	f.holds("read", 1)
	r.settleSoon(&Entry{Seq: seq})
	testkit.Receive(t, "who waits", f.waiting)
	closed := soon(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	close(f.release)
	testkit.Receive(t, "Close", closed)
	r.fs, r.o = f.FS.(*memFS), Options{Dir: "j", Backends: []string{"a:1", "b:2", "c:3"}, manual: true}
	r.open()
	r.want("PUT k 10, PUT l 10")
	if p := r.all()[0]; len(p.Rivals) != 0 || p.Newest().Reason == "unknown outcome" {
		t.Errorf("after a restart: %+v", p)
	}
}

// Many writes of few keys, whose records are on disk more often than not, end as they
// would one by one.
func TestConcurrentMerges(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{SegmentSize: 8 << 10})
	var callers sync.WaitGroup
	var last [4]atomic.Uint64
	for c := range 8 {
		callers.Go(func() {
			for i := range 200 {
				key := (c + i) % len(last)
				e := put(fmt.Sprint("k", key), 1<<(c%3))
				var seq uint64
				switch i % 4 {
				case 0:
					seq = r.promise(e)
				case 1:
					seq = r.promise(opened(e))
					r.settle(seq, e.Owed, nil)
				case 2:
					seq = r.mustIntend(fmt.Sprint("k", key))
					r.settleSoon(&Entry{Seq: seq})
				case 3:
					if err := r.Flush(); err != nil {
						t.Error(err)
					}
					r.Next(0)
					continue
				}
				for now := last[key].Load(); now < seq && !last[key].CompareAndSwap(now, seq); now = last[key].Load() {
				}
			}
		})
	}
	callers.Wait()
	r.reopen() // it waits for the settlements
	all := r.all()
	if len(all) != len(last) {
		t.Fatalf("pending: %s", r.text(all))
	}
	for _, p := range all {
		if key := int(p.Key[1] - '0'); p.Newest().Seq != last[key].Load() || p.Newest().Unacknowledged {
			t.Errorf("%s: %+v, want %d", p.Key, p.Newest(), last[key].Load())
		}
	}
}

// settleSoon settles as Write does, for who must not wait for a disk.
func (r *rig) settleSoon(e *Entry) {
	if !r.trySettle(e) {
		r.settleLate([]*Entry{ownedBy(e)}, nil)
	}
}
