package repair

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNextConcurrency(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name       string
		g          reading
		want       int
		wantRising bool
	}{
		{"it doubles at first", reading{limit: 8, peak: 8, rising: true, answer: 31 * ms, floor: 30 * ms, rate: 1}, 16, true},
		{"while that brings more", reading{limit: 16, peak: 16, rising: true, answer: 31 * ms, floor: 30 * ms, rate: 1.3, raised: 1}, 32, true},
		{"and no longer", reading{limit: 16, peak: 16, rising: true, answer: 31 * ms, floor: 30 * ms, rate: 1, raised: 1}, 16, false},
		{"where a queue begins it is enough", reading{limit: 16, peak: 16, rising: true, answer: 46 * ms, floor: 30 * ms, rate: 2, raised: 1}, 16, false},
		{"up to the most", reading{limit: 100, peak: 100, rising: true, answer: 31 * ms, floor: 30 * ms}, 128, true},
		{"then it grows by an eighth", reading{limit: 32, peak: 32, answer: 50 * ms, floor: 30 * ms}, 37, false},
		{"while that brings more, too", reading{limit: 32, peak: 32, answer: 50 * ms, floor: 30 * ms, rate: 1.1, raised: 1, ago: 1}, 37, false},
		{"and no longer, either", reading{limit: 32, peak: 32, answer: 50 * ms, floor: 30 * ms, rate: 1, raised: 1, ago: 1}, 32, false},
		{"which is not known where nothing waits", reading{limit: 32, peak: 32, answer: 31 * ms, floor: 30 * ms, rate: 1, raised: 1, ago: 1}, 37, false},
		{"but for another try", reading{limit: 32, peak: 32, answer: 50 * ms, floor: 30 * ms, rate: 1, raised: 1, ago: 8}, 37, false},
		{"from one, too", reading{limit: 1, peak: 1, answer: 30 * ms, floor: 30 * ms}, 2, false},
		{"what is not used does not grow", reading{limit: 32, peak: 20, rising: true, answer: 31 * ms, floor: 30 * ms}, 32, true},
		{"a queue shrinks it to what was carried", reading{limit: 64, peak: 64, rising: true, answer: 90 * ms, floor: 30 * ms}, 42, false},
		{"by half at most", reading{limit: 64, peak: 64, answer: 900 * ms, floor: 30 * ms}, 32, false},
		{"what was used counts", reading{limit: 64, peak: 16, answer: 90 * ms, floor: 30 * ms}, 10, false},
		{"never below a few", reading{limit: 5, peak: 5, answer: 900 * ms, floor: 30 * ms}, 4, false},
		{"a near one may take a little longer", reading{limit: 8, peak: 8, answer: 3 * ms, floor: ms / 10}, 10, false},
		{"but not much", reading{limit: 32, peak: 32, answer: 62 * ms / 10, floor: ms / 10}, 16, false},
	} {
		c.g.most = MostConcurrency
		if got, rising := nextConcurrency(c.g); got != c.want || rising != c.wantRising {
			t.Errorf("%s: got %d, %v, want %d, %v", c.name, got, rising, c.want, c.wantRising)
		}
	}
}

// farWorld has n objects of a size at the first backend, which all others lack.
func farWorld(t *testing.T, n, size int, wires ...*wire) *world {
	t.Helper()
	w := newWired(t, wires...)
	w.o.Concurrency = 0
	body := strings.Repeat("x", size)
	var owed []int
	for i := range wires[1:] {
		owed = append(owed, i+1)
	}
	for i := range n {
		key := fmt.Sprint("k", i)
		w.wrote(key, w.stores[0].put("b", key, body, time.Minute).etag, owed...)
	}
	return w
}

// TestConcurrencyFollowsTheRoundTrip: over a long way as many keys are worked on as it takes, by themselves.
func TestConcurrencyFollowsTheRoundTrip(t *testing.T) {
	t.Parallel()
	for _, trip := range []time.Duration{30 * time.Millisecond, 80 * time.Millisecond} {
		t.Run(trip.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				near, far := &wire{}, &wire{trip: trip, rate: 12.5e6}
				w := farWorld(t, 1000, 1<<10, near, far)
				begun := time.Now()
				w.mustResolve()
				took := time.Since(begun)
				// Four at a time, as it used to be, take 750 round trips.
				if far.peak < 64 || far.peak > MostConcurrency || took > 60*trip {
					t.Errorf("up to %d requests at once, and %s", far.peak, took)
				}
			})
		})
	}
}

