package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// splicing tells of each piece that is taken from a pipe on the way to backend i: its
// size, and whether it may end in the middle of a packet.
func splicing(taken func(i, n int, more bool)) setup {
	return func(o *Options, _ *limiter.Options) {
		for i := range o.Backends {
			o.Backends[i] = splicingBackend{o.Backends[i], func(n int, more bool) { taken(i, n, more) }}
		}
	}
}

type splicingBackend struct {
	Backend
	taken func(n int, more bool)
}

func (b splicingBackend) Acquire(fresh bool) (Conn, error) {
	c, err := b.Backend.Acquire(fresh)
	if err != nil {
		return nil, err
	}
	return splicingConn{c, b.taken}, nil
}

type splicingConn struct {
	Conn
	taken func(n int, more bool)
}

func (c splicingConn) SplicePipe(pipe, n int, more bool, patience time.Duration) (int, error) {
	n, err := c.Conn.SplicePipe(pipe, n, more, patience)
	c.taken(n, more)
	return n, err
}

// counting counts the bytes that are taken from pipes.
func counting(spliced *atomic.Int64) setup {
	return splicing(func(_, n int, _ bool) { spliced.Add(int64(n)) })
}

// Bodies that go through pipes arrive byte for byte, and so does the request
// behind them on the same connection.
func TestR1LargeBodiesThroughPipes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{minSpliced, minSpliced + 100_000, 1 << 20, 3<<20 + 1, 20 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			throughPipes(t, func(t testing.TB, _ func() bool) { testLargeBodies(t, size) })
		})
	}
}

func testLargeBodies(t testing.TB, size int) {
	var spliced atomic.Int64
	r := newRig(t, 3, counting(&spliced))
	body := pattern(size)
	c := r.dial()
	for i := range 2 {
		path := fmt.Sprintf("/b/k%d", i)
		// The next request is on its way with the body's end.
		c.Send(putRequest(path, body), requestFor("GET", "/none"))
		for _, want := range []int{200, 404} {
			wantStatus(t, c.Answer(), want)
		}
		r.wantNoRecords()
		for _, s := range r.stores {
			o, _ := s.Object(path)
			if o.SHA256 != sumOf(body) {
				t.Fatalf("%s has another object of %d bytes", s.Addr(), o.Size)
			}
		}
	}
	if n := spliced.Load(); size > 1<<20 && n < int64(size) {
		t.Errorf("only %d bytes went through pipes", n)
	}
}

// Where the ring is too small for gathering, the pipes begin behind what the server has
// read with the head.
func TestR1LargeBodiesThroughPipesPastASmallRing(t *testing.T) {
	t.Parallel()
	throughPipes(t, testLargeBodiesPastASmallRing)
}

func testLargeBodiesPastASmallRing(t testing.TB, _ func() bool) {
	var spliced atomic.Int64
	r := newRig(t, 2, counting(&spliced), withRing(16<<10))
	body := pattern(2 << 20)
	for i := range 3 {
		path := fmt.Sprintf("/b/k%d", i)
		wantStatus(t, r.put(path, body[i*1000:]), 200)
		r.wantRecords(path, "")
		for _, s := range r.stores {
			wantStored(t, s, path, body[i*1000:])
		}
	}
	if n := spliced.Load(); n < 1<<20 {
		t.Errorf("only %d bytes went through pipes", n)
	}
}

// The pieces of a large body make packets that are full, but for the last one, which
// does not wait for anything.
func TestPiecesOfALargeBodyFillPackets(t *testing.T) {
	t.Parallel()
	throughPipes(t, testPiecesFillPackets)
}

func testPiecesFillPackets(t testing.TB, _ func() bool) {
	var pieces [2]atomic.Int64
	var last [2]atomic.Bool
	r := newRig(t, 2, splicing(func(i, _ int, more bool) {
		if more {
			pieces[i].Add(1)
		}
		last[i].Store(more)
	}))
	body := pattern(20 << 20)
	wantStatus(t, r.put("/b/k", body), 200)
	r.wantNoRecords()
	for i, s := range r.stores {
		wantStored(t, s, "/b/k", body)
		if pieces[i].Load() == 0 || last[i].Load() {
			t.Errorf("%d pieces were held back, the last one: %v", pieces[i].Load(), last[i].Load())
		}
	}
}

