package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// diskRig is a journal on a real file system, in a directory below DataDir, which is
// reached through a symbolic link.
type diskRig struct {
	*rig
	link, data string // DataDir, through the link and where it is
	revived    int
}

func newDiskRig(t *testing.T, o Options) *diskRig {
	t.Helper()
	top := t.TempDir()
	r := &diskRig{rig: &rig{t: t, o: o}, link: filepath.Join(top, "link"), data: filepath.Join(top, "data")}
	testkit.MustDo(t, errors.Join(os.Mkdir(r.data, 0o700), os.Symlink(r.data, r.link)))
	r.o.Dir, r.o.Backends, r.o.manual = filepath.Join(r.link, "journal"), []string{"a:1", "b:2", "c:3"}, true
	r.o.OnError = func(err error) { r.errs = append(r.errs, err.Error()) }
	r.o.OnRevive = func() { r.revived++ }
	if r.o.FS == nil {
		r.o.FS = osFS{}
	}
	r.open()
	return r
}

func (r *diskRig) open() {
	r.t.Helper()
	var err error
	if r.Journal, err = Open(r.o); err != nil {
		r.t.Fatal(err)
	}
	j := r.Journal
	r.t.Cleanup(func() { _ = j.Close() })
}

// again is what the next process finds.
func (r *diskRig) again() {
	r.t.Helper()
	_ = r.Close()
	r.errs = nil
	r.open()
}

// file is one of those in the journal's directory, where they are now.
func (r *diskRig) file(pattern string) string {
	r.t.Helper()
	names, err := filepath.Glob(filepath.Join(r.data, "journal", pattern))
	if err != nil || len(names) == 0 {
		r.t.Fatalf("no %s: %v", pattern, err)
	}
	return names[len(names)-1]
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	testkit.MustDo(t, errors.Join(errs...))
}

// openedFile is a file that the journal is told to guard.
type openedFile struct{ *os.File }

func (f openedFile) Identity() (Identity, error) { return osFile(f).Identity() }

// copyFile gives name another inode with what stands in it.
func copyFile(name string) error {
	p, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(name+".copy", p, 0o600), os.Rename(name+".copy", name))
}

// away are the ways in which a journal can be gone for the next process while this one
// has it open, each with a way back, if there is one.
var away = []struct {
	name string
	do   func(r *diskRig) error
	back func(r *diskRig) error
	want string
}{
	{"deleted", func(r *diskRig) error { return os.RemoveAll(r.data) }, nil, `directory "%s/link/journal" is not there any more`},
	{"journal deleted", func(r *diskRig) error { return os.RemoveAll(r.data + "/journal") }, nil, `directory "%s/link/journal" is not there any more`},
	{
		"renamed", func(r *diskRig) error { return os.Rename(r.data, r.data+"2") },
		func(r *diskRig) error { return os.Rename(r.data+"2", r.data) }, `directory "%s/link/journal" is not there any more`,
	},
	{
		"journal renamed", func(r *diskRig) error { return os.Rename(r.data+"/journal", r.data+"/old") },
		func(r *diskRig) error { return os.Rename(r.data+"/old", r.data+"/journal") }, `directory "%s/link/journal" is not there any more`,
	},
	{
		"made anew", func(r *diskRig) error {
			return errors.Join(os.RemoveAll(r.data), os.MkdirAll(r.data+"/journal", 0o700))
		}, nil,
		`directory "%s/link/journal" is not the one any more that is written to`,
	},
	{
		"replaced by its copy", func(r *diskRig) error {
			return errors.Join(os.Rename(r.data, r.data+"2"), os.CopyFS(r.data, os.DirFS(r.data+"2")))
		}, nil, `directory "%s/link/journal" is not the one any more that is written to`,
	},
	{
		"link leads elsewhere", func(r *diskRig) error {
			return errors.Join(os.CopyFS(r.data+"2", os.DirFS(r.data)), os.Remove(r.link), os.Symlink(r.data+"2", r.link))
		},
		func(r *diskRig) error { return errors.Join(os.Remove(r.link), os.Symlink(r.data, r.link)) },
		`directory "%s/link/journal" is not the one any more that is written to`,
	},
	{
		"behind a link", func(r *diskRig) error { // which the next one does not follow
			return errors.Join(os.Rename(r.data+"/journal", r.data+"/old"), os.Symlink(r.data+"/old", r.data+"/journal"))
		},
		func(r *diskRig) error {
			return errors.Join(os.Remove(r.data+"/journal"), os.Rename(r.data+"/old", r.data+"/journal"))
		}, `directory "%s/link/journal" is not the one any more that is written to`,
	},
	{
		"a file in its place", func(r *diskRig) error {
			return errors.Join(os.Rename(r.data, r.data+"2"), os.WriteFile(r.data, nil, 0o600))
		},
		func(r *diskRig) error { return errors.Join(os.Remove(r.data), os.Rename(r.data+"2", r.data)) },
		`directory "%s/link/journal" is not there any more`,
	},
	{"lock deleted", func(r *diskRig) error { return os.Remove(r.file("lock")) }, nil, `lock file "%s/link/journal/lock" is not there any more`},
	{"lock replaced", func(r *diskRig) error { return copyFile(r.file("lock")) }, nil, `lock file "%s/link/journal/lock" is not the one any more that is written to`},
	{"all files deleted", func(r *diskRig) error {
		names, err := filepath.Glob(r.data + "/journal/*")
		for _, name := range names {
			err = errors.Join(err, os.Remove(name))
		}
		return err
	}, nil, `lock file "%s/link/journal/lock" is not there any more`},
	{"another file deleted", func(r *diskRig) error { return os.Remove(r.file("other")) }, nil, `file "%s/link/journal/other" is not there any more`},
	{"another file replaced", func(r *diskRig) error { return copyFile(r.file("other")) }, nil, `file "%s/link/journal/other" is not the one any more that is written to`},
}