// TestConcurrencyFillsTheLinkOnly: where the rate is what takes the time, more keys at once would only make a queue,
// in which clients would have to wait.
func TestConcurrencyFillsTheLinkOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ n, size, most int }{{50, 1 << 20, 24}, {400, 64 << 10, 64}} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				near, far := &wire{}, &wire{trip: 30 * time.Millisecond, rate: 12.5e6}
				w := farWorld(t, c.n, c.size, near, far)
				begun := time.Now()
				w.mustResolve()
				took := time.Since(begun)
				// It takes a moment to find out.
				if least := time.Duration(float64(c.n*c.size) / 12.5e6 * float64(time.Second)); took > least*11/10+200*time.Millisecond {
					t.Errorf("it took %s, and the bytes %s", took, least)
				}
				if far.peak > c.most {
					t.Errorf("up to %d requests at once", far.peak)
				}
			})
		})
	}
}

// TestConcurrencySparesASlowStorage: one that does four things at a time is not given a hundred.
func TestConcurrencySparesASlowStorage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, slow := &wire{}, &wire{work: 10 * time.Millisecond, hands: make(chan struct{}, 4)}
		w := farWorld(t, 400, 1<<10, near, slow)
		w.mustResolve()
		if slow.peak > 24 {
			t.Errorf("up to %d requests at once", slow.peak)
		}
	})
}

// TestConcurrencyOfANumber: what the configuration says counts.
func TestConcurrencyOfANumber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := &wire{}, &wire{trip: 30 * time.Millisecond}
		w := farWorld(t, 100, 1<<10, near, far)
		w.o.Concurrency = 3
		w.mustResolve()
		if far.peak != 3 {
			t.Errorf("up to %d requests at once instead of 3", far.peak)
		}
	})
}

// TestRepairStaysBehindClients: while clients need all the room at a backend, one key at a time is worked on
// there, and not none; afterwards as many as before. That goes for whom it is read from, too.
func TestRepairStaysBehindClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		pressed int
	}{{"the one that lacks it", 1}, {"the one that has it", 0}} {
		for _, concurrency := range []int{0, 8} {
			t.Run(fmt.Sprint(c.name, ", concurrency ", concurrency), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					near, far := &wire{}, &wire{trip: 30 * time.Millisecond}
					w := farWorld(t, 1000, 1<<10, near, far)
					var pressed atomic.Bool
					pressed.Store(true)
					w.o.Concurrency = concurrency
					w.o.Pressed = func(name string) bool { return pressed.Load() && name == w.o.Backends[c.pressed].Name }
					r := w.repairer()
					r.Start()
					defer r.Close()
					time.Sleep(10 * time.Second) // in the bubble
					far.mu.Lock()
					peak := far.peak
					far.mu.Unlock()
					behind := r.Status().Resolved
					if peak != 1 || behind < 50 {
						t.Errorf("up to %d requests at once, and %d keys, while clients needed the room", peak, behind)
					}
					pressed.Store(false)
					time.Sleep(15 * time.Second) // in the bubble
					far.mu.Lock()
					defer far.mu.Unlock()
					if left := w.q.left(); far.peak < 8 || len(left) > 0 {
						t.Errorf("up to %d requests at once, and %d keys left, when clients needed it no more", far.peak, len(left))
					}
				})
			})
		}
	}
}

// TestWantedKeysDoNotWaitForRoom: a client waits for these.
func TestWantedKeysDoNotWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := &wire{}, &wire{trip: time.Second}
		w := farWorld(t, 20, 1<<10, near, far)
		w.o.Pressed = func(string) bool { return true }
		r := w.repairer()
		r.Start()
		defer r.Close()
		time.Sleep(500 * time.Millisecond) // in the bubble
		r.Prefer("b", "k15")
		time.Sleep(4 * time.Second) // in the bubble
		left := w.q.left()
		if len(left) < 15 || slices.ContainsFunc(left, func(f flat) bool { return f.Key == "k15" }) {
			t.Errorf("%d are left: %v", len(left), left)
		}
	})
}

