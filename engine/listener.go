package engine

import (
	"net"
	"sync/atomic"
	"time"
)

// listener accepts clients' connections, up to a bound (R23).
type listener struct {
	net.Listener
	max  int64
	open atomic.Int64
	full func() []byte // the answer for a connection too many
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.max {
			return newClientConn(nc, func() { l.open.Add(-1) }), nil
		}
		l.open.Add(-1)
		// The client has sent a request, or is about to: the answer waits for
		// it in its socket. A peer that does not take it is not waited for.
		_ = nc.SetDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write(l.full())
		_ = nc.Close()
	}
}
