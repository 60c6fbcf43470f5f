package main

import (
	"bufio"
	"bytes"
	"fmt"
	"html"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/akubra/akubra/http1"
)

const (
	sizeParam = "?size=" // GET /key?size=N answers N bytes, or 404 for missingSize
	// missingSize is the size that stands for an object that does not exist.
	missingSize = -1
	// listParam asks for a listing. The answer has listedKeys, whatever the prefix.
	listParam   = "?list-type=2&max-keys=100"
	listedKeys  = 100
	backendETag = `"d41d8cd98f00b204e9800998ecf8427e"`
)

var (
	putAnswer     = []byte("HTTP/1.1 200 OK\r\nServer: store\r\nETag: " + backendETag + "\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
	missingAnswer = []byte("HTTP/1.1 404 Not Found\r\nServer: store\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
	deleteAnswer  = []byte("HTTP/1.1 204 No Content\r\nServer: store\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n")
	zeros         = make([]byte, 1<<20)
	listAnswer    = func() []byte {
		body := []byte(`<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bench</Name><IsTruncated>false</IsTruncated>`)
		for i := range listedKeys {
			body = fmt.Appendf(body, `<Contents><Key>%016x</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>%s</ETag><Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>`, i, html.EscapeString(backendETag))
		}
		body = append(body, "</ListBucketResult>"...)
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: store\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}()
)

const (
	// largeBody is the size from which a body's beginning is not read along with the head, starting
	// with the connection's next request. What is read is copied, which costs as much as all the
	// rest, and more if the proxy itself has not copied it (NOTES.md).
	largeBody = 32 << 10
	headRead  = 1 << 10
)

// backendConn is one connection to a backend.
type backendConn struct {
	s    *backend
	nc   net.Conn
	br   *bufio.Reader
	head []byte

	large bool      // the last request's body was
	start time.Time // when the head was there
}

// Read is for br.
func (c *backendConn) Read(p []byte) (int, error) {
	if c.large {
		p = p[:min(len(p), headRead)]
	}
	return c.nc.Read(p)
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

func (s *backend) serve(nc net.Conn) {
	c := &backendConn{s: s, nc: nc, br: readers.Get().(*bufio.Reader)} //nolint:forcetypeassert // its New's
	defer readers.Put(c.br)
	c.br.Reset(c)
	for {
		head, err := readHead(c.br, c.head)
		if err != nil {
			return
		}
		c.head = head
		c.start = time.Now()
		f := s.fault.Load()
		if f.mode == faultHang {
			<-f.ended
		}
		if err := c.answer(f, head); err != nil {
			return
		}
		if http1.EqualFold(http1.Field(head, "Connection"), "close") {
			return
		}
	}
}

// write sends a part of an answer. The request is counted before the last part goes out: whoever has
// the answer finds it counted, and has waited for longer than the latency noted here.
func (c *backendConn) write(b []byte, last bool) error {
	if last {
		c.s.latency.Load().Record(time.Since(c.start))
	}
	_, err := c.nc.Write(b)
	return err
}

func (c *backendConn) answer(f *fault, head []byte) error {
	method, rest, _ := bytes.Cut(head, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	switch string(method) {
	case "PUT":
		n := max(0, contentLength(head))
		c.large = n >= largeBody
		if err := c.takeBody(f, n); err != nil {
			return err
		}
		c.s.size.Add(n)
		c.s.puts.Add(1)
		return c.write(putAnswer, true)
	case "DELETE":
		c.s.deletes.Add(1)
		return c.write(deleteAnswer, true)
	case "GET", "HEAD":
		c.s.gets.Add(1)
		size := int64(0)
		if _, v, ok := bytes.Cut(target, []byte(sizeParam)); ok {
			size, _ = strconv.ParseInt(string(v), 10, 64)
		}
		if bytes.Contains(target, []byte(listParam)) {
			return c.write(listAnswer, true)
		}
		if size == missingSize {
			return c.write(missingAnswer, true)
		}
		return c.sendObject(f, string(method) == "HEAD", size)
	}
	return fmt.Errorf("cannot answer a %s", method)
}

func (c *backendConn) takeBody(f *fault, n int64) error {
	if f.mode != faultTrickle {
		return discard(c.nc, c.br, n, nil)
	}
	for n > 0 && f.mode == faultTrickle {
		m := min(n, f.step())
		if err := discard(c.nc, c.br, m, nil); err != nil {
			return err
		}
		n -= m
		f.pause()
		f = c.s.fault.Load()
	}
	return discard(c.nc, c.br, n, nil)
}

func (c *backendConn) sendObject(f *fault, headOnly bool, size int64) error {
	head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: store\r\nETag: %s\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", backendETag, size)
	if headOnly {
		size = 0
	}
	first := min(size, 64<<10)
	if f.mode == faultTrickle {
		first = 0
	}
	if err := c.write(append(head, zeros[:first]...), first == size); err != nil {
		return err
	}
	for left := size - first; left > 0; {
		step := int64(len(zeros))
		if f = c.s.fault.Load(); f.mode == faultTrickle {
			step = f.step()
		}
		step = min(left, step)
		if err := c.write(zeros[:step], step == left); err != nil {
			return err
		}
		left -= step
		f.pause()
	}
	return nil
}
