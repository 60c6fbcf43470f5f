package interop

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// awaitUp waits until the far store is in the pool, or is not, and returns how long that took.
func (f *farLoad) awaitUp(up bool) time.Duration {
	f.Helper()
	begun := time.Now()
	f.plain.await(f.T, fmt.Sprintf("the far store is in the pool: %v", up), func(s status) bool { return s.active() == up })
	return time.Since(begun)
}

// TestR13SilentCut: a link is cut without a word while there is one request a second. None takes longer than 4 s,
// the far store leaves the pool within 5 s, and is back within 2 s of the link, also where that has forgotten its
// connections. Afterwards both hold the same.
func TestR13SilentCut(t *testing.T) {
	for _, policy := range []string{"prefer", "all"} {
		for _, forgetful := range []bool{false, true} {
			if !full() && forgetful != (policy == "all") {
				continue
			}
			t.Run(fmt.Sprintf("%s, forgetful %v", policy, forgetful), func(t *testing.T) { silentCut(t, policy, forgetful) })
		}
	}
}

func silentCut(t *testing.T, policy string, forgetful bool) {
	f := newFarLoad(t, 1, "ReadPolicy: "+policy+"\n")
	small, large := content(1, 10*kib), content(2, 20*mib)
	var mu sync.Mutex
	var took times
	stop := make(chan struct{})
	var all sync.WaitGroup
	one := func(i int) {
		begun, status, want, what := time.Now(), 0, http.StatusOK, ""
		switch i % 4 {
		case 0, 2: // what both stores are asked for comes every second
			what, status = "PUT", f.request(f.plain, http.MethodPut, f.bucket, fmt.Sprintf("small %d", i), small)
			if status == want {
				what, status = "GET", f.request(f.plain, http.MethodGet, f.bucket, fmt.Sprintf("small %d", i), nil)
			}
		case 1:
			what, status, want = "HEAD", f.request(f.plain, http.MethodHead, f.bucket, fmt.Sprintf("missing %d", i), nil), http.StatusNotFound
		case 3:
			what, status = "PUT", f.request(f.plain, http.MethodPut, f.bucket, fmt.Sprintf("large %d", i), large)
			_ = f.request(f.plain, http.MethodPut, f.bucket, fmt.Sprintf("small %d", i), small)
		}
		if status != want {
			t.Errorf("request %d, %s: %d after %v", i, what, status, time.Since(begun))
		}
		d := time.Since(begun)
		if d > 4*time.Second {
			t.Errorf("request %d, %s, took %v, from %v on", i, what, d, begun.Format(time.StampMilli))
		}
		mu.Lock()
		took = append(took, d)
		mu.Unlock()
	}
	for i := range 4 {
		one(i)
	}
	all.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := 4; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				all.Go(func() { one(i) })
			}
		}
	})
	var demoted, back []time.Duration
	for range 3 {
		time.Sleep(2 * time.Second) // the link is whole for a while
		f.links[0].order(t, "cut")
		demoted = append(demoted, f.awaitUp(false))
		time.Sleep(time.Second)
		f.links[0].order(t, fmt.Sprintf("mend?forgetful=%v", forgetful))
		back = append(back, f.awaitUp(true))
	}
	close(stop)
	all.Wait()
	slices.Sort(took)
	f.caughtUp(patience)
	t.Logf("%v; demoted after %v, back after %v; diverged %v", took, demoted, back, f.metric("akubra_divergences_total"))
	if d := slices.Max(demoted); d > 5*time.Second {
		t.Errorf("it was demoted after %v", d)
	}
	// One that was out a moment ago stays out for longer each time (R13).
	if back[0] > 2*time.Second {
		t.Errorf("it was back after %v", back[0])
	}
}

// TestR13FlappingLink: a link comes and goes. No client sees that, and afterwards both hold the same.
func TestR13FlappingLink(t *testing.T) {
	length := 15 * time.Second
	if full() {
		length = 2 * time.Minute
	}
	f := newFarLoad(t, 1, "")
	var took [4]times
	var all sync.WaitGroup
	f.links[0].order(t, "flap?least=1s&most=3s")
	for i, size := range []int{kib, 64 * kib, mib, 16 * mib} {
		rate := []float64{20, 5, 3, .1}[i]
		all.Go(func() {
			took[i] = f.put(f.plain, f.bucket, fmt.Sprintf("%d", size), content(uint64(i), size), rate, length)
		})
	}
	all.Wait()
	f.links[0].order(t, "mend")
	behind := f.caughtUp(patience + length)
	for i, size := range []string{"1 KiB", "64 KiB", "1 MiB", "16 MiB"} {
		t.Logf("%s: %v", size, took[i])
		if longest := took[i].at(1); longest > 4*time.Second {
			t.Errorf("%s: an upload took %v", size, longest)
		}
	}
	t.Logf("equal after %v; diverged %v, demotions %v, dials %v", behind, f.metric("akubra_divergences_total"), f.metric("akubra_backend_demotions_total"), f.metric("akubra_legs_total"))
}
