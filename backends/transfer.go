package backends

import (
	"bufio"
	"errors"
	"net"
	"os"
	"time"

	"github.com/akubra/akubra/internal/netio"
)

// Reader buffers what the backend sends, until Release or Discard.
func (c *Conn) Reader() *bufio.Reader {
	if c.reader == nil {
		c.reader = c.backend.client.AcquireReader(c)
	}
	return c.reader
}

// ReadFirst makes one read that bypasses Reader; it must come before the first use of Reader.
// Without wait it returns 0 and no error if nothing has arrived, and always over TLS.
func (c *Conn) ReadFirst(p []byte, wait bool) (int, error) {
	switch {
	case wait:
		return c.receive(p)
	case c.tls == nil:
		return c.sock.ReceiveNow(p)
	}
	return 0, nil
}

// Unread gives back what ReadFirst has read: the Reader's next read returns p, then err. p must not
// change until then and must fit into the Reader's buffer.
func (c *Conn) Unread(p []byte, err error) { c.unread, c.unreadErr = p, err }

// Read is net.Conn's Read, bounded by ReadTimeout.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	if err := c.unreadErr; err != nil {
		c.unreadErr = nil
		return 0, err
	}
	return c.receive(p)
}

func (c *Conn) receive(p []byte) (int, error) {
	switch {
	case c.tls != nil:
		return c.Conn.Read(p)
	case len(p) == 0:
		return 0, nil
	}
	return c.sock.Receive(netio.Piece{Bytes: p})
}

// Skip discards the next n bytes that the backend sends, within Read's timeout.
func (c *Conn) Skip(n int64) error {
	br := c.Reader()
	have, err := br.Discard(int(min(n, int64(br.Buffered()))))
	for n -= int64(have); n > 0 && err == nil; n -= int64(have) {
		if step := int(min(n, 1<<30)); c.tls != nil {
			have, err = br.Discard(step)
		} else {
			have, err = c.sock.Receive(netio.Piece{Size: step})
		}
	}
	return err
}

// ReadTimeout makes a Read in progress, and every later one, time out when d from now has passed,
// or up to an eighth of d later; 0 means never. It does not undo an Abort. Any goroutine may call
// it.
func (c *Conn) ReadTimeout(d time.Duration) {
	if d == 0 {
		if c.readUntil.Swap(0) != 0 {
			c.sock.SetReadDeadline(time.Time{})
		}
		return
	}
	// Moving a deadline costs more than checking whether it has to move.
	now := time.Since(epoch)
	if until := time.Duration(c.readUntil.Load()); until >= now+d && until <= now+d+d/8 {
		return
	}
	d += d / 8
	c.readUntil.Store(int64(now + d))
	c.sock.SetReadDeadline(time.Now().Add(d))
}

var epoch = time.Now()

// TryWrite sends as much of p as the socket takes at once. Over TLS it sends nothing, because part
// of a record cannot be sent.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if c.tls != nil {
		return 0, nil
	}
	return c.transfer(netio.Piece{Bytes: p}, 0)
}

// Send sends part of p, waiting if necessary until the socket takes at least one byte. It times out
// when the peer has taken nothing for patience, not even of what was sent before (R11). Over TLS it
// sends all of p, which should be one record.
func (c *Conn) Send(p []byte, patience time.Duration) (int, error) {
	if c.tls != nil {
		c.sock.SetWriteDeadline(time.Now().Add(patience))
		return c.Conn.Write(p)
	}
	return c.transfer(netio.Piece{Bytes: p}, patience)
}

// SplicePipe sends some of the n bytes that are in a pipe, as Send does, without copying them
// through user space; with a patience of 0 it does not wait, like TryWrite. With more, a partial
// packet is held back until more is sent or the peer has acknowledged what came before. Linux only,
// and not over TLS.
func (c *Conn) SplicePipe(pipe, n int, more bool, patience time.Duration) (int, error) {
	if c.tls != nil {
		return 0, errNoSplice
	}
	return c.transfer(netio.Piece{Pipe: pipe, Size: n, More: more}, patience)
}

// transfer sends part of p; with a patience of 0 it never waits. It sets a write deadline only
// while it waits and clears it afterwards, so that a send that need not wait needs no deadline.
func (c *Conn) transfer(p netio.Piece, patience time.Duration) (int, error) {
	unsent := -1
	for {
		if c.sock.SendingStopped() {
			return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}
		}
		var n int
		var err error
		if patience > 0 && unsent >= 0 {
			n, err = c.sock.Send(p)
		} else {
			n, err = c.sock.SendNow(p)
		}
		switch {
		case n > 0 || err != nil && !netio.IsTimeout(err):
		case err == nil && patience == 0:
			return 0, nil
		case err != nil && c.sock.SendingStopped():
		default:
			// It has to wait, or has waited. It may go on as long as the peer keeps taking what the
			// system holds for it.
			left := c.sock.Unsent()
			if err != nil && (left < 0 || left >= unsent) {
				break
			}
			unsent = max(left, 0)
			c.sock.SetWriteDeadline(time.Now().Add(patience))
			continue
		}
		if unsent >= 0 {
			c.sock.SetWriteDeadline(time.Time{})
		}
		return n, err
	}
}

// Unsent is the number of bytes that the peer has not acknowledged yet, or -1 if unknown, as over
// TLS. Any goroutine may call it.
func (c *Conn) Unsent() int {
	c.mu.Lock() // against a Connect
	defer c.mu.Unlock()
	if c.tls != nil {
		return -1
	}
	return c.sock.Unsent()
}

// Acknowledged is how many bytes the peer has acknowledged so far, of all that was ever sent on the connection,
// whether it has yet to acknowledge others, and whether these were sent again and again in vain; both are false
// where the system does not tell. Any goroutine may call it.
func (c *Conn) Acknowledged() (bytes uint64, more, again bool) {
	c.mu.Lock() // against a Connect
	defer c.mu.Unlock()
	return c.sock.Acknowledged()
}

var errNoSplice = errors.New("cannot splice to this connection")
