package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// slack is what a busy machine may add to a bound that a rule sets.
const slack = 30 * time.Second

// TestR10LaggardIsCut: a backend that holds the client back for StallTimeout is
// cut from the request, however it does so.
func TestR10LaggardIsCut(t *testing.T) {
	t.Parallel()
	// Not less: the kernel's buffers take megabytes for a storage that hangs, at a
	// speed that makes a good one on a busy machine the laggard for a moment.
	const stall = 800 * time.Millisecond
	for _, tt := range []struct {
		name string
		b    stub.Behaviour
	}{
		{"slow", stub.Behaviour{ReadRate: 100 << 10}},
		{"hangs before the body", stub.Behaviour{During: stub.HangThere}},
		{"hangs in the body", stub.Behaviour{During: stub.HangThere, After: 1 << 20}},
	} {
		for _, n := range []int{1, 2} {
			for _, chunked := range []bool{false, true} {
				slowly(t, fmt.Sprintf("%s, %d of 3, chunked %v", tt.name, n, chunked), stall, func(t testing.TB, stall time.Duration) {
					r := newTightRig(t, 3, withStallTimeout(stall), withRing(64<<10))
					var lagging []int
					for i := range n {
						r.stores[i].Behave(tt.b)
						lagging = append(lagging, i)
					}
					body := pattern(12 << 20)
					raw := putRequest("/b/k", body)
					if chunked {
						raw = chunkedRequest("PUT", "/b/k", body, 100_000)
					}
					c := r.dial()
					begun := time.Now()
					wantStatus(t, c.Do(raw), 200)
					if took := time.Since(begun); took > time.Duration(n)*stall+slack {
						t.Errorf("the client was held for %s", took)
					}
					r.wantRecords("/b/k", "stalled", lagging...)
					for i, s := range r.stores {
						if i < n {
							wantAbsent(t, s, "/b/k")
						} else {
							wantStored(t, s, "/b/k", body)
						}
					}
					// Which of two is cut first depends on the machine, and the other one, which
					// may have taken bytes until then, may count as merely slow (R13). One that is slow
					// does, unless its last bytes are long ago.
					least := 1
					if tt.b.ReadRate > 0 {
						least = 0
					}
					if f := r.failures(); max(f[0], f[1]) < least || max(f[0], f[1]) > 1 || f[1] > n-1 || f[2] != 0 {
						t.Errorf("failures %v", f)
					}
					if got := r.metrics.count(OutcomeStalled); got != n {
						t.Errorf("%d legs stalled", got)
					}
				})
			}
		}
	}
}

// The memory that a laggard was cut from is written over; what the others get
// must be right to the byte, while requests and their rings are used again.
func TestR10CutLeavesTheOthersBytesIntact(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 600*time.Millisecond, testCutLeavesTheOthersBytes) // not less, see above
}

// A machine that is busy may cut the good one, and leave the client to one that hangs.
func testCutLeavesTheOthersBytes(t testing.TB, stall time.Duration) {
	r := newTightRig(t, 2, withStallTimeout(stall), withConnectionTimeout(10*stall), withRing(32<<10))
	var mu sync.Mutex
	n := int64(0)
	r.stores[0].BehaveFunc(func(*stub.Request) stub.Behaviour {
		mu.Lock()
		defer mu.Unlock()
		n++
		switch n % 3 {
		case 0:
			return stub.Behaviour{ReadRate: 1 << 20}
		case 1:
			return stub.Behaviour{During: stub.HangThere, After: n * 10_000}
		}
		return stub.Behaviour{}
	})
	whole := pattern(7 << 20)
	bodyOf := func(client, i int) (path, body string) {
		return fmt.Sprintf("/b/%d-%d", client, i), whole[(client*4+i)*1000:][:5<<20]
	}
	var wg sync.WaitGroup
	for client := range 4 {
		wg.Go(func() {
			c := r.dial()
			for i := range 4 {
				path, body := bodyOf(client, i)
				c.Send(putRequest(path, body))
				if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
					t.Errorf("%s: %+v, %v", path, a, err)
					return
				}
			}
		})
	}
	testkit.Finish(t, "the clients end", wg.Wait)
	named := map[string]bool{}
	for _, d := range r.settled() {
		named[d.Path] = true
	}
	if len(named) == 0 {
		t.Error("nobody was cut: no test")
	}
	for client := range 4 {
		for i := range 4 {
			path, body := bodyOf(client, i)
			stored := 0
			for _, s := range r.stores { // on a busy machine either may be the laggard
				switch o, ok := s.Object(path); {
				case ok && string(o.Body) != body:
					t.Errorf("%s: wrong bytes", path)
				case ok:
					stored++
				case !named[path]:
					t.Errorf("%s: no record", path)
				}
			}
			if stored == 0 {
				t.Errorf("%s: nobody has it", path)
			}
		}
	}
}

