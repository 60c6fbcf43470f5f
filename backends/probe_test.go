package backends

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

func TestR13ProbeTakesAnyAnswer(t *testing.T) {
	tests := []struct {
		name      string
		behaviour stub.Behaviour
		ok        bool
	}{
		{"200", stub.Behaviour{}, true},
		{"403", stub.Fails(403), true},
		{"404", stub.Fails(404), true},
		{"500", stub.Fails(500), true},
		{"301", stub.Fails(301), true},
		{"204", stub.Fails(204), true},
		{"closing", stub.Behaviour{Then: stub.SayClose}, true},
		{"no answer", stub.Behaviour{HangAfterBody: true}, false},
		{"closes", stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer}, false},
		{"resets", stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}, false},
		{"half a head", stub.Behaviour{Cut: stub.CutClose, CutAt: stub.MidHead}, false},
		{"no HTTP", stub.Behaviour{Raw: []byte("220 smtp.test ESMTP\r\n")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := stub.New(t)
			s.Behave(tt.behaviour)
			b := newBackend(t, s.URL(), nil)
			timeout := 10 * time.Second
			if tt.behaviour.HangAfterBody {
				timeout = 50 * time.Millisecond
			}
			err := b.Probe(timeout)
			for tt.behaviour.HangAfterBody && s.Counts().Requests == 0 && timeout < 10*time.Second {
				timeout *= 4 // it was over before the request had come
				err = b.Probe(timeout)
			}
			if (err == nil) != tt.ok {
				t.Fatalf("error is %v", err)
			} else if err != nil && !strings.Contains(err.Error(), b.Name()) {
				t.Fatalf("error %q does not name the backend", err)
			}
			requests := s.Wait(t, func(rs stub.Requests) bool { return len(rs) > 0 })
			if q := requests[0]; q.Method != "HEAD" || q.Target != "/" || q.Headers.Get("Host") != b.Name() {
				t.Fatalf("asked for %v", q)
			}
			s.Wait(t, func(stub.Requests) bool { return s.Counts().OpenConns == 0 })
		})
	}
}

func TestR13ProbeOfADeadBackend(t *testing.T) {
	s := stub.New(t)
	b := newBackend(t, s.URL(), nil)
	s.Down()
	if err := b.Probe(time.Second); err == nil || !strings.Contains(err.Error(), b.Name()) {
		t.Fatalf("error is %v", err)
	}
	testkit.MustDo(t, s.Up())
	testkit.MustDo(t, b.Probe(10*time.Second))
}

// The probe must not use a pooled connection that only seems alive.
func TestR13ProbeUsesANewConnection(t *testing.T) {
	s := stub.New(t)
	b := newBackend(t, s.URL(), nil)
	c := acquire(t, b, false)
	testkit.MustDo(t, c.Connect())
	c.Release()
	testkit.MustDo(t, b.Probe(10*time.Second))
	if n := s.Counts().Conns; n != 2 {
		t.Fatalf("%d connections, want 2", n)
	}
}

// demoted is a Returner whose backends stay demoted until Return.
type demoted struct {
	out   atomic.Uint64 // a set of backends
	asked atomic.Int64  // how often Returnable was called
	came  chan int
}

func (d *demoted) Returnable(backend int) bool {
	d.asked.Add(1)
	return d.out.Load()&(1<<backend) != 0
}

func (d *demoted) Unreached(int, error) {}

func (d *demoted) Return(backend int) bool {
	d.out.And(^uint64(1 << backend))
	d.came <- backend
	return true
}