// A client that pauses at any place of a large body starts its legs once.
func TestR1PausesInALargeBody(t *testing.T) {
	t.Parallel()
	pauses := map[int][]int{
		2 << 20: {0, 1, 15_000, 40_000, 64 << 10, 100_000, 1 << 20, 2<<20 - 5000, 2<<20 - 1},
		200_000: {0, 1, 3000, 9000, 30_000, 64 << 10, 150_000, 195_000, 199_999},
	}
	for size, places := range pauses {
		for _, at := range places {
			t.Run(fmt.Sprintf("%d of %d", at, size), func(t *testing.T) { pauseAt(t, pattern(size), at) })
		}
	}
}

func pauseAt(t *testing.T, body string, at int) {
	r := newRig(t, 2)
	c := r.dial()
	raw := putRequest("/b/k", body)
	head := strings.Index(raw, "\r\n\r\n") + 4
	c.Send(raw[:head+at])
	// The pause lasts until the legs have started, which they do by
	// themselves.
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return at == 0 || len(rs) == 1 })
	}
	r.wantTheRest(c, raw[head+at:], body)
}

// wantTheRest sends the rest of a request for /b/k, and checks that each storage gets
// one request, and the object.
func (r *rig) wantTheRest(c *stub.Client, rest, body string) {
	r.t.Helper()
	c.Send(rest)
	wantStatus(r.t, c.Answer(), 200)
	r.wantNoRecords()
	for _, s := range r.stores {
		wantStored(r.t, s, "/b/k", body)
		if n := len(s.Requests()); n != 1 {
			r.t.Errorf("%d requests at %s", n, s.Addr())
		}
	}
}

// A client that leaves while its body goes through pipes leaves nothing behind.
func TestR6ClientGoneWhilePipesAreInUse(t *testing.T) {
	t.Parallel()
	throughPipes(t, testClientGoneWhilePipesAreInUse)
}

func testClientGoneWhilePipesAreInUse(t testing.TB, refused func() bool) {
	var spliced atomic.Int64
	r := newRig(t, 2, counting(&spliced))
	for _, reset := range []bool{false, true} {
		spliced.Store(0)
		c := r.dial()
		body := pattern(8 << 20)
		c.Send(putRequest("/b/k", body)[:6<<20])
		until(t, "pipes are in use", func() bool { return spliced.Load() > 1<<20 || refused() })
		if spliced.Load() <= 1<<20 {
			t.Error("no pipes are in use")
		}
		r.wantNothingLeft(c, reset, "/b/k", "/b/next", pattern(3<<20))
	}
}

// A slow backend is cut from a body that goes through pipes, and one that
// rejects it leaves; the others get every byte.
func TestR9R10LegsThatLeavePipes(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]stub.Behaviour{
		"slow":    {ReadRate: 10 << 10},
		"hangs":   {During: stub.HangThere, After: 1 << 20},
		"rejects": {During: stub.AnswerAndStop, After: 1 << 20},
		"closes":  {During: stub.CloseThere, After: 1 << 20},
		"resets":  {During: stub.ResetThere, After: 1 << 20},
	} {
		slowly(t, name, 2*time.Second, func(t testing.TB, unit time.Duration) {
			var spliced atomic.Int64
			r := newRig(t, 3, counting(&spliced), func(o *Options, _ *limiter.Options) {
				if b.During == stub.HangThere || b.ReadRate > 0 {
					o.StallTimeout = unit
				}
			})
			r.stores[1].Behave(b)
			body := pattern(12 << 20)
			wantStatus(t, r.put("/b/k", body), 200)
			for _, i := range []int{0, 2} {
				r.stores[i].Wait(t, func(rs stub.Requests) bool { return rs.Done() == 1 })
			}
			r.stores[1].Unhang()
			d := r.settled()
			if len(d) != 1 || d[0].FailedHost != r.host(1) {
				t.Fatalf("divergences: %+v", d)
			}
			for _, i := range []int{0, 2} {
				o, _ := r.stores[i].Object("/b/k")
				if o.SHA256 != sumOf(body) {
					t.Errorf("store %d has another object of %d bytes", i, o.Size)
				}
			}
			wantAbsent(t, r.stores[1], "/b/k")
		})
	}
}

// sumOf is what the stub knows an object by.
func sumOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}
