package journal

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// crowd are clients that write to keys of their own, and repairers, on a journal
// with its own goroutine.
type crowd struct {
	*Journal
	stop atomic.Bool
	wg   sync.WaitGroup
	mu   sync.Mutex
	sure map[string]Entry  // promised, and not settled or resolved
	done map[string]uint64 // the newest Seq of a key that was resolved
}

func (c *crowd) client(t *testing.T, n int, steps int) {
	chance := rand.New(rand.NewPCG(uint64(n), 1))
	for i := 0; i < steps && !c.stop.Load(); i++ {
		key := fmt.Sprintf("c%d-%d", n, chance.IntN(40))
		e := with(put(key, 1+chance.Uint64N(6)), []string{"PUT", "DELETE"}[i%2])
		e.Open = i%3 > 0
		if i%7 == 0 {
			e.Owed, e.Open = 0, false
		}
		es := [1]Entry{e}
		if err := c.Promise(es[:]); err != nil {
			if !errors.Is(err, ErrFailed) {
				t.Error(err)
			}
			return
		}
		e = es[0]
		c.mu.Lock()
		if old, ok := c.sure[key]; (ok || e.Owed != 0) && c.done[key] < e.Seq {
			e.Owed |= old.Owed
			c.sure[key] = e
		}
		c.mu.Unlock()
		if !e.Open {
			continue
		}
		if i%3 == 1 {
			c.mu.Lock() // not sure from now on: the settlement may be the last that is written
			delete(c.sure, key)
			c.mu.Unlock()
			c.settleOpen(&Entry{Seq: e.Seq, Owed: 0, Reason: nil})
			continue
		}
		c.settleOpen(&Entry{Seq: e.Seq, Owed: es[0].Owed, Reason: []byte("reason")})
	}
}

func (c *crowd) repairer(t *testing.T) {
	cursor := uint64(0)
	for !c.stop.Load() {
		p, next, ok := c.Next(cursor)
		cursor = next
		if !ok {
			cursor = 0
			time.Sleep(time.Millisecond) // not all the time: the clients are to get on
			continue
		}
		w := p.Newest()
		if len(p.Owed()) == 0 || len(p.Key) == 0 || w.Target != "/b/"+p.Key {
			t.Errorf("%+v", p)
		}
		if w.Seq%3 == 0 {
			p.Tries++
			c.Note(&p)
		}
		if w.Seq%3 != 1 {
			continue
		}
		c.mu.Lock() // so that sure and the journal agree
		if c.Resolve(&p) {
			c.done[string(p.Key)] = w.Seq
			if e, ok := c.sure[string(p.Key)]; ok && e.Seq <= w.Seq {
				delete(c.sure, string(p.Key))
			}
		}
		c.mu.Unlock()
	}
}

func (c *crowd) start(t *testing.T, steps int) {
	c.done = map[string]uint64{}
	for n := range 8 {
		c.wg.Go(func() { c.client(t, n, steps) })
	}
}

// helpers run until stop.
func (c *crowd) helpers(t *testing.T) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { c.repairer(t) })
	}
	wg.Go(func() {
		for !c.stop.Load() {
			c.Stats()
			c.Stamp(time.Now())
			if err := c.Flush(); err != nil && !errors.Is(err, ErrFailed) {
				t.Error(err)
			}
			time.Sleep(time.Millisecond) // now and then is enough
		}
	})
	return &wg
}

// lost are the keys that are to be there and are not.
func (c *crowd) lost(j *Journal) (lost []string) {
	have := map[string]task.Task{}
	for cursor := uint64(0); ; {
		p, next, ok := j.Next(cursor)
		if !ok {
			break
		}
		cursor, have[string(p.Key)] = next, p
	}
	for k, e := range c.sure {
		p, ok := have[k]
		if !ok || p.Newest().Seq < e.Seq || len(p.Owed()) == 0 {
			lost = append(lost, fmt.Sprintf("%s seq %d: %v %+v", k, e.Seq, ok, p))
		}
	}
	return lost
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	for _, power := range []bool{false, true} {
		t.Run(fmt.Sprint("power=", power), func(t *testing.T) {
			o := Options{
				Dir: t.TempDir(), Backends: []string{"a", "b", "c"}, Power: power, SegmentSize: 20000,
				SyncEvery: time.Millisecond, scanBelow: 1, OnError: func(err error) { t.Error(err) },
			}
			j, err := Open(o)
			testkit.MustDo(t, err)
			c := &crowd{Journal: j, sure: map[string]Entry{}}
			steps := 3000
			if power {
				steps = 300
			}
			c.start(t, steps)
			helpers := c.helpers(t)
			reads := 0
			done := make(chan struct{})
			go func() { c.wg.Wait(); close(done) }()
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				s, err := Read(o.Dir, func(p *task.Task, _ []string) bool { return len(p.Owed()) != 0 })
				if err != nil || s.Damaged > 0 {
					t.Errorf("%+v, %v", s, err)
				}
				reads++
			}
			c.stop.Store(true)
			helpers.Wait()
			if s := j.Stats(); s.Open != 0 || s.Damaged+s.Failures+s.Dropped > 0 {
				t.Errorf("%+v", s)
			}
			if lost := c.lost(j); len(lost) > 0 {
				t.Errorf("lost: %q", lost)
			}
			testkit.MustDo(t, j.Close())
			if j, err = Open(o); err != nil {
				t.Fatal(err)
			}
			if lost := c.lost(j); len(lost) > 0 {
				t.Errorf("lost after a start: %q", lost)
			}
			testkit.MustDo(t, j.Close())
			t.Logf("%d reads beside it", reads)
		})
	}
}

// A crash in the middle of everything, again and again.
func TestR20ConcurrentCrash(t *testing.T) {
	t.Parallel()
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for _, power := range []bool{false, true} {
		t.Run(fmt.Sprint("power=", power), func(t *testing.T) {
			files := newMemFS()
			sure := map[string]Entry{}
			chance := rand.New(rand.NewPCG(7, 7))
			for round := range rounds {
				o := Options{
					Dir: "j", Backends: []string{"a", "b", "c"}, Power: power, SegmentSize: 5000, FS: files,
					SyncEvery: 200 * time.Microsecond, scanBelow: int64(1 + round%2*1e9),
				}
				j, err := Open(o)
				testkit.MustDo(t, err)
				c := &crowd{Journal: j, sure: sure}
				c.start(t, 1e9)
				helpers := c.helpers(t)
				for writes := 50 + chance.Uint64N(600); j.Stats().Written < writes; {
					time.Sleep(100 * time.Microsecond) // polling: it dies somewhere near that write
				}
				old := files
				// What was sure before the crash is to be there after it; what is
				// resolved while it happens may be gone.
				c.mu.Lock()
				before := maps.Clone(c.sure)
				if power {
					files = old.powerCut(chance)
				} else {
					files = old.kill()
				}
				c.mu.Unlock()
				c.stop.Store(true)
				c.wg.Wait()
				helpers.Wait()
				_ = j.Close() // its disk is dead
				o.FS, o.manual = files.clone(), true
				after, err := Open(o)
				testkit.MustDo(t, err)
				if t.Failed() {
					return
				}
				c.sure = before
				if lost := c.lost(after); len(lost) > 0 {
					slices.Sort(lost)
					t.Fatalf("round %d: lost %d of %d: %q", round, len(lost), len(before), lost[:min(5, len(lost))])
				}
				sure = before
			}
		})
	}
}
