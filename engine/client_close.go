package engine

import (
	"net"
	"time"
)

// interrupt makes the read in progress, and every later one, fail at once. After that the
// connection can only be closed.
func (c *clientConn) interrupt() { c.sock.StopReceiving() }

func (c *clientConn) interrupted() bool { return c.sock.ReceivingStopped() }

// hurry makes a write that waits for the client fail at once, and every later one that would have
// to wait; an answer that fits into the socket's buffer still goes out (R22).
func (c *clientConn) hurry() { c.sock.StopSending() }

// Close closes the connection. While the client may still be sending, closing at once would reset
// the connection and destroy the answer on its way. So the sending side is closed first, and what
// arrives is discarded for a bounded time and amount (R7).
//
// If an answer is still owed, it closes once that has been sent.
func (c *clientConn) Close() error {
	if c.pending.tryPutOff() {
		return nil
	}
	err := net.ErrClosed
	c.closed.Do(func() {
		if r := c.forsaken; r != nil {
			c.forsaken = nil
			r.forsaken()
		}
		if c.linger && !c.eof {
			c.drain()
		}
		err = c.Conn.Close()
		c.door.leave(c)
	})
	return err
}

// reset closes the connection in such a way that the client cannot mistake what it has received
// for a complete answer.
func (c *clientConn) reset() {
	c.sock.ResetOnClose(true)
	c.linger = false
	_ = c.Close()
}

func (c *clientConn) drain() {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || tcp.CloseWrite() != nil {
		return
	}
	buf := copyBuffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer copyBuffers.Put(buf)
	begun := time.Now()
	c.setQuiet(slowSince(c.engineTime(begun)))
	for left := lingerBytes; left > 0; {
		spent := time.Since(begun)
		if spent > lingerTime || spent > lingerPause && c.door.e.stopping.Load() || c.quiet() == evicted {
			return
		}
		_ = tcp.SetReadDeadline(begun.Add(spent + lingerPause))
		n, err := tcp.Read(*buf)
		if err != nil {
			return
		}
		left -= n
	}
}
