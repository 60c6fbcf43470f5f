package stub

import (
	"errors"
	"io"
	"math"
	"sync"
)

// whole is the limit for reading a body to its end.
const whole = math.MaxInt64

var pieces = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// read reads the body up to that many bytes or to its end; more is false at the end. ok is false if
// the body broke off; nothing more can be done then.
func (c *conn) read(upTo int64) (more, ok bool) {
	if c.ended {
		return false, true
	}
	buf := pieces.Get().(*[64 << 10]byte)
	defer pieces.Put(buf)
	for c.sink.n < upTo {
		n, err := c.body.Read(buf[:min(int64(len(buf)), upTo-c.sink.n)])
		if n > 0 {
			c.sink.take(buf[:n])
			c.note(func(r *Request) { r.BodyBytes = c.sink.n })
		}
		if err == nil {
			continue
		}
		if err == io.EOF {
			c.bodyEnded(nil)
			return false, true
		}
		c.bodyEnded(err)
		if errors.Is(err, ErrMalformed) && !c.req.Answered {
			c.answer(errorAnswer(400), &Behaviour{Then: SayClose})
		}
		return false, false
	}
	return true, true
}

// bodyEnded records how the body ended; only a complete one is ever stored (R6).
func (c *conn) bodyEnded(err error) {
	c.ended = true
	aborted := err != nil && err != errNotRead && !errors.Is(err, ErrMalformed)
	if aborted && c.killed() {
		aborted, err = false, errClosed
	}
	o := c.sink.content()
	c.note(func(r *Request) {
		r.SHA256, r.Trailers = o.SHA256, c.body.trailers
		if o.Size <= c.s.opts.bodyLimit {
			r.Body = o.Body
		}
		r.Complete, r.Aborted, r.Err = err == nil, aborted, err
		if r.Complete {
			c.s.counts.Complete++
		}
		if r.Aborted {
			c.s.counts.Aborted++
		}
	})
}

// keepLimit is how much of a request's body is kept in memory.
func (s *Server) keepLimit(r *Request) int64 {
	switch {
	case r.Method == "POST":
		return max(s.opts.bodyLimit, 8<<20) // lists of keys and of parts
	case !s.opts.keepBodies:
		return 0
	case r.Method == "PUT":
		return whole
	}
	return s.opts.bodyLimit
}
