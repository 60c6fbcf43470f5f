package backends

import (
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR32NoConnectionIsUsedAgainAfterStrayBytes: what a backend says unasked may come right before a request next
// time, where no look can find it.
func TestR32NoConnectionIsUsedAgainAfterStrayBytes(t *testing.T) {
	for name, test := range map[string]struct {
		said  string
		stray bool
	}{
		"an answer": {"HTTP/1.1 200 OK\r\n\r\n", true},
		"a byte":    {"x", true},
		// It is known for what it is whenever it comes (R12).
		"a 408": {"HTTP/1.0 408 Request Time-out\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			told := 0
			p.b.strays.told = func() { told++ }
			bystander, other := p.connect()
			exchange(t, bystander, other)
			c, talker := p.connect()
			exchange(t, c, talker)
			bystander.Release()
			c.Release()
			_, err := talker.Write([]byte(test.said))
			testkit.MustDo(t, err)
			testkit.Eventually(t, "it has come", func() bool { return c.sock.HasInput() })
			next := acquire(t, p.b, false) // looks at what has come
			if got := next != bystander; got != test.stray {
				t.Fatalf("after %q an idle connection is used again: %v", test.said, !got)
			}
			wantClosed(t, talker)
			if !test.stray {
				if told != 0 {
					t.Error("it was told")
				}
				next.Discard()
				return
			}
			wantClosed(t, other)
			for range 2 {
				testkit.MustDo(t, next.Connect())
				other = p.accept()
				exchange(t, next, other)
				next.Release()
				wantClosed(t, other)
				next = acquire(t, p.b, false)
			}
			if told != 1 {
				t.Errorf("it was told %d times", told)
			}
			// After some time connections are used again.
			p.b.strays.seen.Add(-int64(strayTime))
			testkit.MustDo(t, next.Connect())
			other = p.accept()
			exchange(t, next, other)
			next.Release()
			if again := acquire(t, p.b, false); again != next {
				t.Error("no connection is used again for good")
			}
			next.Discard()
		})
	}
}

// TestR32StrayBytesOverTLS: they are known when they are looked for, right behind an answer, and when connections are
// not used again any more. What TLS itself says is no stray byte.
func TestR32StrayBytesOverTLS(t *testing.T) {
	b, c, server, ticket, tcp := tlsPeer(t)
	_, err := tcp.Write(ticket)
	testkit.MustDo(t, err)
	testkit.Eventually(t, "it has come", func() bool { return c.sock.HasInput() })
	passOn(server)
	if !c.Alive() || b.strays.recent() {
		t.Fatal("a session ticket is taken for stray bytes")
	}
	exchange(t, c, server)
	_, err = server.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n"))
	testkit.MustDo(t, err)
	testkit.Eventually(t, "it has come", func() bool { return c.sock.HasInput() })
	if c.Alive() || b.strays.recent() {
		t.Error("a 408 is taken for stray bytes")
	}
	_, err = server.Write([]byte("stray"))
	testkit.MustDo(t, err)
	testkit.Eventually(t, "it has come", func() bool { return !c.Alive() && b.strays.recent() })
	c.Discard()
}

// TestR32SurplusIsStray: what follows directly behind an answer shows it as well.
func TestR32SurplusIsStray(t *testing.T) {
	p := newPeer(t)
	c, other := p.connect()
	ask(t, c, other)
	_, err := other.Write([]byte("x"))
	testkit.MustDo(t, err)
	testkit.Eventually(t, "it has come", func() bool { _, err := c.Reader().Peek(5); return err == nil })
	hear(t, c)
	c.Release()
	wantClosed(t, other)
	if !p.b.strays.recent() {
		t.Error("nobody remembers")
	}
}
