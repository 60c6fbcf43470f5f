package engine

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/s3"
)

// demotions counts the limiter's events.
type demotions struct {
	mu               sync.Mutex
	demoted, returns []limiter.Event
}

// watched sets limit and stall time, and counts events.
func watched(limit int, stalledAfter, slotTimeout time.Duration) (*demotions, setup) {
	d := &demotions{}
	return d, func(o *Options, lo *limiter.Options) {
		lo.ConnLimit, lo.StalledAfter = limit, stalledAfter
		o.SlotTimeout = slotTimeout
		lo.OnDemote = func(e limiter.Event) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.demoted = append(d.demoted, e)
		}
		lo.OnReturn = func(e limiter.Event) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.returns = append(d.returns, e)
		}
	}
}

func (d *demotions) count() (demoted, returned int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.demoted), len(d.returns)
}

// probing starts a prober on the rig's storages until the test ends.
func (r *rig) probing() {
	r.t.Helper()
	var list []*backends.Backend
	for _, b := range r.e.o.Backends {
		list = append(list, b.(testBackend).Backend)
	}
	p := backends.NewProber(list, probedLimiter{r.limiter}, 10*time.Millisecond, 500*time.Millisecond)
	p.Start()
	r.t.Cleanup(p.Close)
}

// probedLimiter is a backends.Returner that asks the limiter alone.
type probedLimiter struct{ *limiter.Limiter }

func (probedLimiter) Unreached(int, error) {}

// gated makes a store wait with its answers, until the function is called or
// the test ends.
func gated(t testing.TB, s *stub.Server) (open func()) {
	gate := make(chan struct{})
	open = sync.OnceFunc(func() {
		s.Behave(stub.Behaviour{})
		close(gate)
	})
	t.Cleanup(open)
	s.Behave(stub.Behaviour{Gate: gate})
	return open
}

// gatedNext is gated for the next request alone.
func gatedNext(t testing.TB, s *stub.Server) (open func()) {
	gate := make(chan struct{})
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	s.BehaveNext(stub.Behaviour{Gate: gate})
	return open
}

// wantAddsUp checks that each acknowledged write is on each storage, or in the
// records for it, and that no record is about a storage that has it.
func (r *rig) wantAddsUp(acknowledged map[string]string) {
	r.t.Helper()
	recorded := map[string]int{}
	for _, d := range r.settled() {
		recorded[d.FailedHost+d.Path]++
	}
	for path, body := range acknowledged {
		for i, s := range r.stores {
			o, ok := s.Object(path)
			ok = ok && string(o.Body) == body
			if n := recorded[r.host(i)+path]; !ok && n == 0 {
				r.t.Errorf("%s is neither on storage %d nor recorded", path, i)
			} else if ok && n > 0 {
				r.t.Errorf("%s is on storage %d, and recorded %d times", path, i, n)
			} else if n > 1 {
				r.t.Errorf("%s is recorded %d times for storage %d", path, n, i)
			}
		}
	}
}

