package backends

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// watched gives a connection that has come back from the pool, of which the poller has
// nothing more to tell.
func (p *peer) watched() (*Conn, *net.TCPConn) {
	p.t.Helper()
	c, other := p.connect()
	until(p.t, "it has told that there is room", func() bool { return c.polled.out.state.Load() == moved })
	ask(p.t, c, other)
	until(p.t, "it has told of the answer", func() bool { return c.watch.Load() == stirred })
	hear(p.t, c)
	c.Release()
	if again := acquire(p.t, p.b, false); again != c {
		p.t.Fatal("another connection")
	}
	if s := c.watch.Load(); s != waiting {
		p.t.Fatalf("it is not watched, but in state %d", s)
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
					until(t, "it is seen", func() bool {
						return c.watch.Load() == unwatched || c.polled.lapsed() || c.aborted.Load()
					})
					if c.Await(run) {
						t.Fatal("it is awaited, though it has come")
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
		t.Fatal("a new connection can be awaited")
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
	until(t, "it has passed", c.polled.lapsed)
	c.Release()
	if again := acquire(t, p.b, false); again != c {
		t.Fatal("another connection")
	}
	c.ReadTimeout(20 * time.Second)
	answered := make(chan error, 1)
	if !c.Await(func() {
		_, err := c.Reader().ReadByte()
		answered <- err
		c.Discard()
	}) {
		t.Fatal("it cannot be awaited any more")
	}
	if _, err := other.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

// A connection that is read without Await, by whoever holds it, is read all the
// same, and watched again afterwards.
func TestReadWithoutAwait(t *testing.T) {
	p := newPeer(t)
	c, other := p.watched()
	ask(t, c, other)
	until(t, "the poller has told of the answer", func() bool { return c.watch.Load() == unwatched })
	hear(t, c)
	c.Release()
	if again := acquire(t, p.b, false); again != c {
		t.Fatal("another connection")
	}
	if s := c.watch.Load(); s != waiting {
		t.Errorf("it is not watched again, but in state %d", s)
	}
	c.Discard()
	wantClosed(t, other)
}

// R12: what comes while an answer is being read is not taken for the next one's, and
// the peer's end is not missed.
func TestR12StirredConnectionsAreLookedAt(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(other *net.TCPConn)
		kept bool
	}{
		"FIN":         {func(other *net.TCPConn) { _ = other.CloseWrite() }, false},
		"stray bytes": {func(other *net.TCPConn) { _, _ = other.Write([]byte("x")) }, false},
		"more of it":  {func(other *net.TCPConn) { _, _ = other.Write([]byte("y")) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			c, other := p.watched()
			begun, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			read := func() {
				close(begun)
				<-goOn
				buf := make([]byte, 1)
				if tt.kept {
					buf = make([]byte, 2)
				}
				if _, err := io.ReadFull(c, buf); err != nil {
					t.Error(err)
				}
				c.Release()
				close(done)
			}
			if !c.Await(func() { go read() }) {
				t.Fatal("it cannot be awaited")
			}
			_, _ = other.Write([]byte("x"))
			<-begun
			tt.do(other)
			until(t, "it is seen", func() bool { return c.watch.Load() == stirred })
			close(goOn)
			<-done
			again := acquire(t, p.b, false)
			if kept := again == c; kept != tt.kept {
				t.Errorf("kept: %v", kept)
			}
			again.Discard()
		})
	}
}

// A connection that is closed is forgotten, and its number is free for another one.
func TestClosedConnectionsAreForgotten(t *testing.T) {
	p := newPeer(t)
	c, _ := p.watched()
	poller, fd := c.poller, int32(c.polled.fd)
	watched := func() bool {
		poller.mu.Lock()
		defer poller.mu.Unlock()
		return poller.conns[fd] == c
	}
	if !watched() {
		t.Fatal("it is not known while it is open")
	}
	c.Discard()
	if watched() {
		t.Error("it is still known")
	}
}

// No answer is missed, however closely use follows use: each round begins as soon
// as the last one's connection is in the pool, while what it ran may not have returned.
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
					n, err := c.ReadFirst(buf[:], false)
					end := func() {
						if err == nil {
							_, err = io.ReadFull(c, buf[n:])
						}
						if err == nil {
							c.Release()
						} else {
							c.Discard()
						}
						answered <- err
					}
					if n < len(buf) && err == nil {
						go end() // it was told late of what had been read already
					} else {
						end()
					}
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
