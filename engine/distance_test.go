package engine

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/testkit/link"
	"github.com/akubra/akubra/limiter"
)

// over has backend i behind a link.
func over(t testing.TB, i int, links []*link.Link, o link.Options) setup {
	return func(to *Options, lo *limiter.Options) {
		l, err := link.New(strings.TrimPrefix(to.Backends[i].(testBackend).URL(), "http://"), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		watcher := netio.NewWatcher()
		watcher.Start()
		t.Cleanup(watcher.Close)
		b, err := backends.New(backends.Options{URL: &url.URL{Scheme: "http", Host: l.Addr()}, DialTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, ReadBuffer: 16 << 10, Watcher: watcher})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		to.Backends[i], lo.Backends[i], links[i] = testBackend{b}, b.Name(), l
	}
}

// TestR5LittleOfALoserCrossesALongWay: where every backend is asked, the answer of one far away is not read to its
// end when another one has won: that would take the link from others. What costs less than a connection is.
func TestR5LittleOfALoserCrossesALongWay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		delay       time.Duration
		size        int
		least, most int64 // bytes of each answer that cross
		fresh       bool  // each has a connection of its own
	}{
		{"far", 15 * time.Millisecond, 800 << 10, 1, 64 << 10, true},
		{"far and small", 15 * time.Millisecond, 8 << 10, 8 << 10, 9 << 10, false},
		{"near", 0, 800 << 10, 800 << 10, 801 << 10, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var links [2]*link.Link
			r := newRig(t, 2, over(t, 1, links[:], link.Options{Delay: tt.delay}))
			for _, s := range r.stores {
				s.Put("/b/k", []byte(pattern(tt.size)))
			}
			const n = 4
			_, before := links[1].Carried()
			for range n {
				if tt.delay == 0 { // what the gate adds
					r.e.far[1].least.Store(1)
				}
				open := gated(t, r.stores[1])
				wantStatus(t, r.dial().Do(requestFor("GET", "/b/k")), 200)
				open()
				r.settled()
			}
			_, after := links[1].Carried()
			if each := (after - before) / n; each < tt.least || each > tt.most {
				t.Errorf("%d bytes of each answer have crossed, want %d to %d", each, tt.least, tt.most)
			}
			if conns := r.stores[1].Counts().Conns; conns > 1 != tt.fresh {
				t.Errorf("%d connections", conns)
			}
		})
	}
}

func TestR5Distance(t *testing.T) {
	const ms = time.Millisecond
	var w distance
	if w.takes(800<<10, 30*ms) || !w.takes(atOnce, time.Hour) {
		t.Error("far: what comes at once, and no more")
	}
	if !w.takes(800<<10, ms) || !w.takes(800<<10, 50*ms) {
		t.Error("one that was near just now is near, however busy it is")
	}
	n := 0
	for w.takes(800<<10, 50*ms) {
		if n++; n > 10*distanceSteps {
			t.Fatal("it has become far, and is not found to be")
		}
	}
	if n < 5 {
		t.Errorf("%d slow answers made it far", n)
	}
}
