package engine

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/lane"
	"github.com/akubra/akubra/limiter"
)

// full makes a backend one that has held clients back lately and that cannot carry another large body in
// time.
func (r *rig) full(backend int) {
	r.heldBack(backend, r.e.now())
}

// heldBack says that a backend has held a client back then: of a body of which it took one byte a second.
func (r *rig) heldBack(backend int, at int64) {
	const took = 10
	var c lane.Cargo
	l, begun := &r.e.lanes[backend], at-int64(took*time.Second)
	l.Begin(begun, &c, 1<<30, nil)
	l.Moved(begun, &c, took)
	l.End(at, &c, took*time.Second, lane.Cut)
}

const largeBody = 2 << 20

// wantDeferred checks that a write was deferred at these stores: recorded with that reason, owed, and not
// begun.
func (r *rig) wantDeferred(path string, stores ...int) {
	r.t.Helper()
	r.wantRecords(path, OutcomeDeferred, stores...)
	for _, i := range stores {
		if n := r.stores[i].Counts().Requests; n != 0 {
			r.t.Errorf("store %d got %d requests", i, n)
		}
		bucket, key, _ := strings.Cut(path[1:], "/")
		if r.journal.Owed([]byte(bucket), []byte(key))&(1<<i) == 0 {
			r.t.Errorf("store %d does not owe %s", i, path)
		}
	}
}

// TestR10FullBackendIsDeferred: a large body is not begun at a backend that could not carry it in time.
func TestR10FullBackendIsDeferred(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		ack      string
		n        int
		full     []int
		size     int
		chunked  bool
		header   string
		deferred []int
	}{
		{name: "one of two", n: 2, full: []int{1}, size: largeBody, deferred: []int{1}},
		{name: "a small body", n: 2, full: []int{1}, size: 100 << 10},
		{name: "all", n: 2, full: []int{0, 1}, size: largeBody},
		{name: "two of three", n: 3, full: []int{0, 2}, size: largeBody, deferred: []int{0, 2}},
		{name: "quorum", ack: AckQuorum, n: 3, full: []int{0}, size: largeBody, deferred: []int{0}},
		{name: "quorum needs it", ack: AckQuorum, n: 2, full: []int{0}, size: largeBody},
		{name: "all are needed", ack: AckAll, n: 3, full: []int{0}, size: largeBody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.n, anyway(func(o *Options) {
				if tt.ack != "" {
					o.WriteAck = tt.ack
				}
			}))
			for _, i := range tt.full {
				r.full(i)
			}
			body := pattern(tt.size)
			wantStatus(t, r.put("/b/k", body), 200)
			r.wantDeferred("/b/k", tt.deferred...)
			for i, s := range r.stores {
				if fmt.Sprint(tt.deferred) == "[]" || !strings.Contains(fmt.Sprint(tt.deferred), fmt.Sprint(i)) {
					wantStored(t, s, "/b/k", body)
				}
			}
			r.wantNoBlame()
		})
	}
}

// TestR10NoTryWhileSomethingIsOwed: whether a backend has become better is not tried half a minute later while repair
// has something to bring.
func TestR10NoTryWhileSomethingIsOwed(t *testing.T) {
	t.Parallel()
	for _, owed := range []bool{true, false} {
		r := newRig(t, 2)
		r.heldBack(1, r.e.now()-int64(31*time.Second))
		if owed {
			r.journal.owe("b", "other", 1<<1)
		}
		body := pattern(largeBody)
		wantStatus(t, r.put("/b/k", body), 200)
		if owed {
			r.wantDeferred("/b/k", 1)
			continue
		}
		r.settled()
		wantStored(t, r.stores[1], "/b/k", body)
	}
}

