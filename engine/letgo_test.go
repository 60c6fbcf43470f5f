package engine

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/body"
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// TestR13DemotionLetsGo: who waits for a backend that leaves the pool does not any longer; the leg is reset
// and what it lacks is owed.
func TestR13DemotionLetsGo(t *testing.T) {
	t.Parallel()
	large := pattern(12 << 20)
	t.Run("in the body", func(t *testing.T) {
		t.Parallel()
		r := newTightRig(t, 2, withRing(64<<10))
		r.stores[1].Behave(stub.Behaviour{During: stub.HangThere, After: 1000})
		c := r.dial()
		go func() { _, _ = c.Write([]byte(putRequest("/b/k", large))) }()
		r.stores[1].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
		r.e.LetGo(1, false)
		wantStatus(t, c.Answer(), 200)
		wantStored(t, r.stores[0], "/b/k", large)
		r.wantRecords("/b/k", "demoted", 1)
		if f := r.failures(); f[0] != 0 || f[1] != 0 {
			t.Errorf("failures %v", f)
		}
	})
	t.Run("for its answer", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2, anyway(func(o *Options) { o.WriteAck = AckAll }))
		r.stores[1].Behave(stub.Behaviour{HangAfterBody: true})
		c := r.dial()
		c.Send(putRequest("/b/k", "x"))
		r.stores[1].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && len(rs[0].Body) == 1 })
		r.e.LetGo(1, false)
		a, err := c.ReadAnswer()
		if err != nil || a.Status == 200 {
			t.Fatalf("%+v, %v: not all have it", a, err)
		}
		r.wantRecords("/b/k", "demoted", 1)
	})
	// Nobody else is left who may answer: to cut it would only be another failure.
	t.Run("the others have failed", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2)
		r.stores[0].Behave(stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer})
		open := gated(t, r.stores[1])
		c := r.dial()
		c.Send(putRequest("/b/k", "x"))
		until(t, "the other one has failed", func() bool { return r.voted() == 1 })
		r.e.LetGo(1, false)
		open()
		wantStatus(t, c.Answer(), 200)
		wantStored(t, r.stores[1], "/b/k", "x")
	})
	// Nobody waits for it: it may go on, unless nothing reaches the backend.
	for _, all := range []bool{false, true} {
		t.Run("in the background", func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			open := gated(t, r.stores[1])
			wantStatus(t, r.put("/b/k", "x"), 200)
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			r.e.LetGo(1, all)
			if all {
				r.wantRecords("/b/k", "demoted", 1)
				return
			}
			open()
			r.wantRecords("/b/k", "")
		})
	}
}

// A read that hangs goes elsewhere when its backend leaves the pool (R30), also in the middle of its answer.
func TestR13R30DemotionLetsReadsGo(t *testing.T) {
	t.Parallel()
	body := pattern(4 << 20)
	for name, b := range map[string]stub.Behaviour{
		"before the answer": {HangAfterBody: true},
		"in the answer":     {Cut: stub.CutHang, CutAt: 1 << 20},
		"any time":          {Cut: stub.CutHang, CutAt: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, anyway(func(o *Options) {
				o.ReadPolicy, o.StaleReads, o.ReadFrom = ReadPrefer, StaleRefuse, []int{10, 1}
			}))
			for _, s := range r.stores {
				s.Put("/b/k", []byte(body))
			}
			r.stores[0].Behave(b)
			c := r.dial()
			c.Send(requestFor("GET", "/b/k"))
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
			a := &stub.Answer{}
			if name == "in the answer" {
				var err error
				a, err = c.ReadHeadTo("GET")
				testkit.MustDo(t, err)
			}
			stop := make(chan struct{})
			var sweeps sync.WaitGroup
			sweeps.Go(func() { // as who watches the backends does
				for {
					r.e.LetGo(0, true)
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			})
			var err error
			if a.Status != 0 {
				err = c.ReadBody(a)
			} else {
				a, err = c.ReadAnswer()
			}
			close(stop)
			testkit.Finish(t, "the sweeps end", sweeps.Wait)
			testkit.MustDo(t, err)
			wantStatus(t, a, 200)
			if string(a.Body) != body {
				t.Errorf("%d other bytes", len(a.Body))
			}
		})
	}
}

