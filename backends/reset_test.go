package backends

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// Whatever ends a connection with part of a message on it, the backend must see a reset. Over TLS
// the reset comes below the records, because a close_notify would be a proper end (R31).

// givenUp lists the ways in which a connection ends, and what the backend's read returns then.
var givenUp = []struct {
	name  string
	end   func(c *Conn)
	reset bool
}{
	{"reset", func(c *Conn) { c.Reset() }, true},
	{"reset while guarded", func(c *Conn) { c.Guard(true); c.Reset() }, true},
	{"reset after an abort", func(c *Conn) { c.Abort(); c.Reset() }, true},
	{"reset after its writing was aborted", func(c *Conn) { c.AbortWrite(); c.Reset() }, true},
	{"discarded", func(c *Conn) { c.Discard() }, false},
	{"discarded after it was guarded", func(c *Conn) { c.Guard(true); c.Guard(false); c.Discard() }, false},
	{"discarded while guarded", func(c *Conn) { c.Guard(true); c.Discard() }, false},
}

func TestR31HowConnectionsEnd(t *testing.T) {
	for _, how := range givenUp {
		t.Run("plain, "+how.name, func(t *testing.T) {
			p := newPeer(t)
			c, other := p.connect()
			wantEnd(t, c, other, how.end, how.reset)
		})
		t.Run("TLS, "+how.name, func(t *testing.T) {
			_, c, other, _, _ := tlsPeer(t)
			wantEnd(t, c, other, how.end, how.reset)
		})
	}
}

// TestR31PoolClosesIdleConnectionsInTheOrdinaryWay: no part of a message is on them.
func TestR31PoolClosesIdleConnectionsInTheOrdinaryWay(t *testing.T) {
	p := newPeer(t)
	c, other := p.connect()
	c.Guard(true)
	wantEnd(t, c, other, func(c *Conn) {
		c.Release()
		p.b.Close()
	}, false)
}

// wantEnd sends part of a message, ends the connection, and checks what the other side sees.
func wantEnd(t *testing.T, c *Conn, other net.Conn, end func(*Conn), reset bool) {
	t.Helper()
	if _, err := c.Send([]byte("part of a message"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(other, make([]byte, len("part of a message"))); err != nil {
		t.Fatal(err)
	}
	end(c)
	_, err := other.Read(make([]byte, 1))
	if got := errors.Is(err, syscall.ECONNRESET); got != reset {
		t.Fatalf("the backend's read says %v; a reset is wanted: %v", err, reset)
	}
	if !reset && err != io.EOF {
		t.Fatalf("the backend's read says %v in place of EOF", err)
	}
}

// TestR31DeathOfTheProcessResets: a process that is killed with part of a message on a guarded
// connection can no longer reset it; the system does.
func TestR31DeathOfTheProcessResets(t *testing.T) {
	if url := os.Getenv("AKUBRA_TEST_DIE_BEFORE"); url != "" {
		c := acquire(t, newBackend(t, url, nil), true)
		testkit.MustDo(t, c.Connect())
		c.Guard(true)
		if _, err := c.Send([]byte("part of a message"), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		select {} // until the process is killed
	}
	p := newPeer(t)
	child := exec.Command(os.Args[0], "-test.run", "^TestR31DeathOfTheProcessResets$")
	child.Env = append(os.Environ(), "AKUBRA_TEST_DIE_BEFORE="+p.b.URL())
	testkit.MustDo(t, child.Start())
	defer func() { _ = child.Wait() }()
	defer func() { _ = child.Process.Kill() }()
	other := p.accept()
	if _, err := io.ReadFull(other, make([]byte, len("part of a message"))); err != nil {
		t.Fatal(err)
	}
	testkit.MustDo(t, child.Process.Kill())
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the backend's read says %v in place of a reset", err)
	}
}
