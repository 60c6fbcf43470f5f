package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// answerBody reads the rest of a backend's answer from its connection. One
// goroutine uses it; Close ends the leg.
type answerBody struct {
	l       *leg
	c       Conn
	br      *bufio.Reader
	left    int64 // of a body with a length; -1 otherwise
	chunked bool
	chunks  chunkReader // of a chunked body
	ended   bool        // the body was read to its end
	size    int64
	onEnd   func() // called once, before WriteTo writes the last of the body, or by Close
	onClose func(size int64)
	listing bool // look for the next page's token
	pages   pageScanner
}

var answerBodies = sync.Pool{New: func() any { return new(answerBody) }}

func newAnswerBody(l *leg, c Conn, br *bufio.Reader) *answerBody {
	b := answerBodies.Get().(*answerBody) //nolint:forcetypeassert // the pool holds nothing else
	*b = answerBody{
		l: l, c: c, br: br, left: l.answer.contentLength,
		chunked: l.answer.chunked, chunks: chunkReader{br: br},
	}
	return b
}

func (b *answerBody) free() {
	*b = answerBody{}
	answerBodies.Put(b)
}

// Read reads the decoded body. io.EOF is its proper end; a body that is cut
// short gives io.ErrUnexpectedEOF, also a chunked one.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	b.c.ReadTimeout(b.l.r.e.o.ConnectionTimeout)
	var n int
	var err error
	switch {
	case b.chunked:
		n, err = b.chunks.Read(p)
		if err == io.EOF {
			err = b.skipTrailer()
		}
	case b.left >= 0:
		n, err = b.br.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		if err == io.EOF && b.left > 0 {
			err = io.ErrUnexpectedEOF
		}
		if b.left == 0 {
			b.ended, err = true, nil
		}
	default:
		// The end of the connection is the end of the body (RFC 9112 §6.3).
		b.l.reusable = false
		n, err = b.br.Read(p)
		b.ended = err == io.EOF
	}
	b.size += int64(n)
	if b.listing {
		b.l.r.learnPages(&b.pages, p[:n], b.l.backend)
	}
	b.l.progress()
	if err == nil && b.ended && n == 0 {
		err = io.EOF
	}
	return n, err
}

// maxTrailer bounds what may stand behind the last chunk of an answer.
const maxTrailer = 64 << 10

// skipTrailer reads what stands behind the last chunk.
func (b *answerBody) skipTrailer() error {
	for left := maxTrailer; left > 0; {
		line, err := b.br.ReadSlice('\n')
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			b.ended = true
			return io.EOF
		}
		left -= len(line)
	}
	return fmt.Errorf("%w: its trailer is larger than %d bytes", errBadAnswer, maxTrailer)
}

var errAnswerCut = errors.New("cut short")

var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, 64<<10)
	return &b
}}

// SupportsBodyWriteTo tells fasthttp to use WriteTo.
func (b *answerBody) SupportsBodyWriteTo() bool { return true }

// WriteTo copies the body to the client.
func (b *answerBody) WriteTo(w io.Writer) (int64, error) {
	buf := copyBuffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer copyBuffers.Put(buf)
	var done int64
	b.l.progress() // from here on it is the backend that is waited for
	for {
		n, err := b.Read(*buf)
		if b.ended {
			b.tellEnd()
		}
		if n > 0 {
			// Waiting for the client is not the backend's fault (R13).
			b.l.r.e.o.Limiter.Progress(b.l.backend, b.l.slot, farFuture)
			m, werr := b.write(w, (*buf)[:n])
			b.l.progress()
			done += int64(m)
			if werr != nil {
				return done, werr
			}
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, fmt.Errorf("cannot read the answer of backend %q: %w: %w", b.l.name(), errAnswerCut, err)
		}
	}
}

// write writes to w, which is on the way to the client.
func (b *answerBody) write(w io.Writer, p []byte) (int, error) {
	c := b.l.r.client
	if c == nil || b.left <= 0 || len(p) < minHeld {
		return w.Write(p)
	}
	c.goesOn = true
	n, err := w.Write(p)
	c.goesOn = false
	return n, err
}

func (b *answerBody) tellEnd() {
	if f := b.onEnd; f != nil {
		b.onEnd = nil
		f()
	}
}

// Close gives the connection back, for reuse if the body was read to its end.
func (b *answerBody) Close() error {
	l, size, onClose := b.l, b.size, b.onClose
	b.tellEnd()
	l.finish(b.ended && l.reusable)
	b.free()
	if onClose != nil {
		onClose(size)
	}
	return nil
}