func TestR13HungBackendLeavesThePoolAndComesBack(t *testing.T) {
	t.Parallel()
	events, options := watched(8, 0, patience)
	r := newRig(t, 2, options)
	open := gated(t, r.stores[1])
	acknowledged := map[string]string{}
	client := r.dial()
	n := 0
	put := func() {
		n++
		path, body := fmt.Sprintf("/b/k%d", n), fmt.Sprint("body ", n)
		wantStatus(t, client.Do(putRequest(path, body)), 200)
		acknowledged[path] = body
	}
	// Each of them leaves a slot behind at the hung one, until nothing fits.
	for range 12 {
		put()
	}
	if demoted, _ := events.count(); demoted != 1 {
		t.Fatalf("%d demotions, want 1", demoted)
	}
	e := events.demoted[0]
	if e.Backend != 1 || e.Reason != limiter.ReasonStalled || e.Counts[1].Stalled == 0 || e.Counts[0].Stalled != 0 {
		t.Fatalf("demotion is %+v", e)
	}
	begun := time.Now()
	for range 100 {
		put()
	}
	wantStatus(t, client.Do(requestFor("GET", "/b/k1")), 200)
	if took := time.Since(begun); took >= patience { // one has waited for a slot
		t.Fatalf("100 writes took %v after the demotion", took)
	}
	demoted := 0
	for _, d := range r.records.list() {
		if d.Error != "demoted" || d.FailedHost != r.host(1) || d.SuccessHost != r.host(0) || d.Status != 0 || d.Op != OpStoring {
			t.Fatalf("record %+v", d)
		}
		demoted++
	}
	if demoted < 100 {
		t.Fatalf("%d records of skipped writes, want at least 100", demoted)
	}
	if got := r.stores[1].Counts().Requests; got > 8 {
		t.Fatalf("the hung storage got %d requests", got)
	}
	r.probing()
	if _, returned := events.count(); returned != 0 {
		t.Fatal("it came back while it hung")
	}
	open()
	until(t, "the backend has returned", func() bool { _, n := events.count(); return n == 1 })
	if s := r.limiter.State(1); s != limiter.StateActive {
		t.Fatalf("state is %s", s)
	}
	before := len(r.settled())
	put()
	if got := r.settled(); len(got) != before {
		t.Fatalf("recorded after the return: %+v", got[before:])
	}
	r.wantAddsUp(acknowledged)
}

// Many clients at once, three backends, one of which hangs: nobody is refused,
// and everything adds up.
func TestR13DemotionUnderLoad(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 100*time.Millisecond, testDemotionUnderLoad)
}

func testDemotionUnderLoad(t testing.TB, stalledAfter time.Duration) {
	events, options := watched(30, stalledAfter, 20*time.Second)
	r := newRig(t, 3, options)
	open := gated(t, r.stores[2])
	var mu sync.Mutex
	acknowledged := map[string]string{}
	var wg sync.WaitGroup
	for c := range 16 {
		client := r.dial()
		wg.Go(func() {
			for i := range 12 {
				path, body := fmt.Sprintf("/b/%d-%d", c, i), pattern(100*c+i)
				client.Send(putRequest(path, body))
				a, err := client.ReadAnswer()
				if err != nil || a.Status != 200 {
					t.Errorf("%s: %v %v", path, a, err)
					return
				}
				mu.Lock()
				acknowledged[path] = body
				mu.Unlock()
			}
		})
	}
	testkit.Finish(t, "the clients end", wg.Wait)
	if demoted, _ := events.count(); demoted != 1 {
		t.Errorf("%d demotions, want 1", demoted)
	}
	if r.limiter.State(2) != limiter.StateDemoted {
		t.Errorf("the hung one is %s", r.limiter.State(2))
	}
	open()
	if len(acknowledged) != 16*12 {
		t.Errorf("%d writes acknowledged", len(acknowledged))
	}
	r.wantAddsUp(acknowledged)
}

func TestR13LastBackendStaysAndRequestsWaitForASlot(t *testing.T) {
	t.Parallel()
	events, options := watched(1, 20*time.Millisecond, 300*time.Millisecond)
	r := newRig(t, 1, options)
	open := gated(t, r.stores[0])
	first := r.dial()
	first.Send(putRequest("/b/first", "1"))
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })

	begun := time.Now()
	a := r.put("/b/second", "2")
	wantStatus(t, a, 503)
	if s3.Text(a.Body, "Code") == nil || string(s3.Text(a.Body, "Code")) != "SlowDown" || s3.Text(a.Body, "RequestId") == nil {
		t.Fatalf("answer is %q", a.Body)
	}
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Fatalf("refused after %v, before SlotTimeout", took)
	}
	if n, _ := events.count(); n != 0 || r.limiter.State(0) != limiter.StateActive {
		t.Fatal("the last backend was demoted")
	}
	wantStatus(t, r.dial().Do(requestFor("GET", "/b/x")), 503)

	open()
	if a, err := first.ReadAnswer(); err != nil || a.Status != 200 {
		t.Fatal(a, err)
	}
	r.settled() // its slot is free
	wantStatus(t, r.put("/b/third", "3"), 200)
	r.wantNoRecords()
	wantAbsent(t, r.stores[0], "/b/second")
}

