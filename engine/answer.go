package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/engine/body"
	"github.com/akubra/akubra/http1"
)

// answerBody reads the rest of a backend's answer from its connection. Only one goroutine may use
// it; Close ends the leg.
type answerBody struct {
	l       *leg
	c       Conn
	br      *bufio.Reader
	left    int64 // of a body with a length; -1 otherwise
	chunked bool
	chunks  http1.ChunkReader // of a chunked body
	ended   bool              // the body was read to its end
	size    int64
	onEnd   func() // called once, before WriteTo writes the last of the body, or by Close
	onClose func(size int64)
	listing bool // look for the next page's token
	pages   pageScanner
	start   *leg   // the winner, once the body is another one's (reads_resume.go)
	tried   uint64 // backends that have broken off, or could not go on
}

var answerBodies = sync.Pool{New: func() any { return new(answerBody) }}

func newAnswerBody(l *leg, c Conn, br *bufio.Reader) *answerBody {
	b := answerBodies.Get().(*answerBody) //nolint:forcetypeassert // the pool holds nothing else
	// Not copied as a whole: that would need a second one on the stack.
	b.l, b.c, b.br = l, c, br
	b.left, b.chunked = l.answer.Length, l.answer.Chunked
	b.chunks.From = br
	return b
}

func (b *answerBody) free() {
	*b = answerBody{}
	answerBodies.Put(b)
}

// Read reads the decoded body. io.EOF is its proper end; a body that is cut short, chunked or not,
// gives io.ErrUnexpectedEOF.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	b.c.ReadTimeout(b.l.r.o.ConnectionTimeout)
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
	b.l.received += int64(n)
	if b.listing {
		b.l.r.learnPages(&b.pages, p[:n], b.l.backend)
	}
	b.l.progress()
	if err == nil && b.ended && n == 0 {
		err = io.EOF
	}
	return n, err
}

// maxTrailer bounds what may follow the last chunk of an answer.
const maxTrailer = 64 << 10

// skipTrailer reads what follows the last chunk.
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
	return fmt.Errorf("%w: its trailer is larger than %d bytes", http1.ErrAnswer, maxTrailer)
}

var errAnswerCut = errors.New("cut short")

var copyBuffers = sync.Pool{New: func() any {
	b := make([]byte, 64<<10)
	return &b
}}

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
			b.l.failure = failureOf(err)
		}
		if err != nil && b.resume(err) {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("cannot read the answer of backend %q: %w: %w", b.l.name(), errAnswerCut, err)
		}
	}
}

// write writes to w, which is on the way to the client.
func (b *answerBody) write(w io.Writer, p []byte) (int, error) {
	if b.left <= 0 || len(p) < body.MinHeld {
		return w.Write(p)
	}
	return b.l.r.client.writeOn(w, p)
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
	l.finishStreamed(b.ended && l.reusable)
	b.free()
	if onClose != nil {
		onClose(size)
	}
	return nil
}

// respond makes one of the proxy's own answers the response of ctx, where no backend's answer
// passes, and returns its status.
func (r *request) respond(ctx *fasthttp.RequestCtx) int {
	problem := r.noAnswer()
	if l := r.winner(); l != nil {
		l.dispose()
		if problem = r.overruled(l); problem == nil {
			problem = errNoPool
		}
	}
	if r.head.isOptions() && r.o.cors {
		return r.o.preflight(ctx)
	}
	r.e.telling(problem).send(ctx, r.head.name())
	return problem.status
}

// preflight answers, with the configured headers, a CORS preflight request that no backend allows.
func (g *generation) preflight(ctx *fasthttp.RequestCtx) int {
	ctx.Response.Reset()
	ctx.Response.Header.SetNoDefaultContentType(true)
	for _, h := range g.addResponse {
		ctx.Response.Header.Set(h.name, h.value)
	}
	return fasthttp.StatusOK
}
