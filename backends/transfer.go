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

// ReadFirst reads once, past the Reader and before that is asked for. Without wait it
// gives 0 and no error where nothing is there, and over TLS always.
func (c *Conn) ReadFirst(p []byte, wait bool) (int, error) {
	switch {
	case wait:
		return c.receive(p)
	case c.tls == nil:
		return c.sock.ReceiveNow(p)
	}
	return 0, nil
}

// Unread gives back what ReadFirst has read: the Reader gets it with its next read,
// until which p must stay as it is, and then the error. p is no larger than the Reader.
func (c *Conn) Unread(p []byte, err error) { c.unread, c.unreadErr = p, err }

// Read reads as net.Conn does, as long as ReadTimeout allows.
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

// Skip throws the next n bytes away that the backend sends, in the time that Read
// has.
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

// ReadTimeout makes a Read under way, and each later one, fail with a timeout
// once d is over from now, or up to an eighth of it later; 0 is never. It does not
// undo an Abort. Any goroutine may call it.
func (c *Conn) ReadTimeout(d time.Duration) {
	if d == 0 {
		if c.readUntil.Swap(0) != 0 {
			c.sock.SetReadDeadline(time.Time{})
		}
		return
	}
	// Moving a deadline costs more than looking whether it has to be moved.
	now := time.Since(epoch)
	if until := time.Duration(c.readUntil.Load()); until >= now+d && until <= now+d+d/8 {
		return
	}
	d += d / 8
	c.readUntil.Store(int64(now + d))
	c.sock.SetReadDeadline(time.Now().Add(d))
}

var epoch = time.Now()

// TryWrite sends as much of p as the socket takes at once. Over TLS that is
// nothing: a record cannot be sent in halves.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if c.tls != nil {
		return 0, nil
	}
	return c.transfer(netio.Piece{Bytes: p}, 0)
}

// Send sends some of p, or waits until the socket takes some: at least a byte,
// unless there is an error. It is a timeout when the peer has taken nothing for
// patience, of what was sent before neither (R11). Over TLS p is sent whole, and
// should be one record.
func (c *Conn) Send(p []byte, patience time.Duration) (int, error) {
	if c.tls != nil {
		c.sock.SetWriteDeadline(time.Now().Add(patience))
		return c.Conn.Write(p)
	}
	return c.transfer(netio.Piece{Bytes: p}, patience)
}

// SplicePipe sends some of the n bytes that are in a pipe, as Send does, without
// copying them through user space; with a patience of 0 it does not wait, as
// TryWrite. With more, what does not fill a packet waits for what is sent next, or
// until the peer has acknowledged what came before. Linux only, and not over TLS.
func (c *Conn) SplicePipe(pipe, n int, more bool, patience time.Duration) (int, error) {
	if c.tls != nil {
		return 0, errNoSplice
	}
	return c.transfer(netio.Piece{Pipe: pipe, Size: n, More: more}, patience)
}

// transfer sends some of p; with patience 0 it never waits. A write deadline is
// set while it waits and taken back when that is over, so that what does not wait
// needs none.
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
			// It has to wait, or has waited: as long as the peer takes what the
			// system holds for it, it may go on.
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

// Unsent is the number of bytes that the peer has not acknowledged yet, or -1, as over TLS.
func (c *Conn) Unsent() int {
	if c.tls != nil {
		return -1
	}
	return c.sock.Unsent()
}

var errNoSplice = errors.New("cannot splice to this connection")
