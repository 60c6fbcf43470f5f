package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/link"
)

func TestWanCases(t *testing.T) {
	o := mustOptions(t, "-scenario", "wan")
	if o.rounds != 1 || !slices.Equal(o.peers, []string{"akubra-near", "nginx", "akubra"}) {
		t.Errorf("%d rounds of %q", o.rounds, o.peers)
	}
	names := map[string]bool{}
	var takes time.Duration
	for _, c := range o.cases() {
		if names[c.String()] {
			t.Errorf("%s is there twice", &c)
		}
		names[c.String()] = true
		if c.Way == nil || c.Way.Rate == 0 || c.Backends != 2 {
			t.Errorf("%s has no way", &c)
			continue
		}
		for _, peer := range o.peers {
			if c.Limit == 0 && c.Way.drives(peer) {
				takes += c.WarmUp + c.Duration
			}
		}
	}
	if takes > 3*time.Minute {
		t.Errorf("they take %v", takes)
	}
	for _, want := range []string{"wan 100 MiB ×2 c1 30ms", "wan 1 MiB ×2 c64 25.0/s 30ms", "wan 4 KiB ×2 c1 one key 30ms", "wan 1 KiB ×2 c256 2000/s 80ms", "wan 0 B ×2 c5 1.00/s 30ms cut forgotten"} {
		if !names[want] {
			t.Errorf("%s is missing", want)
		}
	}
	o = mustOptions(t, "-scenario", "wan", "-size", "64KiB", "-duration", "1m", "-config", "A: 1")
	cases := o.cases()
	if len(cases) != 2 || cases[0].Size != 64<<10 || cases[0].Duration != time.Minute || len(cases[0].Config) != 1 {
		t.Errorf("%+v", cases)
	}
}

// TestWanMeasures drives the far storage through its link, for want of a proxy.
func TestWanMeasures(t *testing.T) {
	o := mustOptions(t, "-scenario", "wan")
	stores, err := startBackends(2)
	for _, s := range stores {
		t.Cleanup(s.stop)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Case{
		{Scenario: wanScenario, Method: "PUT", Size: 64 << 10, Conns: 1, Limit: 3, OneKey: true, Duration: time.Minute},
		{Scenario: wanScenario, Method: "HEAD", Conns: 1, Limit: 3, Missing: true, Duration: time.Minute},
	} {
		c.Backends, c.Way = 2, &Way{RoundTrip: 20 * time.Millisecond, Rate: wanRate, Queue: wanQueue}
		r, err := o.measureWan(context.Background(), &c, "direct", 0, stores)
		if err != nil {
			t.Fatal(err)
		}
		if r.Succeeded != 3 || r.Failed != 0 || r.Wan != nil || r.Seconds > 30 {
			t.Errorf("%s: %d, %v, %d, %v, in %v s", &c, r.Succeeded, r.Errors, r.Failed, r.Wan, r.Seconds)
		}
	}
}

// TestWanSeen reads what a proxy says of itself while its link is cut.
func TestWanSeen(t *testing.T) {
	var asked, down, back atomic.Int64 // the far backend is down from one answer to another
	up := func() int {
		if n := asked.Add(1); n >= down.Load() && n < back.Load() {
			return 0
		}
		return 1
	}
	way, err := link.New("127.0.0.1:1", link.Direction{}, link.Direction{})
	if err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE akubra_backend_up gauge\nakubra_backend_up{backend=\"near:1\"} 1\nakubra_backend_up{backend=%q} %d\nakubra_backend_upper 7\n"+
			"akubra_divergences_total{op=\"storing\",reason=\"deferred\"} 5\nakubra_divergences_total{op=\"storing\",reason=\"stalled\"} 0\n"+
			"akubra_divergences_total{op=\"storing\",reason=\"demoted\"} 2\nakubra_backend_demotions_total{backend=\"near:1\"} 1\n", way.Addr(), up())
	}))
	defer admin.Close()
	addr := strings.TrimPrefix(admin.URL, "http://")
	w := &Way{CutAt: time.Millisecond, CutFor: time.Minute}
	if got := w.await(time.Now().Add(time.Minute), addr, way.Addr(), 1, nil); got <= 0 {
		t.Error("it is up")
	}
	if got := w.await(time.Now().Add(50*time.Millisecond), addr, way.Addr(), 0, nil); got != 0 {
		t.Errorf("down after %v", got)
	}
	down.Store(3)
	back.Store(5)
	var s wanSeen
	testkit.InSlowMotion(t, 500*time.Millisecond, func(t testing.TB, cutFor time.Duration) {
		asked.Store(0)
		s, w.CutFor = wanSeen{}, cutFor
		w.cut(way, &s, addr, make(chan struct{}))
		if n := asked.Load(); s.Demoted <= 0 || s.Demoted > w.CutFor || s.Back <= 0 || n != 5 {
			t.Errorf("demoted after %v, back after %v and %d answers", s.Demoted, s.Back, n)
		}
	})
	if err := s.ask(addr); err != nil {
		t.Fatal(err)
	}
	if s.diverged() != 7 || s.Divergences["deferred"] != 5 || s.Demotions != 1 || len(s.Divergences) != 2 {
		t.Errorf("%+v", s)
	}
	s.Writes, s.Taken, s.TakenBytes, s.Carried, s.Used = 10, 3, 90, 100, .5
	if err := s.check(); err != nil {
		t.Error(err)
	}
	if got := s.line(); !strings.HasPrefix(got, "  far 3 of 10, link used 50 %, 90 % well, diverged: deferred 5, demoted 2, 1 demotions, demoted after ") {
		t.Errorf("%q", got)
	}
	if s.Taken = 2; s.check() == nil {
		t.Error("a write is neither there nor owed")
	}
}