// When the paths of the journal do not lead to its files any more nothing is
// promised, and not even after they do again: another process may have been there.
func TestR23GoneIsFinal(t *testing.T) {
	t.Parallel()
	for _, c := range away {
		for _, policy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, continue %v", c.name, policy), func(t *testing.T) {
				r := newDiskRig(t, Options{Continue: policy})
				other, err := os.Create(filepath.Join(r.data, "journal", "other"))
				must(t, err)
				defer other.Close()
				r.guard("other", openedFile{other})
				r.promise(put("before", 1))
				out := r.promise(opened(put("out", 1)))
				r.look()
				if r.Failed() {
					t.Fatalf("failed for no reason: %q", r.errs)
				}

				must(t, c.do(r))
				for range 3 {
					r.look()
				}
				if !r.Failed() {
					t.Fatal("not noticed")
				}
				r.settle(out, 1, nil)
				entry := opened(put("after", 1))
				for what, err := range map[string]error{
					"Promise": r.Promise([]Entry{put("after", 1)}), "Intend": r.intend(&entry), "a touch": r.Promise([]Entry{put("before", 0)}),
				} {
					if policy && err != nil || !policy && (!errors.Is(err, ErrFailed) || !errors.Is(err, ErrGone)) {
						t.Errorf("%s: %v", what, err)
					}
				}
				if err := r.Flush(); !errors.Is(err, ErrGone) {
					t.Errorf("Flush: %v", err)
				}
				if c.back != nil {
					must(t, c.back(r))
				}
				for range 3 {
					r.tick()
					r.look()
				}
				want := "journal: failed: " + fmt.Sprintf(c.want, filepath.Dir(r.link))
				if len(r.errs) != 1 || r.errs[0] != want || r.revived > 0 || !r.Failed() {
					t.Fatalf("errors %q, want %q; revived %d", r.errs, want, r.revived)
				}
				if err := r.Close(); !errors.Is(err, ErrGone) {
					t.Errorf("Close: %v", err)
				}
				if c.back != nil {
					r.again()
					r.want("PUT before 1, PUT out 1") // what was promised is there
				}
			})
		}
	}
}