// respond makes the picked answer ctx's response. It returns the status and
// whether the response's stream holds the request from now on.
func (r *request) respond(ctx *fasthttp.RequestCtx) (status int, streaming bool) {
	if r.winner < 0 {
		return r.respondNone(ctx), false
	}
	l := &r.legs[r.winner]
	if r.method == "OPTIONS" && l.state != votePositive && r.e.cors {
		l.dispose()
		return r.e.preflight(ctx), false
	}
	if r.ownerMayBeOut(l) {
		l.dispose()
		errNoPool.send(ctx, r.id.String())
		return errNoPool.status, false
	}
	a := &l.answer
	if err := r.e.copyHead(&ctx.Response.Header, r.method, a); err != nil {
		l.dispose()
		r.e.o.Log.Warn("cannot pass on an answer", "backend", l.name(), "error", withoutHead(err), "id", r.id.String())
		errNoBackend.send(ctx, r.id.String())
		return errNoBackend.status, false
	}
	if !l.open { // and not answerShort's, for whatever reason
		if r.isListing() {
			r.learnPages(new(pageScanner), l.body, l.backend)
		}
		ctx.Response.SetBody(l.body)
		return a.status, false
	}
	body := newAnswerBody(l, l.conn, l.conn.Reader())
	body.listing = r.isListing()
	if a.contentLength < 0 && !ctx.Request.Header.IsHTTP11() {
		r.streamToOldClient(ctx, body)
		return a.status, true
	}
	body.onClose = r.streamEnded
	ctx.Response.SetBodyStream(body, int(a.contentLength))
	ctx.Response.ImmediateHeaderFlush = true
	return a.status, true
}

func (r *request) respondNone(ctx *fasthttp.RequestCtx) int {
	if r.method == "OPTIONS" && r.e.cors {
		return r.e.preflight(ctx)
	}
	problem := r.noAnswer()
	problem.send(ctx, r.id.String())
	return problem.status
}

// preflight answers a CORS preflight request that no backend allows with the
// configured headers.
func (e *Engine) preflight(ctx *fasthttp.RequestCtx) int {
	ctx.Response.Reset()
	ctx.Response.Header.SetNoDefaultContentType(true)
	for _, h := range e.addResponse {
		ctx.Response.Header.Set(h.name, h.value)
	}
	return fasthttp.StatusOK
}

// streamToOldClient sends an answer of unknown length to an HTTP/1.0 client,
// which cannot read chunks: the connection's end is the body's end.
func (r *request) streamToOldClient(ctx *fasthttp.RequestCtx, body *answerBody) {
	head := append([]byte(nil), ctx.Response.Header.Header()...)
	head = bytes.Replace(head, []byte("\r\nTransfer-Encoding: chunked"), nil, 1)
	head = bytes.Replace(head, []byte("\r\n"), []byte("\r\nConnection: close\r\n"), 1)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(nc net.Conn) {
		size := int64(0)
		_, err := nc.Write(head)
		if err == nil {
			size, err = body.WriteTo(nc)
		}
		if err != nil && r.client != nil {
			r.client.reset() // a plain end would be the end of a whole answer
		}
		_ = body.Close()
		r.streamEnded(size)
	})
}

// headParser lends fasthttp's header parser a buffered reader.
type headParser struct {
	src bytes.Reader
	br  *bufio.Reader
	buf []byte
}

var headParsers = sync.Pool{New: func() any {
	p := new(headParser)
	p.br = bufio.NewReaderSize(&p.src, maxAnswerHead)
	return p
}}

// maxAnswerHead bounds the head of an answer with the configured headers.
const maxAnswerHead = 64 << 10

// copyHead makes a's head the head h of a response, unchanged but for what is
// hop-by-hop, and adds the configured headers that it lacks (R5). The way over
// the parser keeps fields that the setters take for the server's own (Date).
func (e *Engine) copyHead(h *fasthttp.ResponseHeader, method string, a *answerHead) error {
	p := headParsers.Get().(*headParser) //nolint:forcetypeassert // the pool holds nothing else
	defer headParsers.Put(p)
	p.buf = e.appendAnswerHead(p.buf[:0], a, method)
	p.src.Reset(p.buf)
	p.br.Reset(&p.src)
	h.DisableNormalizing()
	h.SetNoDefaultContentType(true)
	if err := h.Read(p.br); err != nil {
		return err
	}
	h.ResetConnectionClose()
	return nil
}
