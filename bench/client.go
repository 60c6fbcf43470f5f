package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/akubra/akubra/http1"
)

// request is one to be sent.
type request struct {
	method string
	head   []byte
	body   []byte // its first bytes, or all of them; repeated up to size
	size   int64  // of the body
	answer int64  // bytes that must come back; -1 where any number may
	status int    // the answer's, if it is not to be 2xx

	operation string    // what it counts as, if not as its method
	firstByte time.Time // of the answer's head, once it came
	got       int64     // bytes of the answer's body
}

// op is what the request counts as in a mix.
func (r *request) op() string {
	if r.operation != "" {
		return r.operation
	}
	return r.method
}

// source makes the requests of one connection, one after the other.
type source interface {
	// next sets *r to the next request, valid until the next call.
	next(r *request)
	// done is told how the last one ended.
	done(r *request, err error)
}

// client is one connection.
type client struct {
	dial     func() (net.Conn, error)
	timeout  time.Duration // for one request
	fresh    bool          // a new connection for each
	until    time.Time     // if set, nothing goes on after it
	progress func(int)

	nc   net.Conn
	br   *bufio.Reader
	head []byte
}

// statusError is an answer other than a success.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

var errShort = errors.New("wrong length of answer")

// errorKind is what an error is counted as.
func errorKind(err error) string {
	var status statusError
	var op *net.OpError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, errShort):
		return errShort.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, &op) && op.Op == "dial":
		return "cannot connect"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	return "connection broken"
}

// open connects unless it is connected.
func (c *client) open() error {
	if c.nc != nil {
		return nil
	}
	nc, err := c.dial()
	if err != nil {
		return err
	}
	c.nc = nc
	if c.br == nil {
		c.br = bufio.NewReaderSize(nc, 16<<10)
	} else {
		c.br.Reset(nc)
	}
	return nil
}

func (c *client) close() {
	if c.nc != nil {
		_ = c.nc.Close()
		c.nc = nil
	}
}

// do sends a request and reads the answer to its end.
func (c *client) do(r *request) error {
	if err := c.open(); err != nil {
		return err
	}
	deadline := time.Now().Add(c.timeout)
	if !c.until.IsZero() && c.until.Before(deadline) {
		deadline = c.until
	}
	_ = c.nc.SetDeadline(deadline)
	sendErr := c.send(r)
	if sendErr != nil {
		// A peer that does not want the body may have said why (an early 503).
		_ = c.nc.SetDeadline(time.Now().Add(100 * time.Millisecond))
	}
	goesOn, err := c.readAnswer(r)
	if sendErr != nil && !errors.As(err, new(statusError)) {
		err = sendErr
	}
	if !goesOn || sendErr != nil || c.fresh {
		c.close()
	}
	return err
}

func (c *client) send(r *request) error {
	first := r.body[:min(r.size, int64(len(r.body)))]
	buffers := net.Buffers{r.head, first}
	if len(first) == 0 {
		buffers = buffers[:1]
	}
	if _, err := buffers.WriteTo(c.nc); err != nil {
		return err
	}
	c.progress(len(first))
	for left := r.size - int64(len(first)); left > 0; {
		n, err := c.nc.Write(r.body[:min(left, int64(len(r.body)))])
		if err != nil {
			return err
		}
		c.progress(n)
		left -= int64(n)
	}
	return nil
}

// readAnswer also reports whether the connection can take another request.
func (c *client) readAnswer(r *request) (goesOn bool, err error) {
	var a http1.Answer
	for a.Status < 200 {
		if _, err := c.br.Peek(1); err != nil {
			return false, err
		}
		r.firstByte = time.Now()
		if c.head, err = readHead(c.br, c.head); err != nil {
			return false, err
		}
		if err := a.Parse(c.head); err != nil {
			return false, fmt.Errorf("no answer: %.20q", c.head)
		}
	}
	n, err := c.readBody(r.method, &a)
	if r.method != "HEAD" {
		r.got = n
	}
	switch {
	case err != nil:
		return false, err
	case r.status != 0 && a.Status == r.status:
	case r.status != 0 || a.Status > 299:
		return !a.Close, statusError(a.Status)
	case r.answer >= 0 && n != r.answer:
		return !a.Close, errShort
	}
	return !a.Close, nil
}

// readBody discards an answer's body and returns its length, for a HEAD the announced one.
func (c *client) readBody(method string, a *http1.Answer) (int64, error) {
	switch {
	case method == "HEAD":
		return max(0, a.Length), nil
	case http1.Bodyless(method, a.Status):
		return 0, nil
	case a.Length >= 0:
		return a.Length, discard(c.nc, c.br, a.Length, c.progress)
	case a.Chunked:
		n, err := io.Copy(io.Discard, &http1.ChunkReader{From: c.br})
		if err != nil {
			return n, err
		}
		c.progress(int(n))
		for { // trailers, and the empty line
			line, err := c.br.ReadSlice('\n')
			if err != nil || len(bytes.TrimSpace(line)) == 0 {
				return n, err
			}
		}
	}
	n, err := io.Copy(io.Discard, c.br)
	c.progress(int(n))
	return n, errors.Join(err, io.EOF)
}