func TestR13ProberBringsBackWhatAnswers(t *testing.T) {
	active, fine := stub.New(t), stub.New(t)
	d := &demoted{came: make(chan int, 10)}
	p := NewProber([]*Backend{newBackend(t, active.URL(), nil), newBackend(t, fine.URL(), nil)}, d, 5*time.Millisecond, testkit.Patience)
	p.Start()
	for range 2 { // demoted, and once more
		d.out.Store(0b10)
		if b := testkit.Receive(t, "what comes back", d.came); b != 1 {
			t.Fatalf("%d came back", b)
		}
	}
	probes, asked := len(fine.Requests()), d.asked.Load()
	testkit.Eventually(t, "some ticks have passed", func() bool { return d.asked.Load() >= asked+10 })
	p.Close()
	if n := len(fine.Requests()); n != probes {
		t.Errorf("%d probes of a backend that is back", n-probes)
	}
	if n := active.Counts().Conns; n != 0 {
		t.Errorf("%d connections to a backend that was never out", n)
	}
}

// A backend that hangs is probed again and again, and comes back once it answers.
func TestR13ProberBringsBackWhatHung(t *testing.T) {
	s := stub.New(t)
	s.Behave(stub.Behaviour{HangAfterBody: true})
	d := &demoted{came: make(chan int, 10)}
	d.out.Store(1)
	p := NewProber([]*Backend{newBackend(t, s.URL(), nil)}, d, 5*time.Millisecond, 20*time.Millisecond)
	p.Start()
	s.Wait(t, func(rs stub.Requests) bool { return len(rs) >= 3 })
	p.SetTimeout(testkit.Patience)
	s.Behave(stub.Fails(503))
	testkit.Receive(t, "what comes back", d.came)
	p.Close()
}

// A probe that was begun while the link was cut may hang for long after that: another one sees that it is
// whole again.
func TestR13ProbeThatHangsKeepsNobodyOut(t *testing.T) {
	s := stub.New(t)
	s.BehaveNext(stub.Behaviour{HangAfterBody: true})
	d := &demoted{came: make(chan int, 10)}
	d.out.Store(1)
	p := NewProber([]*Backend{newBackend(t, s.URL(), nil)}, d, 5*time.Millisecond, time.Hour)
	p.Start()
	if b := testkit.Receive(t, "what comes back", d.came); b != 0 {
		t.Errorf("%d came back", b)
	}
	if n := len(s.Requests()); n > 3 {
		t.Errorf("%d probes", n)
	}
	s.Unhang()
	p.Close()
}

// While a probe hangs another one is begun every second, whatever a tick's delay: a backend is to be back within two
// seconds of its link.
func TestR13ProbesBeginEverySecond(t *testing.T) {
	for _, tt := range []struct {
		running  int
		ago      time.Duration
		interval time.Duration
		want     bool
	}{
		{0, 0, time.Second, true},
		{1, time.Second, time.Second, true},
		{1, time.Second - 20*time.Millisecond, time.Second, true}, // the last one began 20 ms after its tick
		{3, time.Second, time.Second, true},
		{4, time.Second, time.Second, false},
		{1, 900 * time.Millisecond, 5 * time.Millisecond, false},
		{1, time.Second, 5 * time.Millisecond, true},
	} {
		p := &Prober{interval: tt.interval}
		if got := p.mayBegin(tt.running, tt.ago); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestProberClosesWhileAProbeWaits(t *testing.T) {
	s := stub.New(t)
	s.Behave(stub.Behaviour{HangAfterBody: true})
	d := &demoted{came: make(chan int, 1)}
	d.out.Store(1)
	p := NewProber([]*Backend{newBackend(t, s.URL(), nil)}, d, time.Millisecond, 50*time.Millisecond)
	p.Start()
	s.Wait(t, func(rs stub.Requests) bool { return rs.Held() > 0 })
	p.Close()
	s.Wait(t, func(stub.Requests) bool { return s.Counts().OpenConns == 0 }) // all that came is counted
	n := len(s.Requests())
	stub.Dial(t, s.Addr()).Send("GET /own HTTP/1.1\r\nHost: h\r\n\r\n")
	s.Wait(t, func(rs stub.Requests) bool { return len(rs) == n+1 && rs[n].Target == "/own" }) // and no other
}
