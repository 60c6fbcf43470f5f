package backends

import (
	"io"
	"sync/atomic"
	"testing"
	"time"
)

// R11: a peer that takes nothing is given up, one that takes a little now and
// then is not, however long the whole takes.
func TestR11SendWaitsForProgress(t *testing.T) {
	const patience = 300 * time.Millisecond
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
	// Far less room comes free in each patience than the system wants to have
	// before it wakes a writer.
	piece := make([]byte, 256<<10)
	begun := time.Now()
	for time.Since(begun) < 4*patience {
		if _, err := c.Send(piece, patience); err != nil {
			t.Fatalf("given up after %s, when the peer had taken %d bytes: %v", time.Since(begun), taken.Load(), err)
		}
	}
	close(stop)
	<-stopped
	var err error
	for err == nil {
		_, err = c.Send(piece, patience)
	}
	wantTimeout(t, err)
}

// A deadline is moved only where it must be, and never lets a read wait for less
// than it was told.
func TestReadTimeoutIsMovedSeldom(t *testing.T) {
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