// Nobody is a laggard where nobody is held back: a storage that is alone, or the
// last one left, may take its time.
func TestR10TheLastOneIsNeverCut(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2} {
		slowlyBeside(t, fmt.Sprintf("of %d", n), 50*time.Millisecond, func(t testing.TB, stall time.Duration) {
			r := newTightRig(t, n, withStallTimeout(stall), withRing(32<<10))
			r.stores[0].Behave(stub.Behaviour{ReadRate: 6 << 20})
			if n == 2 {
				r.stores[1].Behave(stub.Behaviour{During: stub.AnswerAndClose, After: 1000})
			}
			body := pattern(8 << 20)
			wantStatus(t, r.put("/b/k", body), 200)
			wantStored(t, r.stores[0], "/b/k", body)
			if got := r.metrics.count(OutcomeStalled); got != 0 {
				t.Errorf("%d legs stalled", got)
			}
		})
	}
}

// A client that is slow itself is no backend's fault.
func TestR10SlowClientBlamesNobody(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 40*time.Millisecond, testSlowClientBlamesNobody)
}

func testSlowClientBlamesNobody(t testing.TB, stall time.Duration) {
	r := newRig(t, 2, withStallTimeout(stall), withConnectionTimeout(stall), withRing(32<<10))
	raw := putRequest("/b/k", pattern(200<<10))
	c := r.dial()
	step := time.NewTicker(3 * stall)
	defer step.Stop()
	for len(raw) > 0 {
		n := min(len(raw), 50<<10)
		c.Send(raw[:n])
		raw = raw[n:]
		<-step.C
	}
	wantStatus(t, c.Answer(), 200)
	r.wantRecords("/b/k", "")
	r.wantNoBlame()
}

// TestR11NoProgress: a backend that takes no more, or does not answer, is given
// up after ConnectionTimeout.
func TestR11NoProgress(t *testing.T) {
	t.Parallel()
	const once = 250 * time.Millisecond
	for _, tt := range []struct {
		name string
		b    stub.Behaviour
		size int
	}{
		{"after a small body", stub.Behaviour{HangAfterBody: true}, 100},
		{"after a body of one write", stub.Behaviour{HangAfterBody: true}, 60 << 10},
		{"after a large body", stub.Behaviour{HangAfterBody: true}, 3 << 20},
		{"before a small body", stub.Behaviour{During: stub.HangThere}, 100},
		{"before a large body", stub.Behaviour{During: stub.HangThere}, 8 << 20},
		{"in a large body", stub.Behaviour{During: stub.HangThere, After: 1 << 20}, 8 << 20},
		{"in the head of the answer", stub.Behaviour{Cut: stub.CutHang, CutAt: stub.MidHead}, 100},
		{"after an interim answer", stub.Behaviour{Interim: []int{100}, HangAfterBody: true}, 3 << 20},
	} {
		for _, reused := range []bool{false, true} {
			slowlyBeside(t, fmt.Sprintf("%s, reused %v", tt.name, reused), once, func(t testing.TB, timeout time.Duration) {
				r := newTightRig(t, 2, withConnectionTimeout(timeout))
				if reused {
					wantStatus(t, r.put("/b/first", "x"), 200)
					r.settled()
				}
				r.stores[0].Behave(tt.b)
				body := pattern(tt.size)
				begun := time.Now()
				wantStatus(t, r.put("/b/k", body), 200)
				r.wantRecords("/b/k", "timeout", 0)
				if took := time.Since(begun); took > 4*timeout+slack {
					t.Errorf("it took %s", took)
				}
				wantStored(t, r.stores[1], "/b/k", body)
				if f := r.failures(); f[0] != 1 || f[1] != 0 {
					t.Errorf("failures %v", f)
				}
				if n := r.stores[0].Counts().Requests; n != 1 && (!reused || n != 2) {
					t.Errorf("%d requests: a timeout is no stale connection", n)
				}
			})
		}
	}
}

// All hang: the client is told after ConnectionTimeout.
func TestR11AllHang(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 8 << 20} {
		for _, b := range []stub.Behaviour{{During: stub.HangThere, After: 5}, {HangAfterBody: true}} {
			t.Run(fmt.Sprint(size, b.During), func(t *testing.T) {
				r := newTightRig(t, 2, withConnectionTimeout(200*time.Millisecond))
				for _, s := range r.stores {
					s.Behave(b)
				}
				c := r.dial()
				go func() { _, _ = c.Write([]byte(putRequest("/b/k", pattern(size)))) }()
				a := c.Answer()
				wantXMLError(t, a, 503)
				r.wantRecords("/b/k", "")
			})
		}
	}
}

