package netio

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// watched returns an idle socket about which the poller has nothing more to report.
func (p *peer) watched() (*Socket, *net.TCPConn) {
	p.t.Helper()
	c, other := p.connect()
	testkit.Eventually(p.t, "it has told that there is room", func() bool { return c.watch.polled.out.state.Load() == moved })
	ask(p.t, c, other)
	testkit.Eventually(p.t, "it has told of the answer", func() bool { return c.watch.state.Load() == hasMore })
	hear(p.t, c)
	c.PutDown()
	p.takeUp(c)
	return c, other
}

// takeUp takes up an idle socket, which is watched again from then on.
func (p *peer) takeUp(c *Socket) {
	p.t.Helper()
	c.TakeUp()
	testkit.MustDo(p.t, c.Look())
	if s := c.watch.state.Load(); s != waiting {
		p.t.Fatalf("it is not watched, but in state %d", s)
	}
}

func TestAwaitRunsWhenSomethingCame(t *testing.T) {
	tests := []struct {
		name string
		do   func(c *Socket, other *net.TCPConn)
		want func(n int, err error) bool
	}{
		{"bytes", func(_ *Socket, other *net.TCPConn) { _, _ = other.Write([]byte("pong")) }, func(n int, err error) bool { return n == 4 && err == nil }},
		{"FIN", func(_ *Socket, other *net.TCPConn) { _ = other.CloseWrite() }, func(n int, err error) bool { return n == 0 && err == io.EOF }},
		{"RST", func(_ *Socket, other *net.TCPConn) { _ = other.SetLinger(0); _ = other.Close() }, func(n int, err error) bool { return n == 0 && err != nil && !IsTimeout(err) }},
		{"timeout", func(c *Socket, _ *net.TCPConn) { c.SetReadDeadline(time.Now().Add(time.Millisecond)) }, func(n int, err error) bool { return n == 0 && IsTimeout(err) }},
		{"abort", func(c *Socket, _ *net.TCPConn) { c.Stop() }, func(n int, err error) bool { return n == 0 && IsTimeout(err) }},
	}
	for _, tt := range tests {
		for _, early := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				p := newPeer(t)
				c, other := p.watched()
				done := make(chan bool, 1)
				run := func() func() {
					n, err := c.Receive(Piece{Bytes: make([]byte, 16)})
					_ = c.nc.Close()
					done <- tt.want(n, err)
					return nil
				}
				if early { // before anybody awaits it
					tt.do(c, other)
					testkit.Eventually(t, "it is seen", func() bool {
						return c.watch.state.Load() == unwatched || c.watch.polled.lapsed() || c.ReceivingStopped()
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
				if !testkit.Receive(t, "the end of a goroutine", done) {
					t.Fatal("not what had happened")
				}
			})
		}
	}
}

func TestAwaitNeedsASocketThatWasIdle(t *testing.T) {
	p := newPeer(t)
	c, _ := p.connect()
	defer c.nc.Close()
	if c.Await(func() func() { t.Error("it ran"); return nil }) {
		t.Fatal("a new connection can be awaited")
	}
}

// What may have to wait runs on a goroutine of its own. Meanwhile the poller reports other input,
// even this socket's next response.
func TestAwaitedMayGoOnElsewhere(t *testing.T) {
	p := newPeer(t)
	c, other := p.watched()
	defer c.nc.Close()
	p.w.next.Add(^uint32(0)) // the same poller has both
	c2, other2 := p.watched()
	defer c2.nc.Close()
	goOn, done := make(chan struct{}), make(chan struct{})
	if !c.Await(func() func() { return func() { <-goOn; close(done) } }) {
		t.Fatal("it cannot be awaited")
	}
	_, _ = other.Write([]byte("x"))
	testkit.Eventually(t, "it has come", func() bool { return c.watch.state.Load() != awaited })
	if !c2.Await(func() func() { close(goOn); return nil }) {
		t.Fatal("the second one cannot be awaited")
	}
	_, _ = other2.Write([]byte("x"))
	testkit.Receive(t, "what the poller has begun, and does not wait for", done)
}

// R12: whatever the peer did to an idle socket, closing it or sending unasked, is noticed.
func TestR12WhatEndsAnIdleSocketIsSeen(t *testing.T) {
	for name, do := range map[string]func(other *net.TCPConn){
		"FIN":         func(other *net.TCPConn) { _ = other.CloseWrite() },
		"RST":         func(other *net.TCPConn) { _ = other.SetLinger(0); _ = other.Close() },
		"stray bytes": func(other *net.TCPConn) { _, _ = other.Write([]byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			c, other := p.watched()
			defer c.nc.Close()
			do(other)
			testkit.Eventually(t, "it is seen", func() bool { return c.watch.state.Load() == unwatched })
			if c.Await(func() func() { t.Error("it ran"); return nil }) {
				t.Error("it can be awaited, though something has come before the request")
			}
			c.TakeUp()
			if c.Look() == nil {
				t.Error("the look sees nothing")
			}
		})
	}
}

