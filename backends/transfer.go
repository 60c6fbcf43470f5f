package backends

import (
	"bufio"
	"errors"
	"net"
	"os"
	"time"
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
	case wait && c.raw.conn != nil:
		return c.raw.receive(p)
	case wait:
		return c.Conn.Read(p)
	case c.raw.conn != nil:
		return c.raw.receiveNow(p)
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
	if c.raw.conn == nil {
		return c.Conn.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	return c.raw.receive(p)
}

// Skip throws the next n bytes away that the backend sends, in the time that Read
// has.
func (c *Conn) Skip(n int64) error {
	br := c.Reader()
	have, err := br.Discard(int(min(n, int64(br.Buffered()))))
	for n -= int64(have); n > 0 && err == nil; n -= int64(have) {
		if c.raw.conn == nil {
			have, err = br.Discard(int(min(n, 1<<30)))
		} else {
			have, err = c.raw.skip(n)
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
			c.setReadDeadline(time.Time{})
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
	c.setReadDeadline(time.Now().Add(d))
}

var epoch = time.Now()

func (c *Conn) setReadDeadline(t time.Time) {
	_ = c.Conn.SetReadDeadline(t)
	if c.aborted.Load() {
		_ = c.Conn.SetReadDeadline(past)
	}
}

func (c *Conn) setWriteDeadline(t time.Time) {
	_ = c.Conn.SetWriteDeadline(t)
	if c.aborted.Load() || c.noWrite.Load() {
		_ = c.Conn.SetWriteDeadline(past)
	}
}

// TryWrite sends as much of p as the socket takes at once. Over TLS that is
// nothing: a record cannot be sent in halves.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if c.raw.conn == nil {
		return 0, nil
	}
	return c.transfer(outgoing{bytes: p}, 0)
}

// Send sends some of p, or waits until the socket takes some: at least a byte,
// unless there is an error. It is a timeout when the peer has taken nothing for
// patience, of what was sent before neither (R11). Over TLS p is sent whole, and
// should be one record.
func (c *Conn) Send(p []byte, patience time.Duration) (int, error) {
	if c.raw.conn == nil {
		c.setWriteDeadline(time.Now().Add(patience))
		return c.Conn.Write(p)
	}
	return c.transfer(outgoing{bytes: p}, patience)
}

// SplicePipe sends some of the n bytes that are in a pipe, as Send does, without
// copying them through user space; with a patience of 0 it does not wait, as
// TryWrite. With more, what does not fill a packet waits for what is sent next, or
// until the peer has acknowledged what came before. Linux only, and not over TLS.
func (c *Conn) SplicePipe(pipe, n int, more bool, patience time.Duration) (int, error) {
	if c.raw.conn == nil {
		return 0, errNoSplice
	}
	return c.transfer(outgoing{pipe: pipe, size: n, more: more}, patience)
}

// transfer sends some of o; with patience 0 it never waits. A write deadline is
// set while it waits and taken back when that is over, so that what does not wait
// needs none.
func (c *Conn) transfer(o outgoing, patience time.Duration) (int, error) {
	unsent := -1
	for {
		if c.aborted.Load() || c.noWrite.Load() {
			return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}
		}
		n, err := c.raw.send(o, patience > 0 && unsent >= 0)
		switch {
		case n > 0 || err != nil && !isTimeout(err):
		case err == nil && patience == 0:
			return 0, nil
		case err != nil && (c.aborted.Load() || c.noWrite.Load()):
		default:
			// It has to wait, or has waited: as long as the peer takes what the
			// system holds for it, it may go on.
			left := c.raw.unsent()
			if err != nil && (left < 0 || left >= unsent) {
				break
			}
			unsent = max(left, 0)
			c.setWriteDeadline(time.Now().Add(patience))
			continue
		}
		if unsent >= 0 {
			c.setWriteDeadline(time.Time{})
		}
		return n, err
	}
}

// Unsent is the number of bytes that the peer has not acknowledged yet, or -1.
func (c *Conn) Unsent() int { return c.raw.unsent() }

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// plainError takes back that it is a raw connection that failed.
func plainError(op string, err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		e.Op = op
	}
	return err
}

// socketError gives an error of the system the words of package net.
func socketError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, err)}
}