func TestR13WaitingRequestGetsTheSlotThatIsFreed(t *testing.T) {
	t.Parallel()
	events, options := watched(2, time.Hour, 20*time.Second)
	r := newRig(t, 2, options)
	open0, open1 := gated(t, r.stores[0]), gated(t, r.stores[1])
	clients := make([]*stub.Client, 5)
	for i := range clients {
		clients[i] = r.dial()
		clients[i].Send(putRequest(fmt.Sprintf("/b/k%d", i), "x"))
	}
	until(t, "all requests are in", func() bool { return r.e.InFlight() == len(clients) })
	if n := r.stores[0].Counts().Requests; n > 1 {
		t.Fatalf("%d requests at once at a limit of one each", n)
	}
	open0()
	open1()
	for _, c := range clients {
		if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
			t.Fatal(a, err)
		}
	}
	r.wantNoRecords()
	if n, _ := events.count(); n != 0 {
		t.Fatal("demoted for load alone")
	}
}

// wantWaitingForTheClient waits until this many legs are left, all of which wait
// for a client: they would not be stalled at any time to come.
func (r *rig) wantWaitingForTheClient(legs int) {
	r.t.Helper()
	until(r.t, "all legs wait for the client", func() bool {
		busy, stalled := 0, 0
		for _, s := range r.limiter.Status(farFuture) {
			busy, stalled = busy+s.Busy, stalled+s.Stalled
		}
		return busy == legs && stalled == 0
	})
}

// A client that sends slowly is no reason to demote anybody.
func TestR13SlowUploadBlamesNoBackend(t *testing.T) {
	t.Parallel()
	body := pattern(3 << 20)
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	const head = "PUT /b/slow HTTP/1.1\r\nHost: s3.test\r\n"
	tests := []struct {
		name         string
		sent         int64 // of the body, at first; the server keeps a single byte until the next one comes
		first, later string
		stored       string
	}{
		{"small", 10, head + "Content-Length: 1000\r\n\r\n" + body[:10], body[10:1000], body[:1000]},
		{"a byte", 0, head + "Content-Length: 1000\r\n\r\n" + body[:1], body[1:1000], body[:1000]},
		{"large", 200_000, head + "Content-Length: 300000\r\n\r\n" + body[:200000], body[200000:300000], body[:300000]},
		{"larger than the ring", 300_000, head + "Content-Length: 307200\r\n\r\n" + body[:300000], body[300000:307200], body[:307200]},
		{"much larger", 2_000_000, head + "Content-Length: 3145728\r\n\r\n" + body[:2000000], body[2000000:], body},
		{"chunked", 1000, head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(body[:1000]), chunk(body[1000:2000]) + "0\r\n\r\n", body[:2000]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, options := watched(2, 30*time.Millisecond, 200*time.Millisecond)
			r := newRig(t, 2, options, func(o *Options, _ *limiter.Options) { o.RingSize = 64 << 10 })
			slow := r.dial()
			slow.Send(tt.first)
			for _, s := range r.stores { // before that it may be them who are waited for
				s.Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && rs[0].BodyBytes == tt.sent })
			}
			r.wantWaitingForTheClient(2)
			a := r.put("/b/other", "x")
			wantStatus(t, a, 503)
			if !strings.Contains(string(a.Body), "<Code>SlowDown</Code>") {
				t.Fatalf("answer is %q", a.Body)
			}
			if n, _ := events.count(); n != 0 {
				t.Fatalf("demoted for a slow client: %+v", events.demoted)
			}
			wantStatus(t, slow.Do(tt.later), 200)
			r.wantNoRecords()
			r.wantAllStored("/b/slow", tt.stored)
		})
	}
}

