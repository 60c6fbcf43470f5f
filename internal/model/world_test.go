package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/s3mem"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// world is two storages, a proxy in front of them, and what its clients know.
type world struct {
	t       *testing.T
	dir     string
	lives   int
	stores  []*s3mem.Storage
	manners []s3mem.Manners
	copies  []s3mem.Copy
	proxy   atomic.Pointer[proxy]
	truth   *truth
	clients sync.WaitGroup
	repairs bool
	shaken  bool // something was done past the proxy

	mu     sync.Mutex
	random *rand.Rand
}

// shm is where files cost no disk, "" where there is no such place.
var shm = func() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}()

// newWorld is a world that has yet to start; the seed is that of what happens by chance in it.
func newWorld(t *testing.T, dir string, seed uint64) *world {
	return &world{
		t: t, dir: dir, truth: newTruth(), random: rand.New(rand.NewPCG(seed, 1)),
		manners: make([]s3mem.Manners, len(names)),
	}
}

// play runs a history in a bubble of its own, and gives what is wrong at its end.
func play(t *testing.T, history []string, seed uint64) (wrong []found) {
	t.Helper()
	dir, err := os.MkdirTemp(shm, "model")
	testkit.MustDo(t, err)
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, seed)
		w.repairs = history[0] != "without repair"
		for len(history) > 0 && (strings.HasPrefix(history[0], "manners ") || history[0] == "without repair") {
			w.manner(strings.Fields(history[0]))
			history = history[1:]
		}
		w.start()
		for _, step := range history {
			w.step(strings.Fields(step))
		}
		wrong = w.rest()
		w.proxy.Load().close()
		if len(wrong) > 0 && testing.Verbose() {
			t.Logf("deeds:\n%s", w.truth)
		}
	})
	return wrong
}

func (w *world) manner(f []string) {
	if f[0] != "manners" {
		return
	}
	m := &w.manners[place(f[1])]
	for _, what := range f[2:] {
		switch what {
		case "lossy":
			m.Lossy = true
		case "folders":
			m.Folders = true
		case "folds":
			m.Folds = true
		case "guesses":
			m.Guesses = true
		case "ahead":
			m.Clock = time.Hour
		case "dated":
			m.Date = -time.Hour
		case "behind":
			m.Clock = -26 * time.Hour
		case "unconditional":
			m.IgnoresConditions = true
		case "etags":
			m.OwnETags = true
		default:
			panic("no such manner: " + what)
		}
	}
}

func (w *world) start() {
	for i, name := range names {
		s := s3mem.New(name, w.manners[i])
		s.Delay = w.delays
		s.MakeBucket("b", false, false)
		s.MakeBucket("v", true, false)
		s.MakeBucket("l", true, true)
		w.stores = append(w.stores, s)
		w.copies = append(w.copies, s.Save())
	}
	for _, m := range w.manners {
		w.shaken = w.shaken || odd(m) // only verify can tell
	}
	w.truth.stores, w.truth.manners = w.stores, w.manners
	w.startProxy(newMemFS())
}

func (w *world) startProxy(files *memFS) {
	sloppy := w.manners[0].OwnETags || w.manners[1].OwnETags
	p, err := startProxy(files, w.life(), w.stores, sloppy, w.repairs)
	if err != nil {
		w.t.Fatalf("cannot start the proxy: %v", err)
	}
	w.proxy.Store(p)
}

// life is the directory of the proxy's present life.
func (w *world) life() string { return filepath.Join(w.dir, strconv.Itoa(w.lives)) }

func (w *world) delays() (there, back time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.random.Int64N(int64(20 * time.Millisecond))), time.Duration(w.random.Int64N(int64(5 * time.Millisecond)))
}

func place(store string) int { return int(store[0] - 'A') }

