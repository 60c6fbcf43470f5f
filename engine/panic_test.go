package engine

import (
	"context"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// bomb panics once it is armed, the n-th time that it is asked.
type bomb struct{ left atomic.Int64 }

func (b *bomb) arm(n int64) { b.left.Store(n) }

func (b *bomb) tick() {
	if b.left.Load() > 0 && b.left.Add(-1) == 0 {
		panic("boom")
	}
}

// wired are an engine's hooks with a bomb in each method that is named.
type wired struct {
	name string
	bomb *bomb
}

func (w wired) at(name string) {
	if w.name == name {
		w.bomb.tick()
	}
}

type wiredJournal struct {
	wired
	Journal
}

func (j wiredJournal) Begin(method string, bucket, key, host, target []byte) (JournalWrite, error) {
	j.at("Begin")
	w, err := j.Journal.Begin(method, bucket, key, host, target)
	if err != nil {
		return nil, err
	}
	return &wiredWrite{wired: j.wired, JournalWrite: w}, nil
}
func (j wiredJournal) Stamp(now time.Time) uint64 { j.at("Stamp"); return j.Journal.Stamp(now) }
func (j wiredJournal) Refuses() bool              { j.at("Refuses"); return j.Journal.Refuses() }
func (j wiredJournal) Quiet() bool                { j.at("Quiet"); return j.Journal.Quiet() }
func (j wiredJournal) Owed(bucket, key []byte) uint64 {
	j.at("Owed")
	return j.Journal.Owed(bucket, key)
}

func (j wiredJournal) OwedIn(bucket []byte, counts []int) {
	j.at("OwedIn")
	j.Journal.OwedIn(bucket, counts)
}

func (j wiredJournal) OwedApart(bucket []byte, last uint64, owed, underWay []int) uint64 {
	j.at("OwedApart")
	return j.Journal.OwedApart(bucket, last, owed, underWay)
}

type wiredWrite struct {
	wired
	JournalWrite
	acknowledged bool
}

func (w *wiredWrite) Add(bucket, key, target []byte) error {
	w.at("Add")
	return w.JournalWrite.Add(bucket, key, target)
}
func (w *wiredWrite) Waits() bool      { w.at("Waits"); return w.JournalWrite.Waits() }
func (w *wiredWrite) Leave(p *Promise) { w.at("Leave"); w.JournalWrite.Leave(p) }
func (w *wiredWrite) Acknowledge(ps []Promise) error {
	w.at("Acknowledge")
	w.acknowledged = true
	return w.JournalWrite.Acknowledge(ps)
}
func (w *wiredWrite) Settle(ps []Promise) error {
	if w.acknowledged {
		w.at("Settle acknowledged")
	} else {
		w.at("Settle")
	}
	return w.JournalWrite.Settle(ps)
}

type wiredMetrics struct {
	wired
	Metrics
}

func (m wiredMetrics) RequestBegun() { m.at("RequestBegun"); m.Metrics.RequestBegun() }
func (m wiredMetrics) RequestEnded(method string, status int, in int64, first time.Duration) {
	m.at("RequestEnded")
	m.Metrics.RequestEnded(method, status, in, first)
}
func (m wiredMetrics) LegEnded(backend int, l LegEnd) {
	m.at("LegEnded")
	m.Metrics.LegEnded(backend, l)
}
func (m wiredMetrics) LegsEnded(last time.Duration) { m.at("LegsEnded"); m.Metrics.LegsEnded(last) }
func (m wiredMetrics) Diverged(backend int, op, reason string) {
	m.at("Diverged")
	m.Metrics.Diverged(backend, op, reason)
}
func (m wiredMetrics) RingWaited(d time.Duration) { m.at("RingWaited"); m.Metrics.RingWaited(d) }

type wiredLog struct {
	wired
	Log
}

func (l wiredLog) Access(a *Access) { l.at("Access"); l.Log.Access(a) }

type wiredSynclog struct {
	wired
	Synclog
}

func (s wiredSynclog) Record(d *Divergence) { s.at("Record"); s.Synclog.Record(d) }

type wiredLimiter struct {
	wired
	Limiter
}

func (l wiredLimiter) Progress(backend int, slot int32, now int64) {
	l.at("Progress")
	l.Limiter.Progress(backend, slot, now)
}
func (l wiredLimiter) Answered(backend int, slot int32, now int64) {
	l.at("Answered")
	l.Limiter.Answered(backend, slot, now)
}
func (l wiredLimiter) Succeeded(backend int) { l.at("Succeeded"); l.Limiter.Succeeded(backend) }

type wiredBackend struct {
	wired
	Backend
}

func (b wiredBackend) Acquire(fresh bool) (Conn, error) {
	b.at("Acquire")
	return b.Backend.Acquire(fresh)
}
func (b wiredBackend) Plain() bool { b.at("Plain"); return b.Backend.Plain() }

// Wherever something panics, in the handler before the legs run and after, in a leg's
// goroutine, on a poller: the request ends, with its legs, slots and overlaps, the
// process goes on, and so does its end (R22).
func TestR22PanicsEndTheirRequest(t *testing.T) {
	t.Parallel()
	hooks := []string{
		"Begin", "Add", "Stamp", "Leave", "Acknowledge", "Settle", "Settle acknowledged", "Refuses", "Waits", "Quiet", "Owed", "Wanted",
		"RequestBegun", "RequestEnded", "LegEnded", "LegsEnded", "Diverged",
		"Access", "Record", "Progress", "Answered", "Succeeded", "Acquire", "Plain",
	}
	requests := map[string]string{
		"put": putRequest("/b/k", "body"), "large put": putRequest("/b/k", pattern(1<<20)), "get": requestFor("GET", "/b/large"),
		"delete": requestFor("DELETE", "/b/k"), "deletes": deleteRequestOf("k", "l"),
		"chunked": "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"expect":  "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
		"old":     "GET /b/large HTTP/1.0\r\nHost: s3.test\r\n\r\n",
		"upload":  "POST /b/k?uploads HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n",
		"copy":    copyRequest("/b/c", "/b/large"), "copy of nothing": copyRequest("/b/c", "/b/owed"),
	}
	contentType, body := formOf("f", "file", "key", "k")
	requests["form"] = formRequest("/b", contentType, body)
	requests["conditional"], requests["large conditional"] = conditional("PUT", "/b/one", "body"), conditional("PUT", "/b/two", pattern(300<<10))
	for _, hook := range hooks {
		t.Run(hook, func(t *testing.T) {
			t.Parallel()
			for _, log := range []bool{false, true} {
				w := wired{hook, &bomb{}}
				var e *Engine
				r := newRig(t, 2, func(o *Options, _ *limiter.Options) {
					o.Log.(*testLog).logsAccess = log
					o.Limiter = wiredLimiter{wired: w}
					o.Log = wiredLog{w, o.Log}
					o.Journal = wiredJournal{w, o.Journal}
					o.Metrics = wiredMetrics{w, o.Metrics}
					o.Synclog = wiredSynclog{w, o.Synclog}
					o.Wanted = func(string, string) { w.at("Wanted") }
					o.answerPulse = time.Millisecond
					for i := range o.Backends {
						o.Backends[i] = wiredBackend{w, o.Backends[i]}
					}
				})
				e = r.e
				r.panics = true
				for _, s := range r.stores {
					s.Put("/b/large", make([]byte, 300<<10))
				}
				r.journal.owe("b", "owed", 0b11)
				for name, request := range requests {
					for n := range int64(4) {
						var gate chan struct{}
						if strings.HasPrefix(name, "copy") { // its answer begins before they answer
							gate = make(chan struct{})
							time.AfterFunc(5*time.Millisecond, func() { close(gate) })
							r.stores[0].BehaveNext(stub.Behaviour{Gate: gate})
						}
						r.stores[1].BehaveNext(stub.Behaviour{Status: []int{0, 500}[n%2], Gate: gate})
						r.journal.busy.Store(n < 2)
						w.bomb.arm(n/2 + 1)
						c := r.dial()
						c.Send(request)
						_, _ = c.ReadAnswer() // or none: its connection may end
						c.Close()
						until(t, name+", with "+hook+": nothing is in flight", func() bool { return e.InFlight() == 0 })
						w.bomb.arm(0)
						for _, s := range r.limiter.Status(e.now()) {
							if s.Busy != 0 {
								t.Fatalf("%s, with %s the %d. time: %d busy connections", name, hook, n/2+1, s.Busy)
							}
						}
						if e.handling.Load() != 0 {
							t.Fatalf("%s, with %s the %d. time: %d are handled", name, hook, n/2+1, e.handling.Load())
						}
						if hook != "Begin" && len(r.journal.underWay()) > 0 {
							t.Fatalf("%s, with %s the %d. time: under way are %v", name, hook, n/2+1, r.journal.underWay())
						}
						r.wantNoOverlaps()
						for _, s := range r.stores {
							s.Behave(stub.Behaviour{})
						}
					}
				}
				if hook == "Settle acknowledged" { // what it was asked it never did
					r.journal.mu.Lock()
					maps.DeleteFunc(r.journal.entries, func(_ uint64, e *entry) bool { return e.Open })
					r.journal.mu.Unlock()
				}
				// And it works.
				a := r.dial().Do(putRequest("/b/k", "body"))
				wantStatus(t, a, 200)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if err := e.Shutdown(ctx); err != nil {
					t.Errorf("the end: %v", err)
				}
				cancel()
				r.stopped = true
			}
		})
	}
}

// What a panic leaves unwritten is not acknowledged (R20), and what a backend took of it
// is written down where that still goes.
func TestR20NothingIsAcknowledgedForAPanic(t *testing.T) {
	t.Parallel()
	for _, hook := range []string{"Acknowledge", "Settle", "Answered"} {
		t.Run(hook, func(t *testing.T) {
			w := wired{hook, &bomb{}}
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) {
				o.Limiter, o.Journal = wiredLimiter{wired: w}, wiredJournal{w, o.Journal}
			})
			r.panics = true
			c := r.dial()
			for range 2 { // on fresh connections, and by way of a poller
				wantStatus(t, c.Do(putRequest("/b/k", "body")), 200)
			}
			r.settled()
			r.journal.busy.Store(true)
			w.bomb.arm(1)
			if hook != "Settle" {
				open := gated(t, r.stores[1])
				t.Cleanup(open)
				c.Send(putRequest("/b/k", "other"))
				if a, err := c.ReadAnswer(); err == nil && a.Status < 500 {
					t.Errorf("answered %d", a.Status)
				}
				open()
			} else {
				r.stores[1].BehaveNext(stub.Fails(500))
				c.Send(putRequest("/b/k", "other"))
				_, _ = c.ReadAnswer()
			}
			r.settled()
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			if said := strings.Join(r.log.warned, "\n"); hook != "Settle" && !strings.Contains(said, "boom") {
				t.Errorf("no panic: %s", said)
			}
		})
	}
}
