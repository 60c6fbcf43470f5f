package engine

import (
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// ownPollers has the connections of each storage watched by pollers of its own.
func ownPollers(t *testing.T, stores []*stub.Server) setup {
	return func(o *Options, _ *limiter.Options) {
		for i, s := range stores {
			w := netio.NewWatcher()
			w.Start()
			t.Cleanup(w.Close)
			u, err := url.Parse(s.URL())
			testkit.MustDo(t, err)
			b, err := backends.New(backends.Options{URL: u, DialTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, ReadBuffer: 16 << 10, Watcher: w})
			testkit.MustDo(t, err)
			t.Cleanup(b.Close)
			o.Backends[i] = testBackend{b}
		}
	}
}

// putMany has each poller of the storages watch some connections, or finds out that one
// does not.
func (r *rig) putMany(n, inFlight int) {
	r.t.Helper()
	gate := make(chan struct{})
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Gate: gate})
	}
	held := r.stores[0].Requests().Held()
	var clients []*stub.Client
	for i := range n {
		c := r.dial()
		c.Send(putRequest("/b/"+strconv.Itoa(i), "body"))
		clients = append(clients, c)
	}
	r.stores[0].Wait(r.t, func(rs stub.Requests) bool { return rs.Held() == held+n })
	close(gate)
	for _, c := range clients {
		if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
			r.t.Fatal(a, err)
		}
	}
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{})
	}
	until(r.t, "each leg of the others has ended", func() bool { return r.e.InFlight() == inFlight })
}

// A leg that has decided its request waits for no disk when another one ends in the gap
// before it answers (R20): it may be on a poller's goroutine, which has others to look at.
func TestGapBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	const many = 16
	stores := []*stub.Server{stub.New(t), stub.New(t), stub.New(t)}
	r := newRigOn(t, stores, ownPollers(t, stores))
	r.putMany(many, 0)

	inGap, onDisk := make(chan struct{}), make(chan struct{})
	held, written := make(chan struct{}, 1), make(chan struct{}, 1)
	t.Cleanup(sync.OnceFunc(func() { close(onDisk) }))
	var once sync.Once
	gap := func(outcome string) { // the refusal is disposed of after the decision
		if outcome == OutcomeNegative {
			once.Do(func() {
				held <- struct{}{}
				<-inGap
			})
		}
	}
	r.metrics.before.Store(&gap)
	r.journal.busy.Store(true)
	write := func(es []Promise) {
		if string(es[0].Key) == "slow" {
			written <- struct{}{}
			<-onDisk
		}
	}
	r.journal.promise.Store(&write)

	first, second := make(chan struct{}), make(chan struct{})
	stores[2].BehaveNext(stub.Behaviour{Status: 403, Body: make([]byte, 1<<20)})
	stores[0].BehaveNext(stub.Behaviour{Gate: first})
	stores[1].BehaveNext(stub.Behaviour{Gate: second})
	c := r.dial()
	c.Send(putRequest("/b/slow", "body"))
	for _, s := range stores[:2] {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}
	until(t, "the refusal has come", func() bool { return r.voted() == 1 })
	close(first)
	testkit.Receive(t, "who is held back", held) // decided, and not answered
	close(second)
	testkit.Receive(t, "what is written", written) // by the last leg
	close(inGap)
	r.putMany(many, 1)
	onDisk <- struct{}{}
	if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
		t.Fatal(a, err)
	}
	r.metrics.before.Store(nil)
	r.settled()
}

// The same where the intent is being written in the gap: how the write has ended is
// written down by a goroutine of its own then.
func TestGapBehindTheIntent(t *testing.T) {
	t.Parallel()
	const many = 16
	stores := []*stub.Server{stub.New(t), stub.New(t)}
	r := newRigOn(t, stores, ownPollers(t, stores))
	r.putMany(many, 0)

	inGap, onDisk := make(chan struct{}), make(chan struct{})
	held, settling := make(chan struct{}, 1), make(chan struct{}, 1)
	intend := func(es []Promise) {
		if string(es[0].Key) == "slow" && es[0].Open {
			held <- struct{}{}
			<-inGap
		}
	}
	r.journal.promise.Store(&intend)
	settle := func(owed uint64) {
		if owed != 0 {
			settling <- struct{}{}
			<-onDisk
		}
	}
	r.journal.settle.Store(&settle)

	first, second := make(chan struct{}), make(chan struct{})
	stores[0].BehaveNext(stub.Behaviour{Gate: first})
	stores[1].BehaveNext(stub.Behaviour{Gate: second, Status: 500})
	c := r.dial()
	c.Send(putRequest("/b/slow", "body"))
	for _, s := range stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}
	close(first)
	testkit.Receive(t, "who is held back", held) // writes the intent
	close(second)
	until(t, "the last leg leaves it to who answers", func() bool { return r.find("slow", func(r *request) bool { return r.ledger.state == journalLeft }) })
	close(inGap)
	testkit.Receive(t, "the last leg", settling)
	if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
		t.Fatal(a, err)
	}
	r.putMany(many, 1)
	close(onDisk)
	r.wantOwing("PUT slow 10 answered 500")
}

// A decider that fails ends the legs that are parked, the last of which writes down what it may have stored: not on
// the goroutine of a poller, either.
func TestGapBehindARefusal(t *testing.T) {
	t.Parallel()
	const many = 16
	stores := []*stub.Server{stub.New(t), stub.New(t)}
	r := newRigOn(t, stores, decidedBy, ownPollers(t, stores))
	r.putMany(many, 0)

	onDisk, written := make(chan struct{}), make(chan struct{}, 1)
	release := sync.OnceFunc(func() { close(onDisk) })
	t.Cleanup(release)
	write := func(es []Promise) {
		if string(es[0].Key) == "slow" {
			written <- struct{}{}
			<-onDisk
		}
	}
	r.journal.promise.Store(&write)
	stores[0].BehaveNext(stub.Behaviour{Status: 500})
	c := r.dial()
	c.Send(conditional("PUT", "/b/slow", "body"))
	testkit.Receive(t, "what is written", written)
	r.putMany(many, 1)
	release()
	wantStatus(t, c.Answer(), 500)
	r.settled()
	wantAbsent(t, stores[1], "/b/slow")
}

// find reports whether ok says yes of the request for a key that is under way.
func (r *rig) find(key string, ok func(*request) bool) (found bool) {
	for _, q := range r.e.list() {
		q.mu.Lock()
		found = found || string(q.head.target.Key) == key && ok(q)
		q.mu.Unlock()
		q.release()
	}
	return found
}