// TestR11SlowIsNotHung: a transfer may take many times ConnectionTimeout, as
// long as it moves; also where what is left lies in the kernel's buffers, and
// the proxy has nothing more to write itself.
func TestR11SlowIsNotHung(t *testing.T) {
	t.Parallel()
	const once = 700 * time.Millisecond // the kernels tell each other every 16 KiB or so
	for _, tt := range []struct {
		name    string
		size    int
		rate    int
		chunked bool
	}{
		{"in the kernel's buffers", 900 << 10, 512 << 10, false},
		{"in the kernel's buffers, one write", 60 << 10, 40 << 10, false},
		{"in the kernel's buffers, chunked", 900 << 10, 512 << 10, true},
		// The kernel wakes a writer once a third of its buffer, megabytes, is free.
		{"through full buffers", 5 << 20, 900 << 10, false},
	} {
		slowlyBeside(t, tt.name, once, func(t testing.TB, timeout time.Duration) {
			r := newTightRig(t, 1, withConnectionTimeout(timeout), withRing(64<<10))
			r.stores[0].Behave(stub.Behaviour{ReadRate: tt.rate / int(timeout/once)})
			body := pattern(tt.size)
			raw := putRequest("/b/k", body)
			if tt.chunked {
				raw = chunkedRequest("PUT", "/b/k", body, 100_000)
			}
			begun := time.Now()
			wantStatus(t, r.dial().Do(raw), 200)
			if took := time.Since(begun); took < 2*timeout {
				t.Errorf("it took only %s: no test", took)
			}
			wantStored(t, r.stores[0], "/b/k", body)
			r.wantRecords("/b/k", "")
			r.wantNoBlame()
		})
	}
}

// An answer, too, may take its time as long as it comes.
func TestR11SlowAnswerIsNotHung(t *testing.T) {
	t.Parallel()
	const once = 250 * time.Millisecond
	for _, chunked := range []bool{false, true} {
		slowly(t, fmt.Sprintf("chunked %v", chunked), once, func(t testing.TB, timeout time.Duration) {
			r := newRig(t, 1, withConnectionTimeout(timeout))
			body := pattern(64 << 10)
			r.stores[0].Put("/b/k", []byte(body))
			r.stores[0].Behave(stub.Behaviour{WriteRate: 64 << 10 / int(timeout/once), Chunked: chunked})
			a := r.dial().Do(requestFor("GET", "/b/k"))
			wantStatus(t, a, 200)
			if string(a.Body) != body {
				t.Errorf("%d bytes", len(a.Body))
			}
			r.settled()
			r.wantNoBlame()
		})
	}
}

// Dials that fail are failures of that backend alone, and are not tried again.
func TestR11Dial(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{true, false} {
		for _, size := range []int{0, 100, 1 << 20} {
			t.Run(fmt.Sprintf("down %v, %d", down, size), func(t *testing.T) {
				r := newRig(t, 2)
				if down {
					r.stores[0].Down()
				} else {
					r.stores[0].RefuseAccept(true)
				}
				body := pattern(size)
				wantStatus(t, r.put("/b/k", body), 200)
				why := ""
				if down {
					why = fmt.Sprintf("cannot connect to backend %q", r.host(0))
				}
				r.wantRecords("/b/k", why, 0)
				if d := r.records.list()[0]; strings.Count(d.Error, r.host(0)) > 2 || d.Status != 0 {
					t.Errorf("record %+v", d)
				}
				wantStored(t, r.stores[1], "/b/k", body)
				if f := r.failures(); f[0] != 1 || f[1] != 0 {
					t.Errorf("failures %v", f)
				}
				if !down && r.stores[0].Counts().Conns > 1 {
					t.Errorf("tried %d times", r.stores[0].Counts().Conns)
				}
			})
		}
	}
}

// dialing is a connection whose dial ends only when it is aborted.
type dialing struct {
	Conn
	aborted chan struct{}
	once    sync.Once
}

func (c *dialing) Connect() error {
	<-c.aborted
	return errors.New("aborted")
}

func (c *dialing) Reused() bool { return false }
func (c *dialing) Abort()       { c.once.Do(func() { close(c.aborted) }) }
func (c *dialing) Discard()     { c.Abort() }
func (c *dialing) Reset()       { c.Abort() }

func (c *dialing) SplicePipe(int, int, bool, time.Duration) (int, error) {
	return 0, errors.ErrUnsupported
}

// dialer is a backend that is never reached.
type dialer struct{ name string }

func (b dialer) Name() string               { return b.name }
func (b dialer) Plain() bool                { return true }
func (b dialer) Acquire(bool) (Conn, error) { return &dialing{aborted: make(chan struct{})}, nil }

// A dial that does not end holds a large body up for StallTimeout at most (R10),
// and a client that leaves ends it (R6).
func TestR10R6DialThatHangs(t *testing.T) {
	t.Parallel()
	unreachable := func(o *Options) { o.Backends[0] = dialer{o.Backends[0].Name()} }
	t.Run("R10", func(t *testing.T) {
		r := newRig(t, 2, withStallTimeout(100*time.Millisecond), withRing(64<<10), anyway(unreachable))
		body := pattern(2 << 20)
		wantStatus(t, r.put("/b/k", body), 200)
		r.wantRecords("/b/k", "stalled", 0)
		wantStored(t, r.stores[1], "/b/k", body)
	})
	t.Run("R6", func(t *testing.T) {
		r := newRig(t, 2, anyway(unreachable))
		c := r.dial()
		c.Send(putRequest("/b/k", pattern(1<<20))[:100<<10])
		r.stores[1].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
		c.Close()
		r.stop(rigStop)
		r.wantUntouched()
	})
}