// A deadline left over from the last use does not cost the connection.
func TestIdleSocketOutlivesItsDeadline(t *testing.T) {
	p := newPeer(t)
	c, other := p.watched()
	defer c.nc.Close()
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	testkit.Eventually(t, "it has passed", c.watch.polled.lapsed)
	c.PutDown()
	p.takeUp(c)
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	answered := make(chan error, 1)
	if !c.Await(func() func() {
		_, err := c.ReceiveNow(make([]byte, 1))
		answered <- err
		return nil
	}) {
		t.Fatal("it cannot be awaited any more")
	}
	if _, err := other.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	testkit.MustDo(t, testkit.Receive(t, "the answer", answered))
}

// A socket that its owner reads without Await is watched again afterwards.
func TestReceiveWithoutAwait(t *testing.T) {
	p := newPeer(t)
	c, other := p.watched()
	defer c.nc.Close()
	ask(t, c, other)
	testkit.Eventually(t, "the poller has told of the answer", func() bool { return c.watch.state.Load() == unwatched })
	hear(t, c)
	c.PutDown()
	p.takeUp(c)
}

// R12: input that arrives while a response is being read is not taken for the next response, and
// the peer's close is not missed.
func TestR12MoreInputIsNoticed(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(other *net.TCPConn)
		size int // of the response
		kept bool
	}{
		"FIN":         {func(other *net.TCPConn) { _ = other.CloseWrite() }, 1, false},
		"stray bytes": {func(other *net.TCPConn) { _, _ = other.Write([]byte("x")) }, 1, false},
		"more of it":  {func(other *net.TCPConn) { _, _ = other.Write([]byte("y")) }, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			c, other := p.watched()
			defer c.nc.Close()
			begun, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
			if !c.Await(func() func() {
				return func() {
					close(begun)
					<-goOn
					receiveAll(t, c, tt.size)
					c.PutDown()
					close(done)
				}
			}) {
				t.Fatal("it cannot be awaited")
			}
			_, _ = other.Write([]byte("x"))
			testkit.Receive(t, "its beginning", begun)
			tt.do(other)
			testkit.Eventually(t, "it is seen", func() bool { return c.watch.state.Load() == hasMore })
			close(goOn)
			testkit.Receive(t, "the end of a goroutine", done)
			c.TakeUp()
			if kept := c.Look() == nil; kept != tt.kept {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}

// A closed connection is forgotten, and its descriptor can be reused.
func TestClosedSocketsAreForgotten(t *testing.T) {
	p := newPeer(t)
	c, _ := p.watched()
	polled := c.watch.polled
	watched := func() bool {
		polled.poller.mu.Lock()
		defer polled.poller.mu.Unlock()
		return polled.poller.conns[int32(polled.fd)] == polled
	}
	if !watched() {
		t.Fatal("it is not known while it is open")
	}
	_ = c.nc.Close()
	if watched() {
		t.Error("it is still known")
	}
}

// No response is missed, however closely one use follows another: each round starts as soon as the
// last one's connection is in the pool, although the code that put it there may not have returned.
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
		c := p.dial()
		all.Go(func() {
			defer func() { _ = c.nc.Close() }()
			answered := make(chan error, 1)
			c.SetReadDeadline(time.Now().Add(time.Minute))
			for range rounds {
				run := func() (next func()) {
					var buf [4]byte
					n, err := c.ReceiveNow(buf[:])
					end := func() {
						for n < len(buf) && err == nil {
							var more int
							more, err = c.Receive(Piece{Bytes: buf[n:]})
							n += more
						}
						c.PutDown()
						answered <- err
					}
					if n < len(buf) && err == nil {
						return end // a late report of input that had been received already
					}
					end()
					return nil
				}
				c.TakeUp()
				err := c.Look()
				if err == nil {
					_, err = c.SendNow(Piece{Bytes: []byte("ping")})
				}
				if err == nil {
					if !c.Await(run) {
						if next := run(); next != nil {
							next()
						}
					}
					err = <-answered
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	testkit.Finish(t, "all goroutines end", all.Wait)
}

// R22, R31: what was stopped before it was opened, such as a dial that was given up, waits for
// nothing.
func TestStopHoldsForWhatIsOpenedLater(t *testing.T) {
	p := newPeer(t)
	nc, err := net.Dial("tcp", p.ln.Addr().String())
	testkit.MustDo(t, err)
	s := &Socket{}
	s.Stop()
	p.w.Open(s, nc)
	defer s.nc.Close()
	if _, err := s.Receive(Piece{Bytes: make([]byte, 1)}); !IsTimeout(err) {
		t.Errorf("receiving: %v", err)
	}
	if _, err := s.Send(Piece{Bytes: make([]byte, 1)}); !IsTimeout(err) {
		t.Errorf("sending: %v", err)
	}
	if s.SetReadDeadline(time.Time{}); s.Await(func() func() { return nil }) {
		t.Error("it is awaited")
	}
	if _, err := s.Receive(Piece{Bytes: make([]byte, 1)}); !IsTimeout(err) {
		t.Errorf("receiving, after its deadline was taken back: %v", err)
	}
}
