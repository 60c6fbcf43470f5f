package admin

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	adminLingerSize = 8 << 20
	adminLingerTime = time.Second
)

// adminListener makes each connection an adminConn. Close may be called more than once.
type adminListener struct {
	net.Listener
	once sync.Once
	err  error
}

func (l *adminListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &adminConn{Conn: c}, nil
}

func (l *adminListener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// adminConn can be closed after a request that was not read to its end. Closing it at once would
// reset the connection, and the response might be lost (R7).
type adminConn struct {
	net.Conn
	lingering atomic.Bool
}

func (c *adminConn) Close() error {
	if c.lingering.Swap(false) {
		if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_ = c.SetReadDeadline(time.Now().Add(adminLingerTime))
			_, _ = io.CopyN(io.Discard, c.Conn, adminLingerSize)
		}
	}
	return c.Conn.Close()
}