// A segment that is gone can be read as long as it is open: nothing in it is lost, nor
// does anything come back that it has ended.
func TestR20SegmentIsGone(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(name string) error{
		"deleted":  os.Remove,
		"renamed":  func(name string) error { return os.Rename(name, name+".old") },
		"replaced": copyFile,
		"emptied":  func(name string) error { return errors.Join(os.Remove(name), os.WriteFile(name, nil, 0o600)) },
	} {
		for _, which := range []string{"000000000[24]-*.seg", "0000000003-*.seg", "0000000004-*.seg", "*.seg"} {
			t.Run(name+" "+which, func(t *testing.T) {
				r := newDiskRig(t, Options{SegmentSize: 1}) // a segment a batch
				r.promise(put("first", 1))
				kept := r.file("*.seg")
				must(t, r.Promise([]Entry{put("second", 1), put("resolved", 2)}))
				r.Resolve(&r.all()[2])
				r.promise(put("third", 4))
				out := r.promise(opened(put("out", 1)))
				r.tick() // all is synced
				r.look()
				if r.Failed() {
					t.Fatalf("failed for no reason: %q", r.errs)
				}
				names, err := filepath.Glob(filepath.Join(r.data, "journal", which))
				must(t, err)
				if len(names) == 0 || kept == "" {
					t.Fatal("nothing to do")
				}
				for _, name := range names {
					must(t, do(name))
				}
				r.look()
				if err := r.Promise([]Entry{put("k", 1)}); !errors.Is(err, ErrFailed) || errors.Is(err, ErrGone) {
					t.Fatalf("promised: %v", err)
				}
				for range 3 {
					r.tick()
					r.look()
				}
				if r.Failed() || r.revived != 1 || len(r.errs) != 1 || !strings.Contains(r.errs[0], "is gone: what was in it is written anew") {
					t.Fatalf("failed %v, revived %d, errors %q", r.Failed(), r.revived, r.errs)
				}
				r.settle(out, 1, nil)
				r.promise(put("last", 1))
				r.want("PUT first 1, PUT second 1, PUT third 100, PUT out 1, PUT last 1")
				r.again()
				got := strings.Split(r.text(r.all()), ", ") // what was written anew may have another place
				slices.Sort(got)
				if want := []string{"PUT first 1", "PUT last 1", "PUT out 1", "PUT second 1", "PUT third 100"}; !slices.Equal(got, want) {
					t.Errorf("pending %q, want %q", got, want)
				}
				if len(r.errs) > 0 {
					t.Errorf("errors %q", r.errs)
				}
			})
		}
	}
}

// A checkpoint that is gone costs nobody anything but the next start its time.
func TestCheckpointIsGone(t *testing.T) {
	t.Parallel()
	r := newDiskRig(t, Options{scanBelow: 1})
	for i := range 10 {
		r.promise(put(fmt.Sprint("k", i), 1))
	}
	r.look()
	must(t, r.checkpoint())
	r.look()
	must(t, os.Remove(r.file(checkpointName)))
	for range 3 {
		r.look()
		r.tick()
	}
	if r.Failed() || len(r.errs) != 1 || !strings.Contains(r.errs[0], "the checkpoint is gone") {
		t.Fatalf("failed %v, errors %q", r.Failed(), r.errs)
	}
	r.file(checkpointName)
	r.again()
	must(t, os.Remove(r.file(checkpointName))) // one that was there before
	r.look()
	r.tick()
	r.file(checkpointName)
}

// A second is all that it takes, by the journal's own clock.
func TestR23GoneIsNoticedWithinASecond(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		var told []error
		j, err := Open(Options{Dir: dir, Backends: []string{"a:1"}, OnError: func(err error) { told = append(told, err) }})
		must(t, err)
		time.Sleep(time.Minute) // of the bubble's, as the next one
		synctest.Wait()
		if j.Failed() {
			t.Fatal("failed for no reason")
		}
		must(t, os.RemoveAll(dir))
		time.Sleep(time.Second) // of the bubble's
		synctest.Wait()
		if !j.Failed() || len(told) != 1 {
			t.Errorf("failed %v, told %q", j.Failed(), told)
		}
		if err := j.Close(); !errors.Is(err, ErrGone) { // or the bubble would not end
			t.Error(err)
		}
	})
}