// TestSlowBackendHoldsUpNoOther: keys that another backend lacks do not wait behind those of a slow one.
func TestSlowBackendHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWired(t, &wire{}, &wire{trip: time.Second}, &wire{})
		w.o.Concurrency = 0
		for i := range 600 {
			key, owed := fmt.Sprint("slow", i), 1
			if i >= 500 {
				key, owed = fmt.Sprint("fast", i), 2
			}
			etag := w.stores[0].put("b", key, "x", time.Minute).etag
			w.stores[3-owed].put("b", key, "x", time.Minute)
			w.wrote(key, etag, owed)
		}
		w.o.Pressed = func(name string) bool { return name == w.o.Backends[1].Name } // one key at a time
		r := w.repairer()
		r.Start()
		defer r.Close()
		time.Sleep(time.Minute) // in the bubble
		left := w.q.left()
		if slices.ContainsFunc(left, func(f flat) bool { return strings.HasPrefix(f.Key, "fast") }) || len(left) < 100 {
			t.Errorf("%d keys are left", len(left))
		}
	})
}

// TestLongerWayIsNoQueue: where answers take longer for reasons that are not repair's, a gate does not stay small.
func TestLongerWayIsNoQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		far := &wire{trip: 20 * time.Millisecond}
		w := farWorld(t, 3000, 1<<10, &wire{}, far)
		r := w.repairer()
		r.Start()
		defer r.Close()
		time.Sleep(500 * time.Millisecond) // in the bubble
		far.mu.Lock()
		far.trip = 150 * time.Millisecond
		far.mu.Unlock()
		before := len(w.q.left())
		time.Sleep(15 * time.Second) // in the bubble
		// Four at a time would be 130 of them.
		if done := before - len(w.q.left()); done < 2000 {
			t.Errorf("%d were repaired of %d", done, before)
		}
	})
}

// TestKeysBesideAreLookedAtALittleAtATime: a journal full of keys of the slow backend is not read over and over.
func TestKeysBesideAreLookedAtALittleAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const keys, seconds = 3000, 20
		w := newWired(t, &wire{}, &wire{trip: time.Second}, &wire{})
		w.o.Concurrency = 0
		for i := range keys {
			w.wrote(fmt.Sprint("slow", i), w.stores[0].put("b", fmt.Sprint("slow", i), "x", time.Minute).etag, 1)
		}
		w.o.Pressed = func(name string) bool { return name == w.o.Backends[1].Name } // one key at a time
		q := &lookQueue{queue: w.q}
		w.o.Journal = q
		r := w.repairer()
		r.Start()
		defer r.Close()
		time.Sleep(seconds * time.Second) // in the bubble
		if looks, most := q.looks.Load(), int64(seconds*besideSteps*int(time.Second/pressedAgain)); looks < keys || looks > most*11/10 {
			t.Errorf("%d tasks were looked at, want %d at most", looks, most)
		}
	})
}

// TestGateCountsWhatIsDone: places that are given back, since there is none at another gate, are no work.
func TestGateCountsWhatIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	r := w.repairer()
	both := w.wrote("k", w.stores[0].put("b", "k", "x", time.Minute).etag, 1, 2)
	owed := both.task(w.q.names...)
	if !r.backends[2].gate.enter(false, false) || !r.take(&owed) || r.enter(&owed, false) {
		t.Fatal("there is room at the gate of a backend that has none")
	}
	r.putBack(&owed)
	if g := &r.backends[1].gate; g.keys != 0 || g.busy != 0 || len(r.freed) != 0 {
		t.Errorf("%d keys are done, %d are worked on, %d are told of room", g.keys, g.busy, len(r.freed))
	}
}

// R30: nor does the one that is the next for whom there is room.
func TestR30WantedKeyAtTheGateDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := farWorld(t, 20, 1<<10, &wire{}, &wire{trip: time.Second})
		w.o.Pressed = func(string) bool { return true }
		r := w.repairer()
		r.Start()
		defer r.Close()
		time.Sleep(500 * time.Millisecond) // k0 takes three seconds
		r.Prefer("b", "k1")
		time.Sleep(4 * time.Second) // in the bubble
		if left := w.q.left(); slices.ContainsFunc(left, func(f flat) bool { return f.Key == "k1" }) {
			t.Errorf("it is not repaired yet: %d are left", len(left))
		}
	})
}
