package link

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newEcho is a link to a server that sends back what it gets.
func newEcho(t *testing.T, there, back Direction) *Link {
	t.Helper()
	l, err := New(testkit.MustEcho(t), there, back)
	testkit.MustDo(t, err)
	t.Cleanup(l.Close)
	return l
}

func TestLink(t *testing.T) {
	way := Direction{Delay: 20 * time.Millisecond, Rate: 4 << 20}
	c := testkit.MustDial(t, newEcho(t, way, way).Addr())
	begun := time.Now()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB: 250 ms
	go func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if took := time.Since(begun); took < 290*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

func TestCut(t *testing.T) {
	l := newEcho(t, Direction{}, Direction{})
	dial := func() net.Conn { return testkit.MustDial(t, l.Addr()) }
	says := func(c net.Conn, within time.Duration) bool {
		_, _ = c.Write([]byte("x"))
		_ = c.SetReadDeadline(time.Now().Add(within))
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	}
	const never, soon = 50 * time.Millisecond, time.Minute
	old := dial()
	if !says(old, soon) {
		t.Fatal("no echo")
	}
	l.Cut()
	if says(old, never) {
		t.Fatal("it is not cut")
	}
	fresh := make(chan net.Conn, 1)
	go func() {
		c, err := net.Dial("tcp", l.Addr())
		if err != nil {
			t.Error(err)
		}
		fresh <- c
	}()
	l.Mend(false)
	later := <-fresh
	defer func() { _ = later.Close() }()
	if !says(old, soon) || !says(later, soon) {
		t.Fatal("it is not whole")
	}
	again, idle := dial(), dial() // on the others more has come than was read
	if !says(again, soon) || !says(idle, soon) {
		t.Fatal("it is not whole")
	}
	l.Cut()
	if says(again, never) {
		t.Fatal("it is not cut")
	}
	l.Mend(true)
	if says(again, never) || says(idle, never) {
		t.Fatal("nothing was forgotten")
	}
	if !says(dial(), soon) {
		t.Fatal("it is not whole")
	}
}

// transfer sends n bytes to the other side and back, on each of some connections, and returns how long all take.
func transfer(t *testing.T, l *Link, conns, n int) time.Duration {
	t.Helper()
	data := make([]byte, n)
	begun := time.Now()
	var all sync.WaitGroup
	for range conns {
		c := testkit.MustDial(t, l.Addr())
		all.Go(func() { _, _ = c.Write(data) })
		all.Go(func() {
			defer func() { _ = c.Close() }()
			if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return time.Since(begun)
}

// A connection's first bytes take a round trip each time its window is full; those of all go through one queue;
// what is lost is a round trip late.
func TestWindowRateAndLoss(t *testing.T) {
	for _, tt := range []struct {
		name     string
		way      Direction
		conns, n int
		least    time.Duration
	}{
		{"within the first window", Direction{Delay: 20 * time.Millisecond}, 1, firstWindow, 40 * time.Millisecond},
		{"three more windows", Direction{Delay: 20 * time.Millisecond}, 1, 8 * firstWindow, 160 * time.Millisecond},
		{"many share the rate", Direction{Rate: 2 << 20, Queue: 64 << 10}, 8, 64 << 10, 250 * time.Millisecond},
		{"all is lost once", Direction{Delay: 20 * time.Millisecond, Loss: 1}, 1, 1000, 120 * time.Millisecond},
	} {
		l := newEcho(t, tt.way, tt.way)
		if took := transfer(t, l, tt.conns, tt.n); took < tt.least-time.Millisecond {
			t.Errorf("%s: it took %v, want %v at least", tt.name, took, tt.least)
		}
		if there, back := l.Carried(); there != int64(tt.conns*tt.n) || there != back {
			t.Errorf("%s: it carried %d, %d", tt.name, there, back)
		}
	}
}

// Each direction is what it is set to be, also while it runs.
func TestDirections(t *testing.T) {
	const much = 256 << 10
	narrow := Direction{Rate: 1 << 20, Queue: 64 << 10} // it takes 250 ms
	for _, tt := range []struct {
		name        string
		there, back Direction
		n           int
		least       time.Duration
	}{
		{"narrow there", narrow, Direction{}, much, 180 * time.Millisecond},
		{"narrow back", Direction{}, narrow, much, 180 * time.Millisecond},
		{"far there", Direction{Delay: 30 * time.Millisecond}, Direction{}, 1000, 30 * time.Millisecond},
		{"far back", Direction{}, Direction{Delay: 30 * time.Millisecond}, 1000, 30 * time.Millisecond},
		{"lost there, far back", Direction{Loss: 1}, Direction{Delay: 30 * time.Millisecond}, 1000, 60 * time.Millisecond},
	} {
		l := newEcho(t, Direction{}, Direction{})
		l.Set(tt.there, tt.back)
		if took := transfer(t, l, 1, tt.n); took < tt.least-time.Millisecond {
			t.Errorf("%s: it took %v, want %v at least", tt.name, took, tt.least)
		}
		if there, back := l.Is(); there.Delay != tt.there.Delay || back.Rate != tt.back.Rate {
			t.Errorf("%s: it is %+v, %+v", tt.name, there, back)
		}
	}
}