// hiddenFS has times in which it cannot be told what is where.
type hiddenFS struct {
	FS
	hidden atomic.Bool
}

func (h *hiddenFS) Identify(name string) (Identity, error) {
	if h.hidden.Load() {
		return Identity{}, &fs.PathError{Op: "lstat", Path: name, Err: syscall.EIO}
	}
	return h.FS.Identify(name)
}

// Where nobody can tell whether it is gone nothing is promised, until somebody can.
func TestR23PerhapsGone(t *testing.T) {
	t.Parallel()
	h := &hiddenFS{FS: osFS{}}
	r := newDiskRig(t, Options{FS: h})
	r.promise(put("before", 1))
	h.hidden.Store(true)
	for range 3 {
		r.look()
		r.tick()
	}
	if err := r.Promise([]Entry{put("k", 1)}); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) || errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
	if len(r.errs) != 1 || r.revived > 0 {
		t.Fatalf("revived %d, errors %q", r.revived, r.errs)
	}
	h.hidden.Store(false)
	r.look()
	r.tick()
	if r.Failed() || r.revived != 1 {
		t.Fatalf("failed %v, revived %d, errors %q", r.Failed(), r.revived, r.errs)
	}
	r.promise(put("after", 1))
	r.again()
	r.want("PUT before 1, PUT after 1")
}

// lateFS has a disk that takes its time once it is asked to.
type lateFS struct {
	FS
	slow        atomic.Bool
	begun, goOn chan struct{}
}

type lateFile struct {
	File
	s *lateFS
}

func (s *lateFS) Create(name string) (File, error) {
	f, err := s.FS.Create(name)
	return lateFile{f, s}, err
}

func (f lateFile) WriteAt(p []byte, off int64) (int, error) {
	if f.s.slow.CompareAndSwap(true, false) {
		close(f.s.begun)
		<-f.s.goOn
	}
	return f.File.WriteAt(p, off)
}

// What is being written when it is found gone is not promised, nor is anything while
// the disk takes its time.
func TestR23GoneDuringAWrite(t *testing.T) {
	t.Parallel()
	s := &lateFS{FS: osFS{}, begun: make(chan struct{}), goOn: make(chan struct{})}
	r := newDiskRig(t, Options{FS: s})
	r.promise(put("before", 1))
	s.slow.Store(true)
	promised := make(chan error, 1)
	go func() { promised <- r.Promise([]Entry{put("k", 1)}) }()
	testkit.Receive(t, "its beginning", s.begun)
	must(t, os.RemoveAll(r.data))
	var looking sync.WaitGroup
	looking.Go(r.look)
	testkit.Eventually(t, "the journal has failed", r.Failed)
	entry := opened(put("x", 1))
	if err := r.intend(&entry); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	close(s.goOn)
	if err := testkit.Receive(t, "the promise", promised); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	looking.Wait()
}

// The journal makes and deletes files all the time; what it does itself is no reason.
func TestR23OwnDoingIsNotGone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "journal")
	var mu sync.Mutex
	var told []error
	j, err := Open(Options{
		Dir: dir, Backends: []string{"a:1"}, SegmentSize: 2000, SyncEvery: time.Millisecond, scanBelow: 1,
		OnError: func(err error) { mu.Lock(); told = append(told, err); mu.Unlock() },
	})
	must(t, err)
	stop := make(chan struct{})
	var looking sync.WaitGroup
	for range 2 {
		looking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					j.look()
				}
			}
		})
	}
	deleted := func() uint32 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.segs[0].num
	}
	for i := 0; deleted() < 50; i++ {
		must(t, j.Promise([]Entry{put(fmt.Sprint("k", i), 1)}))
		if p, _, ok := j.Next(0); ok && i%10 != 0 {
			j.Resolve(&p)
		}
	}
	close(stop)
	looking.Wait()
	must(t, j.Close())
	if len(told) > 0 {
		t.Errorf("told %q", told)
	}
}