// TestR10R3NoFailingBackendIsLeftAlone: where one that would be left to tell the client has failed at the last write,
// the others get the next one, however slow they are.
func TestR10R3NoFailingBackendIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]stub.Behaviour{
		"it is full": stub.Fails(507), "it is dead": {During: stub.ResetThere}, "it says yes and has not done it": {Status: 200, Body: errorBody("InternalError", "")},
	} {
		for _, ack := range []string{AckFirst, AckQuorum} {
			t.Run(name+", "+ack, func(t *testing.T) {
				t.Parallel()
				n := 2
				if ack == AckQuorum {
					n = 3
				}
				r := newRig(t, n, anyway(func(o *Options) { o.WriteAck = ack }))
				last := n - 1
				r.full(last)
				wantStatus(t, r.put("/b/first", pattern(largeBody)), 200)
				r.wantDeferred("/b/first", last)
				r.stores[0].Behave(b)
				if a := r.put("/b/second", pattern(largeBody)); a.Status == 200 {
					t.Fatal("nobody took it")
				}
				r.settled()
				body := pattern(largeBody)
				wantStatus(t, r.put("/b/third", body), 200)
				r.settled()
				wantStored(t, r.stores[last], "/b/third", body)
				r.stores[0].Behave(stub.Behaviour{})
				wantStatus(t, r.put("/b/small", "x"), 200) // everybody gets it
				r.settled()
				if set := r.e.failing.Load(); set != 0 {
					t.Errorf("these still fail: %b", set)
				}
			})
		}
	}
}

func TestR10AllBut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		set, some uint64
		most      int
		want      uint64
	}{
		{0b111, 0b111, 3, 0b111},
		{0b111, 0b111, 1, 0b100},
		{0b111, 0b110, 1, 0b101},
		{0b111, 0b110, 0, 0b001},
		{0b101, 0b101, -1, 0},
		{0, 0, 1, 0},
	} {
		if got := allBut(tt.set, tt.some, tt.most); got != tt.want {
			t.Errorf("%b but %d of %b: %b, want %b", tt.set, tt.most, tt.some, got, tt.want)
		}
	}
}

// The backend that decides a condition is not deferred, whatever it carries (R29).
func TestR10R29DeciderIsNotDeferred(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	decider := r.e.current().primaries.first([]byte("b"), r.e.all)
	r.full(decider)
	body := pattern(largeBody)
	raw := strings.Replace(putRequest("/b/k", body), "\r\n\r\n", "\r\nIf-None-Match: *\r\n\r\n", 1)
	wantStatus(t, r.dial().Do(raw), 200)
	r.wantRecords("/b/k", "")
	r.full(1 - decider)
	wantStatus(t, r.dial().Do(strings.Replace(raw, "/b/k", "/b/other", 1)), 200)
	r.wantRecords("/b/other", OutcomeDeferred, 1-decider)
	wantStored(t, r.stores[decider], "/b/other", body)
}

// TestR10SlowBackendNeverSetsTheSpeed: what a slow backend cannot carry is not begun there, rather than sent
// in part and cut; each client is held back at first at most, and everything adds up.
func TestR10SlowBackendNeverSetsTheSpeed(t *testing.T) {
	t.Parallel()
	const stall, n = 800 * time.Millisecond, 12
	slowly(t, "slow", stall, func(t testing.TB, stall time.Duration) {
		r := newTightRig(t, 2, withStallTimeout(stall), withRing(64<<10))
		r.stores[1].Behave(stub.Behaviour{ReadRate: 512 << 10})
		acknowledged := map[string]string{}
		client := r.dial()
		for i := range n {
			path, body := fmt.Sprintf("/b/%d", i), pattern(12<<20)
			wantStatus(t, client.Do(putRequest(path, body)), 200)
			acknowledged[path] = body
		}
		r.wantAddsUp(acknowledged)
		stalled, deferred := r.metrics.count(OutcomeStalled), 0
		for _, d := range r.records.list() {
			if d.Error == OutcomeDeferred {
				deferred++
			}
		}
		if stalled == 0 || stalled > 2 || stalled+deferred != n {
			t.Errorf("of %d bodies %d were cut and %d deferred", n, stalled, deferred)
		}
	})
}

