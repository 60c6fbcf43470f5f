package engine

import (
	"crypto/tls"
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

// A backend's answer goes to the client past the server's writer: that keeps one Server
// and one Content-Encoding of a head, and none that is empty (R5). The server makes an
// answer for each request all the same, and writes it; that write is dropped (clientConn.dropNext).

// passes reports whether the client gets the winner's answer, rather than one of the
// proxy's own.
func (r *request) passes() bool {
	l := r.winner()
	if l == nil || !r.client.isThere() {
		return false
	}
	return !(r.head.isOptions() && r.o.cors && l.state != votePositive) && !r.ownerMayBeOut(l) && !r.sourceIsOwed(l)
}

// passOn sends the winner's answer, and lets go of the request for the handler. last: it
// is its connection's last.
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

// pastServer has send write the client's answer, and lets go of the request for the
// handler. send reports whether the answer is its connection's last.
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

// tlsListener gives connections over TLS.
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

// Write is for the server, as clientConn.Write is.
func (c *tlsConn) Write(p []byte) (int, error) {
	if c.client != nil && c.client.dropNext {
		c.client.dropNext = false
		return len(p), nil
	}
	return c.Conn.Write(p)
}
