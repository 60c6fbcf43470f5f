package backends

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// watched gives a connection that has come back from the pool with its goroutine
// waiting.
func (p *peer) watched() (*Conn, *net.TCPConn) {
	p.t.Helper()
	c, other := p.connect()
	exchange(p.t, c, other)
	c.Release()
	until(p.t, "its goroutine waits", func() bool { return c.watch.Load() == waiting })
	if again := acquire(p.t, p.b, false); again != c {
		p.t.Fatal("another connection")
	}
	return c, other
}

func TestAwaitRunsWhenSomethingCame(t *testing.T) {
	tests := []struct {
		name string
		do   func(c *Conn, other *net.TCPConn)
		want func(n int, err error) bool
	}{
		{"bytes", func(_ *Conn, other *net.TCPConn) { _, _ = other.Write([]byte("pong")) }, func(n int, err error) bool { return n == 4 && err == nil }},
		{"FIN", func(_ *Conn, other *net.TCPConn) { _ = other.CloseWrite() }, func(n int, err error) bool { return n == 0 && err == io.EOF }},
		{"RST", func(_ *Conn, other *net.TCPConn) { _ = other.SetLinger(0); _ = other.Close() }, func(n int, err error) bool { return n == 0 && err != nil && !isTimeout(err) }},
		{"timeout", func(c *Conn, _ *net.TCPConn) { c.ReadTimeout(time.Millisecond) }, func(n int, err error) bool { return n == 0 && isTimeout(err) }},
		{"abort", func(c *Conn, _ *net.TCPConn) { c.Abort() }, func(n int, err error) bool { return n == 0 && isTimeout(err) }},
	}
	for _, tt := range tests {
		for _, early := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				p := newPeer(t)
				c, other := p.watched()
				done := make(chan bool, 1)
				run := func() {
					n, err := c.Read(make([]byte, 16))
					done <- tt.want(n, err)
					c.Discard()
				}
				if early { // before anybody awaits it
					tt.do(c, other)
					until(t, "its goroutine has seen it", func() bool { return c.watch.Load() == unwatched })
					if c.Await(run) {
						t.Fatal("a goroutine that has ended takes on work")
					}
					run()
				} else {
					if !c.Await(run) {
						t.Fatal("nobody waits")
					}
					tt.do(c, other)
				}
				if !<-done {
					t.Fatal("not what had happened")
				}
			})
		}
	}
}

func TestAwaitNeedsAConnectionThatWasIdle(t *testing.T) {
	p := newPeer(t)
	c, _ := p.connect()
	if c.Await(func() { t.Error("it ran") }) {
		t.Fatal("a new connection has a goroutine")
	}
	c.Discard()
}

// R12: what the peer has ended, or spoken on unasked, while it was idle is not
// handed out.
func TestR12EndedIdleConnectionsAreSkipped(t *testing.T) {
	for name, do := range map[string]func(other *net.TCPConn){
		"FIN":         func(other *net.TCPConn) { _ = other.CloseWrite() },
		"RST":         func(other *net.TCPConn) { _ = other.SetLinger(0); _ = other.Close() },
		"stray bytes": func(other *net.TCPConn) { _, _ = other.Write([]byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			good, _ := p.watched()
			c, other := p.connect()
			exchange(t, c, other)
			good.Release()
			c.Release()
			// What comes before that is seen by Alive, or by who uses it.
			until(t, "its goroutine waits", func() bool { return c.watch.Load() == waiting })
			do(other)
			until(t, "it is seen", func() bool { return c.watch.Load() == unwatched })
			if next := acquire(t, p.b, false); next != good {
				t.Fatal("not the one that is alive")
			}
			good.Discard()
		})
	}
}

// A deadline left from the last use does not cost the connection.
func TestIdleConnectionOutlivesItsDeadline(t *testing.T) {
	p := newPeer(t)
	c, other := p.watched()
	c.ReadTimeout(time.Millisecond)
	until(t, "it has passed", func() bool { return c.watch.Load() == unwatched })
	c.Release()
	if again := acquire(t, p.b, false); again != c {
		t.Fatal("another connection")
	}
	exchange(t, c, other)
	c.Release()
}