// A conditional write whose decider leaves the pool before that can have decided is decided by the next one (R29),
// unless that has left, too.
func TestR13R29DemotedDeciderIsReplaced(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string][]int{"the first": {0}, "the first two": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTightRig(t, 3, withRing(64<<10), anyway(func(o *Options) { o.ReadFrom = []int{3, 2, 1} })) // their order
			r.stores[0].Behave(stub.Behaviour{During: stub.HangThere, After: 1000})
			large := pattern(12 << 20)
			c := r.dial()
			go func() { _, _ = c.Write([]byte(conditional("PUT", "/b/k", large))) }()
			for _, s := range r.stores {
				s.Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
			}
			for _, i := range gone {
				r.e.LetGo(i, false)
			}
			wantStatus(t, c.Answer(), 200)
			r.wantRecords("/b/k", "demoted", gone...)
			wantStored(t, r.stores[2], "/b/k", large)
		})
	}
}

// An answer that goes on from another backend, since its own has left the pool, ends with the proxy all the same
// (R22), and with its client.
func TestR13R22LetGoIsNotTheLastWord(t *testing.T) {
	t.Parallel()
	for cause, over := range map[error]bool{errShutdown: true, errClientGone: true, errStalled: false} {
		r := newRequest(newRig(t, 2).e)
		r.legs = r.legs[:1]
		l := &r.legs[0]
		l.r = r
		r.message.Begin(body.Options{Head: []byte("GET / HTTP/1.1\r\n\r\n"), Readers: 1})
		l.abort(errDemoted)
		if err := l.whyOver(); err != nil {
			t.Errorf("over, for its backend has left: %v", err)
		}
		l.abort(cause)
		if err := l.whyOver(); (err != nil) != over {
			t.Errorf("%v: over is %v", cause, err)
		}
		r.message.Put()
	}
}

// countedDials is a backend that nothing reaches, and which counts who tries.
type countedDials struct {
	dialer
	now, most atomic.Int64
}

func (b *countedDials) Acquire(bool) (Conn, error) {
	return &countedDial{dialing: dialing{aborted: make(chan struct{})}, b: b}, nil
}

type countedDial struct {
	dialing
	b *countedDials
}

func (c *countedDial) Connect() error {
	n := c.b.now.Add(1)
	defer c.b.now.Add(-1)
	for old := c.b.most.Load(); n > old && !c.b.most.CompareAndSwap(old, n); old = c.b.most.Load() {
	}
	return c.dialing.Connect()
}

// TestR13DialsAreBounded: a backend that cannot be reached is not dialled by every request at once, and what
// failed is recorded as a dial that failed. It is over when the backend has left the pool.
func TestR13DialsAreBounded(t *testing.T) {
	t.Parallel()
	b := &countedDials{}
	r := newRig(t, 2, anyway(func(o *Options) {
		b.name = o.Backends[0].Name()
		o.Backends[0] = b
		o.SlotTimeout = 200 * time.Millisecond
	}), func(_ *Options, lo *limiter.Options) { lo.FailureLimit = 10 })
	c := r.dial()
	const n = 2*maxDials + 50
	for i := range n { // of a key each: who follows another write waits for that (R19)
		wantStatus(t, c.Do(putRequest(fmt.Sprint("/b/k", i), "x")), 200)
		if r.limiter.State(0) == limiter.StateDemoted {
			break
		}
	}
	until(t, "it has left the pool", func() bool { return r.limiter.State(0) == limiter.StateDemoted })
	until(t, "nobody waits for a place", func() bool { return r.limiter.Status(r.e.now())[0].Busy <= maxDials })
	if most := b.most.Load(); most > maxDials {
		t.Errorf("%d dials at a time", most)
	}
	until(t, "the failures that it left for are recorded", func() bool {
		dials := 0
		for _, d := range r.records.list() {
			switch {
			case strings.HasPrefix(d.Error, "cannot connect to backend") && strings.Contains(d.Error, "no connection within ConnectionDialTimeout"):
				dials++
			case d.Error == errDemoted.Error(), d.Error == "demoted", d.Error == outcome.OutOfOrder:
			default:
				t.Fatalf("record says %q", d.Error)
			}
		}
		return dials >= 10
	})
	r.e.LetGo(0, true)
	r.settled()
	var d dials
	for range maxDials {
		if !d.tryBegin(1) {
			t.Error("no place for the first ones")
		}
	}
	if d.tryBegin(1) {
		t.Error("a place for another one")
	}
	d.end(2, true)
	if first, second := d.tryBegin(3), d.tryBegin(3); !first || !second || d.tryBegin(3+justNow) {
		t.Error("more have places once one has succeeded, for a second")
	}
	if b.now.Load() != 0 {
		t.Errorf("%d dials go on", b.now.Load())
	}
}