// step does one step of a history; see history_test.go.
func (w *world) step(f []string) {
	if f[0] == "&" { // a client of its own
		w.clients.Go(func() { w.client(f[1:]) })
		time.Sleep(time.Millisecond) // in the bubble: it begins before the next step
		return
	}
	switch f[0] {
	case "wait":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			panic(err)
		}
		time.Sleep(d) // in the bubble
	case "down", "freeze", "up":
		w.stores[place(f[1])].Set(map[string]s3mem.State{"down": s3mem.Down, "freeze": s3mem.Frozen, "up": s3mem.Well}[f[0]])
		w.truth.thawed()
	case "refuse":
		status, _ := strconv.Atoi(f[2])
		w.stores[place(f[1])].Refuse(status)
	case "save":
		w.copies[place(f[1])] = w.stores[place(f[1])].Save()
	case "restore":
		w.disturb(place(f[1]), "", func(s *s3mem.Storage) { s.Restore(w.copies[place(f[1])]) })
	case "wipe":
		w.disturb(place(f[1]), "", func(s *s3mem.Storage) { s.Restore(nil) })
	case "rot":
		bucket, key, _ := strings.Cut(f[2], "/")
		w.disturb(place(f[1]), f[2], func(s *s3mem.Storage) { s.Rot(bucket, key) })
	case "verify":
		w.verify()
	case "kill":
		synctest.Wait()
		w.lives++
		files, err := w.proxy.Load().end(w.life())
		if err != nil {
			w.t.Fatalf("cannot kill the proxy: %v", err)
		}
		time.Sleep(100 * time.Millisecond) // in the bubble: the old one is gone for a moment
		w.startProxy(files)
	case "clear", "remove":
		w.clients.Wait() // they write in it
		w.client(f)
	default:
		w.client(f)
	}
}

func (w *world) disturb(at int, only string, do func(s *s3mem.Storage)) {
	w.shaken = true
	removing := func(bucket string) uint64 {
		old, underWay := w.proxy.Load().journal.Removing([]byte(bucket))
		return old | underWay
	}
	w.truth.disturb(w.stores[at], only, w.owed(), removing, do)
}

// rest looks whether the journal knows what backends lack, heals everything, lets repair
// come to its end, and compares.
func (w *world) rest() []found {
	w.clients.Wait()
	time.Sleep(time.Minute) // legs of answered writes end
	for range 60 {          // unless they wait for one another at a backend that hangs
		if synctest.Wait(); w.proxy.Load().journal.Stats().Open == 0 {
			break
		}
		time.Sleep(legTimeout)
	}
	if wrong := w.truth.unowed(w.owed()); len(wrong) > 0 || !w.repairs {
		return wrong
	}
	for _, s := range w.stores {
		s.Refuse(0)
		s.Set(s3mem.Well)
		w.truth.thawed()
	}
	left := w.settle()
	for range 2 { // the first time it may be a bucket that lacks
		if w.shaken {
			w.verify()
			left = w.settle()
		}
	}
	synctest.Wait()
	parked := w.parked()
	wrong := w.truth.check(parked)
	for _, t := range left {
		if w.truth.staysOld(t.Bucket, parked) {
			continue
		}
		wrong = append(wrong, found{name(t.Bucket, t.Key), "is still pending: " + t.LastError + fmt.Sprintf(" %+v", t)})
	}
	return wrong
}

type pending = task.Task

// settle waits until nothing is pending that is not parked, and gives what is all the same.
func (w *world) settle() (left []pending) {
	for range 120 {
		w.proxy.Load().repair.Kick()
		time.Sleep(time.Minute) // in the bubble
		if left = w.pending(false); len(left) == 0 {
			return nil
		}
	}
	return left
}

func (w *world) pending(isParked bool) (tasks []pending) {
	j := w.proxy.Load().named()
	for cursor := uint64(0); ; {
		t, next, ok, err := j.Next(cursor)
		if err != nil || !ok {
			return tasks
		}
		if (t.Parked != "") == isParked {
			tasks = append(tasks, t)
		}
		cursor = next
	}
}

// owed is what the journal has, by key.
func (w *world) owed() map[string]*pending {
	owed := map[string]*pending{}
	for _, t := range append(w.pending(false), w.pending(true)...) {
		owed[name(t.Bucket, t.Key)] = &t
	}
	return owed
}

func (w *world) parked() map[string]string {
	reasons := map[string]string{}
	for _, t := range w.pending(true) {
		reasons[name(t.Bucket, t.Key)] = string(t.Parked)
		if testing.Verbose() {
			w.t.Logf("%s/%s is parked: %s: %s", t.Bucket, t.Key, t.Parked, t.LastError)
			for e := range t.All() {
				w.t.Logf("  it knows %+v", *e)
			}
		}
	}
	return reasons
}

// verify finds what no journal knows.
func (w *world) verify() {
	w.shaken = true
	for _, bucket := range []string{"b", "v", "l", "m"} {
		_, err := repair.Verify(context.Background(), repair.VerifyOptions{
			Backends: w.proxy.Load().backends(), Bucket: bucket, Deep: true, Journal: w.proxy.Load().named(),
			IgnoreETags: w.proxy.Load().sloppy,
		})
		if err != nil && testing.Verbose() { // a storage is out, or there is no such bucket
			w.t.Logf("verify of %q: %v", bucket, err)
		}
	}
}