// Nor is one that takes its answer slowly.
func TestR13SlowDownloadBlamesNoBackend(t *testing.T) {
	t.Parallel()
	for name, behaviour := range map[string]stub.Behaviour{
		"length": {}, "chunked": {Chunked: true}, "until close": {NoLength: true},
	} {
		t.Run(name, func(t *testing.T) {
			events, options := watched(2, 30*time.Millisecond, 200*time.Millisecond)
			r := newRig(t, 2, options)
			body := pattern(32 << 20) // more than all buffers on the way, also where the kernel lets them grow
			for _, s := range r.stores {
				s.Put("/b/k", []byte(body))
				s.Behave(behaviour)
			}
			slow := r.dial()
			slow.Send(requestFor("GET", "/b/k"))
			a, err := slow.ReadHeadTo("GET")
			testkit.MustDo(t, err)
			if _, err := slow.ReadSome(a, 1000); err != nil {
				t.Fatal(err)
			}
			r.wantWaitingForTheClient(1)
			wantStatus(t, r.put("/b/other", "x"), 503)
			if n, _ := events.count(); n != 0 {
				t.Fatalf("demoted for a slow client: %+v", events.demoted)
			}
			testkit.MustDo(t, slow.ReadBody(a))
			if string(a.Body) != body {
				t.Fatalf("got %d bytes, not the body", len(a.Body))
			}
			r.settled()
			wantStatus(t, r.put("/b/other", "x"), 200)
		})
	}
}

// Nor is one that has answered, and only waits for the client's body to end or
// for the other backends.
func TestR13BackendThatHasAnsweredIsNotStalled(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		early   stub.Behaviour
		request string
		ack     string
	}{
		{
			"rejected in mid-body", stub.Behaviour{During: stub.AnswerAndDrain, After: 10, Status: 403, Chunked: true},
			putRequest("/b/k", pattern(200<<10))[:100<<10], AckFirst,
		},
		{"WriteAck all", stub.Behaviour{Status: 200, Body: []byte("ok"), Chunked: true}, putRequest("/b/k", "x"), AckAll},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			events, options := watched(2, 30*time.Millisecond, 200*time.Millisecond)
			r := newRig(t, 2, options, func(o *Options, lo *limiter.Options) {
				o.WriteAck = tt.ack
				if tt.ack == AckAll {
					lo.StalledAfter = time.Hour // for the one that is waited for
				}
			})
			open := gated(t, r.stores[1])
			r.stores[0].Behave(tt.early)
			client := r.dial()
			client.Send(tt.request)
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && rs[0].Status != 0 })
			until(t, "the answer is in", func() bool { return r.limiter.Status(farFuture)[0].Stalled == 0 })
			if tt.ack == AckFirst {
				r.wantWaitingForTheClient(2)
			}
			wantStatus(t, r.put("/b/other", "x"), 503)
			if n, _ := events.count(); n != 0 {
				t.Fatalf("demoted: %+v", events.demoted)
			}
			open()
			client.Close()
		})
	}
}

// A backend that hangs in the middle of an answer is stalled, though its client
// waits for it.
func TestR13BackendThatHangsInItsAnswerIsStalled(t *testing.T) {
	t.Parallel()
	for name, chunked := range map[string]bool{"length": false, "chunked": true} {
		t.Run(name, func(t *testing.T) {
			events, options := watched(2, 50*time.Millisecond, 5*time.Second)
			r := newRig(t, 2, options)
			body := pattern(1 << 20)
			for _, s := range r.stores {
				s.Put("/b/k", []byte(body))
			}
			r.stores[1].Behave(stub.Fails(500)) // so that 0 wins
			r.stores[0].Behave(stub.Behaviour{Cut: stub.CutHang, CutAt: 512 << 10, Chunked: chunked})
			client := r.dial()
			client.Send(requestFor("GET", "/b/k"))
			a, err := client.ReadHeadTo("GET")
			if err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
			// The last few KiB may wait for more in the server's buffer.
			if _, err := client.ReadSome(a, 500<<10); err != nil {
				t.Fatal(err)
			}
			r.legsEnded(OutcomeNegative, 1) // or it may be the one that is stalled
			r.stores[1].Behave(stub.Behaviour{})
			wantStatus(t, r.put("/b/other", "x"), 200)
			if n, _ := events.count(); n != 1 || events.demoted[0].Backend != 0 {
				t.Fatalf("demotions: %+v", events.demoted)
			}
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			r.stores[0].Unhang()
			if err := client.ReadBody(a); err != nil || string(a.Body) != body {
				t.Fatalf("%d bytes, %v", len(a.Body), err)
			}
		})
	}
}

