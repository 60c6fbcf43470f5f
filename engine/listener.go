package engine

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// listener accepts clients' connections, up to a bound (R23). Those past it are
// told so, by goroutines of the listener's own, up to a bound as well.
type listener struct {
	net.Listener
	max  int64
	open atomic.Int64
	full func() []byte // the answer for a connection too many
	tls  *tls.Config   // that such an answer is sent over; nil is plain HTTP

	refusing atomic.Int64
	refusals sync.WaitGroup
}

const (
	maxRefusals = 64
	refusalTime = 2 * time.Second
)

func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.max {
			return newClientConn(nc, l.tls == nil, func() { l.open.Add(-1) }), nil
		}
		l.open.Add(-1)
		if l.refusing.Add(1) > maxRefusals {
			l.refusing.Add(-1)
			_ = nc.Close()
			continue
		}
		l.refusals.Go(func() {
			l.refuse(nc)
			l.refusing.Add(-1)
		})
	}
}

// refuse answers when the request comes: clients take an answer that was there
// before it for a broken connection (net/http does).
func (l *listener) refuse(nc net.Conn) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(refusalTime))
	if l.tls != nil {
		nc = tls.Server(nc, l.tls)
	}
	buf := make([]byte, 4<<10)
	if _, err := nc.Read(buf); err != nil {
		return
	}
	if _, err := nc.Write(l.full()); err != nil {
		return
	}
	// What is still coming would make the close a reset (R7).
	if c, ok := nc.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		return
	}
	for {
		if _, err := nc.Read(buf); err != nil {
			return
		}
	}
}
