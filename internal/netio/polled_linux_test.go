package netio

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/testkit"
)

// A watched connection is in exactly one epoll instance, its poller's; the runtime's does not know
// it. The kernel reports what each instance holds (proc_pid_fdinfo(5)).
func TestOnePollerWatches(t *testing.T) {
	p := newPeer(t)
	c, _ := p.watched()
	defer c.nc.Close()
	var st unix.Stat_t
	testkit.MustDo(t, unix.Fstat(c.watch.polled.fd, &st))
	socket := fmt.Sprintf("ino:%x", st.Ino)
	files, err := filepath.Glob("/proc/self/fdinfo/*")
	testkit.MustDo(t, err)
	instances := 0
	for _, name := range files {
		info, err := os.ReadFile(name)
		if err != nil {
			continue // closed meanwhile
		}
		for line := range bytes.Lines(info) {
			if bytes.HasPrefix(line, []byte("tfd:")) && slices.Contains(strings.Fields(string(line)), socket) {
				instances++
			}
		}
	}
	if instances != 1 {
		t.Errorf("%d epoll instances hold it", instances)
	}
}

// Whoever waits for a watched connection is told what happens to it, even if it happened just
// before.
func TestWaitingEnds(t *testing.T) {
	timeout := func(_ int, err error) bool { return IsTimeout(err) }
	closed := func(_ int, err error) bool { return errors.Is(err, net.ErrClosed) }
	tests := []struct {
		name  string
		write bool
		do    func(c *Socket, other *net.TCPConn)
		want  func(n int, err error) bool
	}{
		{"bytes", false, func(_ *Socket, other *net.TCPConn) { _, _ = other.Write([]byte("pong")) }, func(n int, err error) bool { return n == 4 && err == nil }},
		{"RST", false, func(_ *Socket, other *net.TCPConn) { _ = other.SetLinger(0); _ = other.Close() }, func(n int, err error) bool { return n == 0 && err != nil && !IsTimeout(err) }},
		{"deadline", false, func(c *Socket, _ *net.TCPConn) { c.SetReadDeadline(time.Now().Add(time.Millisecond)) }, timeout},
		{"deadline that is over", false, func(c *Socket, _ *net.TCPConn) { c.SetReadDeadline(past) }, timeout},
		{"deadline that was moved here", false, func(c *Socket, _ *net.TCPConn) {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
		}, timeout},
		{"closing", false, func(c *Socket, _ *net.TCPConn) { _ = c.nc.Close() }, closed},
		{"room", true, func(_ *Socket, other *net.TCPConn) { readAll(other) }, func(n int, err error) bool { return n > 0 && err == nil }},
		{"RST", true, func(_ *Socket, other *net.TCPConn) { _ = other.SetLinger(0); _ = other.Close() }, func(n int, err error) bool { return n == 0 && err != nil && !IsTimeout(err) }},
		{"deadline", true, func(c *Socket, _ *net.TCPConn) { c.SetWriteDeadline(time.Now().Add(time.Millisecond)) }, timeout},
		{"closing", true, func(c *Socket, _ *net.TCPConn) { _ = c.nc.Close() }, closed},
	}
	for _, tt := range tests {
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t/%t", tt.name, tt.write, early), func(t *testing.T) {
				p := newPeer(t)
				c, other := p.watched()
				defer c.nc.Close()
				_ = c.nc.SetDeadline(time.Time{})
				if tt.write {
					fillUp(t, c)
				}
				d := &c.watch.polled.in
				if tt.write {
					d = &c.watch.polled.out
				}
				var begun atomic.Bool
				if early {
					begun.Store(true)
					tt.do(c, other)
				}
				var n int
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					if !tt.write {
						n, err = c.Receive(Piece{Bytes: make([]byte, 16)})
						return
					}
					for {
						n, err = c.Send(Piece{Bytes: make([]byte, 1<<20)})
						if err != nil || begun.Load() && tt.want(n, err) {
							return
						}
						// The system has found room for some more after all.
					}
				}()
				if !early {
					testkit.Eventually(t, "somebody waits", func() bool { return d.state.Load() == waited })
					begun.Store(true)
					tt.do(c, other)
				}
				testkit.Receive(t, "the end of the wait", done)
				if !tt.want(n, err) {
					t.Fatalf("%d, %v", n, err)
				}
			})
		}
	}
}

// readAll reads everything, in the background.
func readAll(other *net.TCPConn) {
	go func() {
		buf := make([]byte, 1<<20)
		for {
			if _, err := other.Read(buf); err != nil {
				return
			}
		}
	}()
}

// A deadline that was cleared or moved ends nothing, even if its timer has run.
func TestDeadlineThatWasTakenBack(t *testing.T) {
	p := newPeer(t)
	c, other := p.watched()
	defer c.nc.Close()
	d := &c.watch.polled.in
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	testkit.Eventually(t, "it is over", d.over.Load)
	c.SetReadDeadline(time.Now().Add(time.Hour))
	d.lapse() // like a timer that had already fired
	if d.over.Load() {
		t.Fatal("over, though it was moved away")
	}
	c.SetReadDeadline(time.Time{})
	d.lapse()
	if d.over.Load() {
		t.Fatal("over, though it was taken back")
	}
	ask(t, c, other)
	hear(t, c)
}
