package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// TestMain looks for goroutines that outlive all tests. The connection pool of
// fasthttp has one of its own a backend, which ends by itself.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, ignored...) }

var ignored = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
}

// patience is for what should take no time, on a machine that is very busy.
const patience = time.Minute

// rig is an engine in front of stub storages.
type rig struct {
	t       testing.TB
	e       *Engine
	addr    string
	stores  []*stub.Server
	limiter *limiter.Limiter
	records *recorder
	log     *testLog
	metrics *testMetrics
	journal *ledger // what was promised (R20)
	stopped bool
	panics  bool // the test makes the engine panic
}

// recorder is a synclog in memory.
type recorder struct {
	mu     sync.Mutex
	cond   *sync.Cond
	all    []Divergence
	before atomic.Pointer[func()] // called before a record is taken; may wait
}

func (r *recorder) Record(d *Divergence) {
	if f := r.before.Load(); f != nil {
		(*f)()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, *d)
	r.cond.Broadcast()
}

func (r *recorder) list() []Divergence {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Divergence(nil), r.all...)
}

// testLog keeps what the engine says.
type testLog struct {
	mu     sync.Mutex
	warned []string
	access []Access
	// logsAccess: Access is wanted (logged). A request for which it is takes another way.
	logsAccess bool
	before     atomic.Pointer[func(a *Access)] // called before an access is taken; may wait
}

// logged is a setup with an access log.
func logged(o *Options, _ *limiter.Options) { o.Log.(*testLog).logsAccess = true }

func (l *testLog) Warn(msg string, kv ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warned = append(l.warned, fmt.Sprint(append([]any{msg}, kv...)...))
}

func (l *testLog) AccessEnabled() bool { return l.logsAccess }

func (l *testLog) Access(a *Access) {
	if f := l.before.Load(); f != nil {
		(*f)(a)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.access = append(l.access, *a)
}

// testLeg is a leg that has ended.
type testLeg struct {
	backend int
	LegEnd
}

// testMetrics counts outcomes.
type testMetrics struct {
	mu       sync.Mutex
	outcomes map[string]int
	begun    int
	requests int
	legs     []testLeg
	before   atomic.Pointer[func(outcome string)] // called before the end of a leg is taken; may wait
}

func (m *testMetrics) RequestBegun() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun++
}
func (m *testMetrics) RequestEnded(string, int, int64, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
}