func TestR13FailuresInARowDemote(t *testing.T) {
	t.Parallel()
	events, options := watched(100, 0, time.Second)
	r := newRig(t, 2, options, func(_ *Options, lo *limiter.Options) { lo.FailureLimit = 3 })
	r.stores[1].Down()
	for i := range 6 {
		wantStatus(t, r.put(fmt.Sprint("/b/", i), "x"), 200)
		r.settled()
	}
	if n, _ := events.count(); n != 1 || events.demoted[0].Reason != limiter.ReasonFailures || events.demoted[0].Backend != 1 {
		t.Fatalf("demotions: %+v", events.demoted)
	}
	list := r.settled()
	if len(list) != 6 {
		t.Fatalf("%d records, want 6: %+v", len(list), list)
	}
	for i, d := range list {
		if (d.Error == "demoted") != (i >= 3) || d.FailedHost != r.host(1) {
			t.Fatalf("record %d: %+v", i, d)
		}
	}
	r.probing()
	testkit.MustDo(t, r.stores[1].Up())
	until(t, "the backend has returned", func() bool { return r.limiter.State(1) == limiter.StateActive })
	wantStatus(t, r.put("/b/again", "x"), 200)
	if d := r.settled(); len(d) != 6 {
		t.Fatalf("recorded after the return: %+v", d[6:])
	}
	wantStored(t, r.stores[1], "/b/again", "x")
	if n := r.stores[0].Requests().Count(func(q *stub.Request) bool { return q.Method == "HEAD" }); n != 0 {
		t.Fatalf("%d probes of a backend that was never demoted", n)
	}
}

// With every storage dead, one stays in the pool: it is still asked.
func TestR13FailuresNeverDemoteTheLast(t *testing.T) {
	t.Parallel()
	events, options := watched(100, 0, time.Second)
	r := newRig(t, 2, options, func(_ *Options, lo *limiter.Options) { lo.FailureLimit = 1 })
	for _, s := range r.stores {
		s.Down()
	}
	for i := range 5 {
		wantStatus(t, r.put(fmt.Sprint("/b/", i), "x"), 503)
		r.settled()
	}
	if n, _ := events.count(); n != 1 {
		t.Fatalf("%d demotions, want 1", n)
	}
	r.wantNoRecords()
	for _, s := range r.stores {
		testkit.MustDo(t, s.Up())
	}
	wantStatus(t, r.put("/b/up", "x"), 200)
	if d := r.settled(); len(d) != 1 || d[0].Error != "demoted" {
		t.Fatalf("records: %+v", d)
	}
}

// returningLimiter lets a demoted backend return right after it was left out of
// a request.
type returningLimiter struct {
	Limiter
	out atomic.Uint64
}

func (l *returningLimiter) TryBegin(_ int64, want uint64, slots *[MaxBackends]int32) (uint64, bool) {
	*slots = [MaxBackends]int32{}
	return want &^ l.out.Load(), true
}
func (l *returningLimiter) State(int) string { return stateActive }

func TestR15BackendThatReturnsMeanwhileWasStillSkipped(t *testing.T) {
	t.Parallel()
	l := &returningLimiter{}
	l.out.Store(0b10)
	var log testLog
	e, err := New(Options{
		Backends: strangers(2), Limiter: l, Log: &log, Metrics: discardMetrics{}, WriteAck: AckFirst, RingSize: 4096,
	})
	testkit.MustDo(t, err)
	r := newRequest(e)
	r.head.write = true
	if problem := r.takeSlots(e.all); problem != nil {
		t.Fatal(problem)
	}
	if r.race.skipped != 0b10 || r.race.reasons[1] != "demoted" {
		t.Fatalf("skipped %b for %q", r.race.skipped, r.race.reasons[1])
	}
}