// crowdedLimiter says which backends are crowded.
type crowdedLimiter struct {
	*limiter.Limiter
	crowded atomic.Uint64
	asked   atomic.Int64
}

func (l *crowdedLimiter) over(under *limiter.Limiter) { l.Limiter = under }

func (l *crowdedLimiter) Crowded(_ int64, want uint64) uint64 {
	l.asked.Add(1)
	return want & l.crowded.Load()
}

// TestR13CrowdedBackendIsDeferred: what does not fit into a backend's own limit is deferred, of any kind of
// write, and a read goes elsewhere.
func TestR13CrowdedBackendIsDeferred(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, raw string
		status    int
		path      string
	}{
		{"PUT", putRequest("/b/k", "x"), 200, "/b/k"},
		{"DELETE", requestFor("DELETE", "/b/k"), 204, "/b/k"},
		{"tags", putRequest("/b/k?tagging", "<Tagging/>"), 200, "/b/k?tagging"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &crowdedLimiter{}
			r := newRig(t, 2, anyway(func(o *Options) { o.Limiter = l }))
			for _, s := range r.stores {
				s.Put("/b/k", []byte("old"))
			}
			l.crowded.Store(0b10)
			wantStatus(t, r.dial().Do(tt.raw), tt.status)
			r.wantRecords(tt.path, OutcomeDeferred, 1)
			if n := r.stores[1].Counts().Requests; n != 0 {
				t.Errorf("it got %d requests", n)
			}
			if s := r.limiter.State(1); s != limiter.StateActive {
				t.Errorf("it is %s", s)
			}
			l.crowded.Store(0b11)
			wantStatus(t, r.dial().Do(putRequest("/b/other", "x")), 200)
			r.wantRecords("/b/other", "")
		})
	}
	t.Run("GET", func(t *testing.T) {
		t.Parallel()
		l := &crowdedLimiter{}
		r := newRig(t, 2, anyway(func(o *Options) { o.Limiter = l }))
		for _, s := range r.stores {
			s.Put("/b/k", []byte("old"))
		}
		l.crowded.Store(0b01)
		for range 5 {
			wantStatus(t, r.dial().Do(requestFor("GET", "/b/k")), 200)
		}
		r.settled()
		if n := r.stores[0].Counts().Requests; n != 0 {
			t.Errorf("it got %d requests", n)
		}
	})
}

// TestR3R13BusyBackendMayHaveWhatOthersLack: a read is not answered that there is nothing, or not at all, while a
// busy backend has it.
func TestR3R13BusyBackendMayHaveWhatOthersLack(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]stub.Behaviour{"they lack it": {}, "they are broken": stub.Fails(500), "they refuse": stub.Fails(403)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &crowdedLimiter{}
			r := newRig(t, 3, anyway(func(o *Options) { o.Limiter = l }))
			l.crowded.Store(0b010)
			r.stores[0].Behave(b)
			r.stores[2].Behave(b)
			r.stores[1].Put("/b/k", []byte("old"))
			for _, method := range []string{"GET", "HEAD"} {
				wantStatus(t, r.dial().Do(requestFor(method, "/b/k")), 200)
			}
			a := r.dial().Do(requestFor("GET", "/b/none"))
			r.settled()
			if b.Status == 0 {
				wantStatus(t, a, 404)
			}
			for i, s := range r.stores {
				if n := s.Counts().Requests; n != 3 {
					t.Errorf("store %d got %d requests", i, n)
				}
			}
		})
	}
	t.Run("the only others have left the pool", func(t *testing.T) {
		t.Parallel()
		l := &crowdedLimiter{}
		r := newRig(t, 2, anyway(func(o *Options) { o.Limiter = l }))
		l.crowded.Store(0b01) // as it was a moment ago
		r.limiter.SetMaintained(1, true)
		r.stores[0].Put("/b/k", []byte("old"))
		wantStatus(t, r.dial().Do(requestFor("GET", "/b/k")), 200)
	})
}