func (m *testMetrics) LegEnded(backend int, l LegEnd) {
	if f := m.before.Load(); f != nil {
		(*f)(l.Outcome)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes[l.Outcome]++
	m.legs = append(m.legs, testLeg{backend, l})
}
func (m *testMetrics) LegSkipped(backend int, class Class, why Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.legs = append(m.legs, testLeg{backend, LegEnd{Class: class, Result: why}})
}
func (m *testMetrics) Refused(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes["refused "+reason]++
}
func (m *testMetrics) LegsEnded(time.Duration)      {}
func (m *testMetrics) RingWaited(time.Duration)     {}
func (m *testMetrics) Diverged(int, string, string) {}
func (m *testMetrics) Read(event string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes["read "+event]++
}

func (m *testMetrics) count(outcome string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.outcomes[outcome]
}

// testBackend makes a backend fit the engine's interface, as main does.
type testBackend struct{ *backends.Backend }

func (b testBackend) Acquire(fresh bool) (Conn, error) {
	c, err := b.Backend.Acquire(fresh)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// setup changes the options of a rig before it starts.
type setup func(*Options, *limiter.Options)

// newRig starts an engine before n stub storages. Everything is stopped, and
// looked at for what must always hold, when the test ends.
func newRig(t testing.TB, n int, setups ...setup) *rig {
	t.Helper()
	var stores []*stub.Server
	for range n {
		stores = append(stores, stub.New(t))
	}
	return newRigOn(t, stores, setups...)
}

func newRigOn(t testing.TB, stores []*stub.Server, setups ...setup) *rig {
	t.Helper()
	r := &rig{
		t: t, stores: stores, records: &recorder{}, log: &testLog{}, metrics: &testMetrics{outcomes: map[string]int{}},
		journal: &ledger{all: 1<<len(stores) - 1, entries: map[uint64]*entry{}},
	}
	r.records.cond = sync.NewCond(&r.records.mu)
	watcher := netio.NewWatcher()
	watcher.Start()
	t.Cleanup(watcher.Close)
	var pool []Backend
	var names []string
	for _, s := range stores {
		u, err := url.Parse(s.URL())
		testkit.MustDo(t, err)
		b, err := backends.New(backends.Options{URL: u, DialTimeout: patience, IdleTimeout: 30 * time.Second, ReadBuffer: 16 << 10, Watcher: watcher})
		testkit.MustDo(t, err)
		t.Cleanup(b.Close)
		pool = append(pool, testBackend{b})
		names = append(names, b.Name())
	}
	lo := limiter.Options{Backends: names, ConnLimit: 10000}
	o := Options{
		Backends: pool, Synclog: r.records, Log: r.log, Metrics: r.metrics,
		ConnectionTimeout: patience, StallTimeout: patience, SlotTimeout: patience,
		RingSize: 256 << 10, MaxHeaderSize: 16 << 10, MaxConcurrentRequests: 10000, MaxConnections: 10000,
		WriteAck: AckFirst, PrimaryWait: patience, CompareETags: true, Journal: r.journal,
		drainGrace: time.Millisecond, firstTimeout: patience,
	}
	for _, s := range setups {
		s(&o, &lo)
	}
	r.limiter = limiter.New(lo)
	if w, ok := o.Limiter.(wiredLimiter); ok {
		w.Limiter = r.limiter
		o.Limiter = w
	} else if w, ok := o.Limiter.(interface{ over(l *limiter.Limiter) }); ok {
		w.over(r.limiter)
	} else {
		o.Limiter = r.limiter
	}
	e, err := New(o)
	testkit.MustDo(t, err)
	r.e = e
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	r.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- e.Serve(ln) }()
	t.Cleanup(func() {
		r.stop(patience)
		if err := testkit.Receive(t, "the end of Serve", served); err != nil {
			t.Errorf("Serve: %v", err)
		}
		r.checkRest()
	})
	return r
}

// stop shuts the engine down, once.
func (r *rig) stop(timeout time.Duration) {
	if r.stopped {
		return
	}
	r.stopped = true
	// A storage that hangs would hold the shutdown until its end.
	for _, s := range r.stores {
		s.Unhang()
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := r.e.Shutdown(ctx); err != nil {
		r.t.Errorf("Shutdown: %v", err)
	}
}

// checkRest holds what must be true of every engine at rest.
func (r *rig) checkRest() {
	if n := r.e.InFlight(); n != 0 {
		r.t.Errorf("%d requests in flight at rest", n)
	}
	for _, s := range r.limiter.Status(r.e.now()) {
		if s.Busy != 0 {
			r.t.Errorf("backend %s has %d busy connections at rest", s.Name, s.Busy)
		}
	}
	r.checkJournal()
	r.checkResets()
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	for _, w := range r.log.warned {
		if strings.Contains(w, "panic") && !r.panics {
			r.t.Errorf("the engine panicked: %s", w)
		}
	}
}

// checkResets holds R31: what a backend got a part of ended in a reset. Some storages take
// a FIN for the end of the body, and store what they have.
func (r *rig) checkResets() {
	for _, s := range r.stores {
		for _, q := range s.Requests() {
			if q.Aborted && !errors.Is(q.Err, syscall.ECONNRESET) {
				r.t.Errorf("backend %s was given a part of a request, and then no reset (R31): %s", s.Addr(), q)
			}
		}
	}
}

// settled waits until no request is in flight, and returns the divergences.
func (r *rig) settled() []Divergence {
	r.t.Helper()
	until(r.t, "no request is in flight", func() bool { return r.e.InFlight() == 0 })
	return r.records.list()
}

// wantNoRecords checks that nothing was recorded by then.
func (r *rig) wantNoRecords() {
	r.t.Helper()
	if d := r.settled(); len(d) > 0 {
		r.t.Errorf("recorded: %+v", d)
	}
}

func (r *rig) dial() *stub.Client { return stub.Dial(r.t, r.addr) }

func (r *rig) dialTo(addr string) *stub.Client { return stub.Dial(r.t, addr) }

// host is the name of store i in records.
func (r *rig) host(i int) string { return r.stores[i].Addr() }

// put sends a PUT of body, and returns its answer.
func (r *rig) put(path, body string) *stub.Answer {
	r.t.Helper()
	return r.dial().Do(putRequest(path, body))
}

func putRequest(path, body string) string {
	return fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func requestFor(method, path string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: s3.test\r\n\r\n"
}

func wantStatus(t testing.TB, a *stub.Answer, status int) {
	t.Helper()
	if a.Status != status {
		t.Fatalf("answer is %d, want %d (body %.300q)", a.Status, status, a.Body)
	}
}

// wantStored checks that a storage has this object.
func wantStored(t testing.TB, s *stub.Server, path, body string) {
	t.Helper()
	o, ok := s.Object(path)
	if !ok {
		t.Fatalf("storage %s has no %s", s.Addr(), path)
	}
	if string(o.Body) != body {
		t.Fatalf("storage %s has %d bytes at %s, want %d", s.Addr(), len(o.Body), path, len(body))
	}
}

// wantAllStored checks that every backend has the object.
func (r *rig) wantAllStored(path, body string) {
	r.t.Helper()
	for _, s := range r.stores {
		wantStored(r.t, s, path, body)
	}
}

func wantAbsent(t testing.TB, s *stub.Server, path string) {
	t.Helper()
	if _, ok := s.Object(path); ok {
		t.Fatalf("storage %s has %s", s.Addr(), path)
	}
}

// wantAllAbsent checks that no backend has the object.
func (r *rig) wantAllAbsent(path string) {
	r.t.Helper()
	for _, s := range r.stores {
		wantAbsent(r.t, s, path)
	}
}

// pattern is n bytes that repeat nowhere soon.
func pattern(n int) string {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return string(b)
}
