package engine

import (
	"io"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/engine/body"
)

// minGathered is the body size from which on a connection's next body may go through pipes.
const minGathered = body.MinGathered

// clientWay says how the client can be answered.
type clientWay uint8

const (
	viaServer  clientWay = iota // by the handler's goroutine alone
	detachable                  // from any goroutine, and its connection goes on (answer_short.go)
	oldClient                   // by the handler's, in HTTP/1.0
)

// served says how far the client has been served. Only the goroutine that answers changes it.
type served uint8

const (
	unserved    served = iota
	letGo              // it is not one of Engine.handling any more
	wasAnswered        // and the client of a detached request has its answer
)

// client is the client's side of a request: its connection, and what it is told. It belongs to the
// handler, then to the goroutine that answers.
type client struct {
	conn   *clientConn // nil where the server's connection is none (tests)
	plain  bool        // no TLS on top of conn
	way    clientWay
	served served
	last   bool   // a short answer is its connection's last
	out    []byte // a short answer that is made, or what is left of one
	status int
	remote string // its address, for the access log
}

// reset forgets everything but the buffer.
func (c *client) reset() {
	out := c.out
	if cap(out) > keptHead {
		out = nil
	}
	*c = client{out: out}
}

// serveOn makes the connection of ctx the request's.
func (r *request) serveOn(ctx *fasthttp.RequestCtx) {
	c := &r.client
	if c.conn = clientOf(ctx); c.conn != nil {
		c.conn.serving, c.conn.o = r, r.o
	}
	_, plain := ctx.Conn().(*clientConn)
	c.plain = plain
	switch h := &ctx.Request.Header; {
	case !h.IsHTTP11():
		c.way = oldClient
	case plain && !h.ConnectionClose():
		c.way = detachable
	}
}

// notServing records that the handler is done with the request, so that a later panic of the
// handler does not concern it.
func (r *request) notServing() {
	if c := r.client.conn; c != nil && c.serving == r {
		c.serving = nil
	}
}

// isThere reports whether the connection is known and can be answered past the server.
func (c *client) isThere() bool { return c.conn != nil }

// isAnswered reports whether the client of a detached request has its answer, or can no longer get
// it.
func (c *client) isAnswered() bool { return c.served == wasAnswered }

// wasTold reports whether it has been recorded what the client is told.
func (c *client) wasTold() bool { return c.status != 0 }

// isPlain reports whether the body can be read from the socket as it is.
func (c *client) isPlain() bool { return c.plain }

// isOld reports whether the client speaks HTTP/1.0.
func (c *client) isOld() bool { return c.way == oldClient }

// wasInterrupted reports whether the connection can no longer be read from.
func (c *client) wasInterrupted() bool {
	return c.conn != nil && (c.conn.spared || c.conn.interrupted())
}

// cede notes that the request has given its place to another one, if it was ended for that.
func (c *client) cede() {
	if c.conn != nil {
		c.conn.cede()
	}
}

// interrupt ends a read of the body that is waiting.
func (c *client) interrupt() {
	if c.conn != nil {
		c.conn.interrupt()
	}
}

// beginBody and endBody bracket the reading of a body. beforeWait, unless nil, is called before
// waiting for the client.
func (c *client) beginBody(beforeWait func()) {
	if c.conn != nil {
		c.conn.beginBody(beforeWait)
	}
}

func (c *client) endBody() {
	if c.conn != nil {
		c.conn.endBody()
	}
}

// beforeWaiting has f, unless it is nil, called before the client is waited for next, and nothing else.
func (c *client) beforeWaiting(f func()) {
	if c.conn != nil {
		c.conn.beforeWait = f
	}
}

// BeforeSplice, StopSplicing and Splice are for the message (body.Client).

// BeforeSplice has f called before the next read that moves its bytes to a pipe.
func (c *client) BeforeSplice(f func()) { c.conn.beforeSplice = f }

// StopSplicing makes the read in progress go to memory.
func (c *client) StopSplicing() { c.conn.spliceTo = 0 }

// Splice reads some of src and moves it to a pipe, unless it is in the server's buffer already:
// then it is returned in p.
func (c *client) Splice(src io.Reader, p []byte, pipe int) (n int, spliced bool, err error) {
	c.conn.spliceTo, c.conn.spliced = pipe, false
	n, err = src.Read(p)
	c.conn.spliceTo = 0
	return n, c.conn.spliced, err
}

// forsake leaves the end of the request, whose body never came, to the server's goroutine; answers
// says whether that goroutine has an answer to give. It returns false if there is no connection to
// leave it to.
func (c *client) forsake(r *request, answers bool) bool {
	if c.conn == nil {
		return false
	}
	c.conn.forsaken, c.conn.answers = r, answers
	return true
}

// writeOn writes to w, on the way to the client, a part of the answer that is not its end.
func (c *client) writeOn(w io.Writer, p []byte) (int, error) {
	if c.conn == nil {
		return w.Write(p)
	}
	c.conn.goesOn = true
	n, err := w.Write(p)
	c.conn.goesOn = false
	return n, err
}

// endHere makes the answer the last one on its connection, and has the server send it.
func (c *client) endHere() { c.way = viaServer }

// breakOff closes the connection in such a way that the client cannot mistake what it has received
// for a complete answer.
func (c *client) breakOff() { c.conn.reset() }

// endRequest records that the next bytes belong to another request.
func (c *client) endRequest(bodySize int64) {
	if c.conn != nil {
		c.conn.endRequest(bodySize)
	}
}

// leave records that a goroutine other than the handler's will answer.
func (c *client) leave(bodySize int64) {
	c.conn.leaveAnswer()
	c.conn.endRequest(bodySize)
}

// hurry ends whatever the request still does for a waiting client (R22).
func (c *client) hurry(reading bool) {
	if c.conn == nil {
		return
	}
	c.conn.hurry()
	if reading {
		c.conn.interrupt()
	}
}