// TestR13NeverDeferred: a busy backend gets at once what repair would not bring as well, and what the client
// may need its answer to.
func TestR13NeverDeferred(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"a list of deletes":     deleteRequestOf("k", "other"),
		"a copy":                "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nX-Amz-Copy-Source: /b/src\r\nContent-Length: 0\r\n\r\n",
		"a new bucket":          putRequest("/new", ""),
		"a bucket's policy":     putRequest("/b?policy", "{}"),
		"a bucket's end":        requestFor("DELETE", "/b"),
		"a version's delete":    requestFor("DELETE", "/b/k?versionId=x"),
		"a version's tags":      putRequest("/b/k?tagging&versionId=x", "<Tagging/>"),
		"an unknown upload":     requestFor("DELETE", "/b/k?uploadId=x"),
		"an unknown one's part": putRequest("/b/k?partNumber=1&uploadId=x", "part"),
		"an unknown one's end":  completeRequest("/b/k", "x", `"e"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &crowdedLimiter{}
			r := newRig(t, 2, anyway(func(o *Options) { o.Limiter = l }))
			for _, s := range r.stores {
				s.Put("/b", nil)
				s.Put("/b/src", []byte("source"))
				s.Put("/b/k", []byte("old"))
			}
			l.crowded.Store(0b10)
			r.dial().Do(raw)
			r.settled()
			if n := r.stores[1].Counts().Requests; n != 1 {
				t.Errorf("it got %d requests", n)
			}
		})
	}
}

// TestR13R28BusyOwnerOfAVersionIsAsked: whose a version is does not show after a restart, and the one that has it
// may be busy: the client gets its answer all the same, and not that of one that does not know the version.
func TestR13R28BusyOwnerOfAVersionIsAsked(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		raw           string
		stranger, own stub.Behaviour
		want          int
	}{
		"tags": {
			putRequest("/b/k?tagging&versionId=x", "<Tagging/>"),
			stub.Behaviour{Status: 404, Body: errorBody("NoSuchVersion", "")}, stub.Behaviour{Status: 200}, 200,
		},
		"a lock": {
			requestFor("DELETE", "/b/k?versionId=x"),
			stub.Behaviour{Status: 204}, stub.Behaviour{Status: 403, Body: errorBody("AccessDenied", "Access Denied")}, 403,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &crowdedLimiter{}
			r := newRig(t, 2, anyway(func(o *Options) { o.Limiter, o.PrimaryWait = l, patience }))
			l.crowded.Store(0b10)
			r.stores[0].Behave(tt.stranger)
			r.stores[1].Behave(tt.own)
			wantStatus(t, r.dial().Do(tt.raw), tt.want)
		})
	}
}

// TestR13R30BusyBackendThatLacksLessIsAsked: while one backend catches up, the other one that is busy goes on
// getting what is written to the bucket, so that there is one which has all of it.
func TestR13R30BusyBackendThatLacksLessIsAsked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		owed       uint64 // of another key
		bucket     string
		isDeferred bool
	}{
		{"the other one lacks more", 0b01, "b", false},
		{"elsewhere", 0b01, "other", true},
		{"it lacks as much", 0b11, "b", true},
		{"it lacks more", 0b10, "b", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &crowdedLimiter{}
			r := newRig(t, 2, anyway(func(o *Options) { o.Limiter = l }))
			r.journal.owe(tt.bucket, "another", tt.owed)
			l.crowded.Store(0b10)
			wantStatus(t, r.put("/b/k", "x"), 200)
			if tt.isDeferred {
				r.wantRecords("/b/k", OutcomeDeferred, 1)
			} else {
				r.wantRecords("/b/k", "")
				wantStored(t, r.stores[1], "/b/k", "x")
			}
		})
	}
}

// TestR13LagReachesTheLimiter: how long the legs of a slow backend go on after their clients were answered
// makes its limit.
func TestR13LagReachesTheLimiter(t *testing.T) {
	t.Parallel()
	l := &laggedLimiter{}
	r := newRig(t, 2, anyway(func(o *Options) { o.Limiter = l }))
	open := gated(t, r.stores[1])
	begun := time.Now()
	wantStatus(t, r.put("/b/k", "x"), 200)
	answered := time.Now()
	until(t, "some time has passed", func() bool { return time.Since(answered) >= time.Millisecond })
	least := time.Since(answered)
	open()
	r.settled()
	most := time.Since(begun)
	if n := l.n.Load(); n != 1 {
		t.Fatalf("%d lags", n)
	}
	if lag := time.Duration(l.lag.Load()); l.backend.Load() != 1 || lag < least || lag > most {
		t.Errorf("backend %d lagged for %v, want from %v to %v", l.backend.Load(), lag, least, most)
	}
}

type laggedLimiter struct {
	*limiter.Limiter
	n, backend, lag atomic.Int64
}

func (l *laggedLimiter) over(under *limiter.Limiter) { l.Limiter = under }

func (l *laggedLimiter) Lagged(backend int, now, lag int64) {
	l.n.Add(1)
	l.backend.Store(int64(backend))
	l.lag.Store(lag)
	l.Limiter.Lagged(backend, now, lag)
}

// TestR13LagOfLargeBodies: a body that is larger than the ring, and not larger than what the system keeps beside
// it, holds no client back, so that its backend's lag is all that tells of it.
func TestR13LagOfLargeBodies(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int64{2 << 20: 1, maxUnheld + 1: 0} {
		l := &laggedLimiter{}
		r := newRig(t, 2, withRing(256<<10), anyway(func(o *Options) { o.Limiter = l }))
		open := gated(t, r.stores[1])
		wantStatus(t, r.put("/b/k", pattern(size)), 200)
		open()
		r.settled()
		if n := l.n.Load(); n != want {
			t.Errorf("of a body of %d bytes %d lags were told, want %d", size, n, want)
		}
	}
}

// TestR13SlowIsNoFailure: a leg that is cut is no failure of a backend that takes its bytes all the time, and is
// one of a backend that takes none.
func TestR13SlowIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		backend stub.Behaviour
		want    string
	}{
		{"slow", stub.Behaviour{ReadRate: 512 << 10}, limiter.StateActive},
		{"hung", stub.Behaviour{During: stub.HangThere}, limiter.StateDemoted},
	} {
		slowlyBeside(t, tt.name, time.Second, func(t testing.TB, stall time.Duration) {
			r := newTightRig(t, 2, withStallTimeout(stall), withRing(64<<10), func(_ *Options, lo *limiter.Options) { lo.FailureLimit = 1 })
			r.stores[1].Behave(tt.backend)
			wantStatus(t, r.put("/b/k", pattern(12<<20)), 200)
			r.wantRecords("/b/k", OutcomeStalled, 1)
			if s := r.limiter.State(1); s != tt.want {
				t.Errorf("it is %s, want %s", s, tt.want)
			}
		})
	}
}

// unsentConn is a connection on which the system still has something to send.
type unsentConn struct {
	memoryConn
	unsent int
}

func (c *unsentConn) Unsent() int { return c.unsent }

// TestR10LanesTellWhatArrives: a backend's rate is that of what arrives there, whatever the system holds for it.
func TestR10LanesTellWhatArrives(t *testing.T) {
	t.Parallel()
	const rate = 2_500_000
	for _, tt := range []struct {
		unsent      int // of the first bytes; -1 where the system does not tell
		least, most float64
	}{{1 << 20, 0.9, 1.1}, {-1, 2, 9}} {
		r := newRig(t, 2)
		req := newRequest(r.e)
		req.head.write, req.head.contentLength = true, 1<<30
		req.legs = req.legs[:2]
		for i := range req.legs {
			req.legs[i].reset(req, i, i, 0)
		}
		req.takeLanes()
		l := &req.legs[1]
		l.setConn(&unsentConn{unsent: tt.unsent})
		now := r.e.now()
		l.lane.Moved(now, &l.load, 1<<20)
		for waited := time.Duration(0); r.e.Lanes()[1].Rate == 0 && waited < time.Minute; waited += time.Millisecond {
			now += int64(time.Millisecond)
			l.lane.Moved(now, &l.load, rate/1000)
			l.lane.Lag(now, &l.load, time.Millisecond, waited, time.Second)
		}
		if got := r.e.Lanes()[1].Rate / rate; got < tt.least || got > tt.most {
			t.Errorf("with %d bytes on the way the backend carries %.2f of what it does", tt.unsent, got)
		}
		l.setConn(nil)
		if n := l.onTheWay(); n != 0 {
			t.Errorf("%d bytes are on the way without a connection", n)
		}
	}
}

// R10: of a leg that has yet to connect nothing is on the way, and its connection is not asked.
func TestR10NothingIsOnTheWayBeforeItIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	req := newRequest(r.e)
	req.legs = req.legs[:1]
	l := &req.legs[0]
	l.conn, l.lane = new(dialing), &r.e.lanes[0]
	l.lane.Begin(r.e.now(), &l.load, 1<<20, nil)
	if n := l.onTheWay(); n != 0 {
		t.Errorf("%d bytes", n)
	}
	l.conn = &unsentConn{unsent: 5}
	l.lane.Moved(r.e.now(), &l.load, 9)
	if n := l.onTheWay(); n != 5 {
		t.Errorf("%d bytes, want 5", n)
	}
}

// R10: no leg is cut early for one whose backend has less of the body. The system takes some megabytes for a backend
// that takes next to nothing, and the client would go at its speed if it were left alone.
func TestR10NoLegIsCutForOneThatHasLess(t *testing.T) {
	t.Parallel()
	const much = 1 << 30
	type has struct{ sent, unsent int } // unsent is -1 where the system does not tell
	for _, tt := range []struct {
		name string
		legs [2]has // of which the first one lags
		cut  bool
	}{
		{"the other one has more", [2]has{{much, 0}, {2 * much, much / 2}}, true},
		{"the system has more for it, its backend has not", [2]has{{much, 0}, {2 * much, 3 * much / 2}}, false},
		{"both have as much", [2]has{{much, much / 2}, {2 * much, 3 * much / 2}}, false},
		{"the system tells nothing", [2]has{{much, -1}, {2 * much, -1}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			req := newRequest(r.e)
			o := *req.o
			o.StallTimeout = 8 // nanoseconds: it is over at each look
			req.o, req.legs = &o, req.legs[:2]
			for i, h := range tt.legs {
				l := &req.legs[i]
				l.conn, l.lane = &unsentConn{unsent: h.unsent}, &r.e.lanes[i]
				l.lane.Begin(r.e.now(), &l.load, 1<<40, nil)
				l.lane.Moved(r.e.now(), &l.load, h.sent)
			}
			lags := func() (cut bool) {
				for range 1000 { // as soon as it has had the same pace twice
					req.legs[0].lane.Moved(r.e.now(), &req.legs[0].load, 1)
					cut = cut || req.noteLag(0, time.Minute, time.Minute)
				}
				return cut
			}
			if got := lags(); got != tt.cut {
				t.Errorf("it is cut: %t, want %t", got, tt.cut)
			}
			req.legs[1].conn = nil // it has ended
			if lags() {
				t.Error("it is cut although it is alone")
			}
		})
	}
}