// A connection that is read without Await, by whoever holds it, is read all the
// same, and watched again afterwards.
func TestReadWithoutAwait(t *testing.T) {
	p := newPeer(t)
	c, other := p.watched()
	exchange(t, c, other)
	c.Release()
	until(t, "it is watched again", func() bool { return c.watch.Load() == waiting })
	if again := acquire(t, p.b, false); again != c {
		t.Fatal("another connection")
	}
	c.Discard()
	wantClosed(t, other)
}

// late gives a connection that was acquired again while its goroutine was still at work
// for the last use, and what lets that go on.
func (p *peer) late() (c *Conn, other *net.TCPConn, goOn func()) {
	p.t.Helper()
	c, other = p.watched()
	released, gate := make(chan struct{}), make(chan struct{})
	if !c.Await(func() {
		_, _ = c.Reader().ReadByte()
		c.Release()
		close(released)
		<-gate
	}) {
		p.t.Fatal("nobody waits")
	}
	if _, err := other.Write([]byte("x")); err != nil { // the goroutine begins
		p.t.Fatal(err)
	}
	<-released
	if again := acquire(p.t, p.b, false); again != c {
		p.t.Fatal("another connection")
	}
	return c, other, func() { close(gate) }
}

// A goroutine that comes late to its wait misses no answer, and takes on the work.
func TestAwaitOfALateGoroutine(t *testing.T) {
	answer := func(c *Conn, other *net.TCPConn) {
		t.Helper()
		if _, err := other.Write([]byte("pong")); err != nil {
			t.Fatal(err)
		}
		until(t, "the answer is there", func() bool { return !c.Alive() })
	}
	for name, do := range map[string]func(c *Conn, other *net.TCPConn, goOn func(), await func() bool) bool{
		"answered, awaited, late": func(c *Conn, other *net.TCPConn, goOn func(), await func() bool) bool {
			answer(c, other)
			runs := await()
			goOn()
			return runs
		},
		"awaited, answered, late": func(c *Conn, other *net.TCPConn, goOn func(), await func() bool) bool {
			runs := await()
			answer(c, other)
			goOn()
			return runs
		},
		"awaited, late, answered": func(c *Conn, other *net.TCPConn, goOn func(), await func() bool) bool {
			runs := await()
			goOn()
			answer(c, other)
			return runs
		},
		"late, awaited, answered": func(c *Conn, other *net.TCPConn, goOn func(), await func() bool) bool {
			goOn()
			until(t, "its goroutine waits", func() bool { return c.watch.Load() == waiting })
			runs := await()
			answer(c, other)
			return runs
		},
		"answered, late, not awaited": func(c *Conn, other *net.TCPConn, goOn func(), await func() bool) bool {
			answer(c, other)
			goOn()
			until(t, "its goroutine has ended", func() bool { return c.watch.Load() == unwatched })
			return !await()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			c, other, goOn := p.late()
			c.ReadTimeout(20 * time.Second)
			answered := make(chan error, 1)
			run := func() {
				var buf [4]byte
				_, err := io.ReadFull(c.Reader(), buf[:])
				answered <- err
				c.Discard()
			}
			awaited := false
			if !do(c, other, goOn, func() bool { awaited = c.Await(run); return awaited }) {
				t.Fatal("the goroutine does not do its part")
			}
			if !awaited {
				run()
			}
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// No answer is missed, however closely use follows use: each round begins as soon
// as the last one's connection is in the pool, while its goroutine may still be on
// the way to its next wait.
func TestAwaitMissesNothing(t *testing.T) {
	p := newPeer(t)
	go func() {
		for {
			nc, err := p.ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				_, _ = io.Copy(nc, nc)
			}()
		}
	}()
	const rounds = 2000
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			answered := make(chan error, 1)
			for range rounds {
				c, err := p.b.Acquire(false)
				if err == nil {
					err = c.Connect()
				}
				if err != nil {
					t.Error(err)
					return
				}
				run := func() {
					var buf [4]byte
					_, err := io.ReadFull(c.Reader(), buf[:])
					if err == nil {
						c.Release()
					} else {
						c.Discard()
					}
					answered <- err
				}
				c.ReadTimeout(20 * time.Second)
				if _, err := c.TryWrite([]byte("ping")); err != nil {
					t.Error(err)
				}
				if !c.Await(run) {
					run()
				}
				if err := <-answered; err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	p.b.Close()
}
