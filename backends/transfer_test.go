package backends

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// R11: a peer that takes nothing is given up on; one that takes a little now and then is not,
// however long the whole message takes.
func TestR11SendWaitsForProgress(t *testing.T) {
	testkit.InSlowMotion(t, 300*time.Millisecond, testSendWaitsForProgress)
}

func testSendWaitsForProgress(t testing.TB, patience time.Duration) {
	p := newPeer(t)
	c, other := p.connect()
	defer c.Discard()
	fillUp(t, c)
	var taken atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(patience / 10)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				n, _ := io.CopyN(io.Discard, other, 64<<10)
				taken.Add(n)
			}
		}
	}()
	// Within each patience far less room comes free than the system requires before it wakes a
	// writer.
	piece := make([]byte, 256<<10)
	begun := time.Now()
	for time.Since(begun) < 4*patience {
		if _, err := c.Send(piece, patience); err != nil {
			t.Fatalf("given up after %s, when the peer had taken %d bytes: %v", time.Since(begun), taken.Load(), err)
		}
	}
	close(stop)
	testkit.Receive(t, "the end", stopped)
	var err error
	for err == nil {
		_, err = c.Send(piece, patience)
	}
	wantTimeout(t, err)
}

// A deadline is moved only when it must be, and never lets a read wait for less than it was told.
func TestReadTimeoutIsRarelyMoved(t *testing.T) {
	p := newPeer(t)
	c, _ := p.connect()
	defer c.Discard()
	c.ReadTimeout(time.Hour)
	first := c.readUntil.Load()
	c.ReadTimeout(time.Hour)
	if c.readUntil.Load() != first {
		t.Error("moved at once")
	}
	for _, d := range []time.Duration{2 * time.Hour, time.Minute} {
		c.ReadTimeout(d)
		if left := time.Duration(c.readUntil.Load()) - time.Since(epoch); left < d || left > d+d/8 {
			t.Errorf("%s became %s", d, left)
		}
	}
	c.ReadTimeout(0)
	if c.readUntil.Load() != 0 {
		t.Error("still set")
	}
}

// Exactly as much is discarded as asked for.
func TestSkip(t *testing.T) {
	p := newPeer(t)
	c, other := p.connect()
	defer c.Discard()
	c.ReadTimeout(10 * time.Second)
	for _, n := range []int64{1, 100, 16 << 10, 300_000, 1 << 20} {
		for _, buffered := range []bool{false, true} {
			sent := make(chan error, 1)
			go func() {
				_, err := other.Write(append(make([]byte, n), "next"...))
				sent <- err
			}()
			if buffered {
				if _, err := c.Reader().Peek(1); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Skip(n); err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			next := make([]byte, 4)
			if _, err := io.ReadFull(c.Reader(), next); err != nil || string(next) != "next" {
				t.Fatalf("behind %d bytes stands %q, %v", n, next, err)
			}
			testkit.MustDo(t, testkit.Receive(t, "the end of sending", sent))
		}
	}
	_ = other.CloseWrite()
	if err := c.Skip(1); err == nil {
		t.Fatal("skipped what was never sent")
	}
}
