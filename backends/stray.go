package backends

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/internal/netio"
)

// strayTime is Options.StrayTime unless given.
const strayTime = 10 * time.Minute

// strays remembers that a backend has sent bytes that nobody asked for (R32). A look finds those
// that have come. Those that come between the look and the next request would be taken for that
// one's answer, and no look can rule that out. So for a time no connection of such a backend is
// used again.
type strays struct {
	over time.Duration // Options.StrayTime
	seen atomic.Int64  // when they were seen last, in time since epoch; 0 is never
	told func()        // that they were seen, unless that is known; may be nil
}

func (s *strays) note() {
	now := time.Since(epoch)
	if before := s.seen.Swap(int64(now)); !s.covers(before, now) && s.told != nil {
		s.told()
	}
}

// recent reports whether connections may be used only once.
func (s *strays) recent() bool {
	seen := s.seen.Load()
	return seen != 0 && s.covers(seen, time.Since(epoch))
}

func (s *strays) covers(seen int64, now time.Duration) bool {
	return seen != 0 && now-time.Duration(seen) < s.over
}

// look returns nil if the peer has neither closed the connection nor sent anything that has not
// been read (R32). Stray bytes that arrive after this look cannot be told from the response:
// nothing ties an HTTP/1.1 response to its request. After an error nothing can be read any more.
func (c *Conn) look() error {
	var err error
	if c.hasUnread() {
		err = netio.ErrUnasked
	} else if tc, ok := c.Conn.(*tls.Conn); ok {
		err = c.tls.look(tc, false)
	} else {
		err = c.sock.Look()
	}
	if errors.Is(err, netio.ErrUnasked) && !isHarmless(c.unasked()) {
		c.backend.strays.note()
	}
	return err
}

// hasUnread reports whether something was received that has not been read.
func (c *Conn) hasUnread() bool {
	return len(c.unread) > 0 || c.reader != nil && c.reader.Buffered() > 0
}

// unasked is the beginning of what look has found.
func (c *Conn) unasked() []byte {
	switch {
	case c.hasUnread():
		_, _ = c.Reader().Peek(1) // what was given back by Unread
		p, _ := c.reader.Peek(min(len(closing), c.reader.Buffered()))
		return p
	case c.tls != nil:
		return c.tls.first[:c.tls.nFirst]
	}
	p := make([]byte, len(closing))
	n, _ := c.sock.ReceiveNow(p)
	return p[:n]
}

// closing is how a 408 begins. Some servers send one before they close an idle connection; it is
// known for what it is even as an answer (R12).
const closing = "HTTP/1.? 408"

// isHarmless reports whether p, which came unasked, is nothing, as when TLS itself was spoken, or a
// 408.
func isHarmless(p []byte) bool {
	const minor = len("HTTP/1.")
	return len(p) == 0 || len(p) == len(closing) && string(p[:minor]) == closing[:minor] && string(p[minor+1:]) == closing[minor+1:]
}
