package engine

import (
	"crypto/tls"
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

// A backend's answer goes to the client past the server's writer, which would keep only one of
// several Server or Content-Encoding fields, and none that is empty (R5). The server still makes
// and writes a response of its own for each request; that write is dropped (clientConn.dropNext).

// passes reports whether the client gets the winner's answer rather than one of the proxy's own.
func (r *request) passes() bool {
	l := r.winner()
	if l == nil || !r.client.isThere() {
		return false
	}
	return !(r.head.isOptions() && r.o.cors && l.state != votePositive) && r.overruled(l) == nil
}

// passOn sends the winner's answer and releases the request on the handler's behalf. last reports
// whether it is the last answer on its connection.
func (r *request) passOn(ctx *fasthttp.RequestCtx, last bool) {
	r.pastServer(ctx, func(to io.Writer) (bool, error) {
		l := r.winner()
		if !l.open {
			_, err := to.Write(r.makeShort(last))
			return last, err
		}
		// HTTP/1.0 has no chunks: the connection's end is the body's (RFC 9112 §6.3).
		untilEnd := r.client.isOld() && l.answer.Length < 0
		err := r.sendOpen(to, last || untilEnd)
		if err != nil && untilEnd {
			r.client.breakOff() // a plain end would be the end of a whole answer
		}
		return last || untilEnd, err
	})
}

// pastServer has send write the client's answer and releases the request on the handler's behalf.
// send reports whether the answer is the last one on its connection.
func (r *request) pastServer(ctx *fasthttp.RequestCtx, send func(to io.Writer) (last bool, err error)) {
	var to io.Writer = senderTo{r.client.conn}
	if c, ok := ctx.Conn().(*tlsConn); ok {
		to = c.Conn
	}
	r.client.endRequest(r.message.BodySize())
	sent := false
	defer func() {
		if !sent { // a panic, which the handler's recover ends: part of the answer may have gone
			r.client.conn.dropNext = true
			r.client.breakOff()
		}
	}()
	last, err := send(to)
	r.client.conn.dropNext, sent = true, true
	if err != nil || last {
		ctx.SetConnectionClose()
	}
	r.notServing()
	r.release()
}

// tlsListener wraps accepted connections in TLS.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l tlsListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c, _ := nc.(*clientConn)
	return &tlsConn{Conn: tls.Server(nc, l.config), client: c}, nil
}

// tlsConn is a client's connection over TLS as the server uses it.
type tlsConn struct {
	*tls.Conn
	client *clientConn // below it
}

// Write is called by the server, like clientConn.Write.
func (c *tlsConn) Write(p []byte) (int, error) {
	if c.client != nil && c.client.dropNext {
		c.client.dropNext = false
		return len(p), nil
	}
	return c.Conn.Write(p)
}
