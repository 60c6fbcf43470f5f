package stub

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestRequestIsSeenAsSent(t *testing.T) {
	s := New(t)
	c := Dial(t, s.Addr())
	head := "PUT /b//x/../%2F+ü?acl&a=;b= HTTP/1.1\r\nhOsT: h\r\nX-A: 1\r\nx-a:   2  \r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n"
	mustStatus(t, c.Do(head, "3\r\nabc\r\n", "00a;ext=1\r\n0123456789\r\n", "0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"), 200)
	r := s.WaitDone(t, 1)[0]
	if r.Method != "PUT" || r.Target != "/b//x/../%2F+ü?acl&a=;b=" || string(r.RawHead) != head {
		t.Errorf("head %q", r.RawHead)
	}
	if !slices.Equal(r.Headers, H("hOsT", "h", "X-A", "1", "x-a", "2", "X-Empty", "", "Transfer-Encoding", "chunked")) {
		t.Errorf("headers %q", r.Headers)
	}
	if got := r.Headers.Values("X-A"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("values %q", got)
	}
	if string(r.Body) != "abc0123456789" || r.BodyBytes != 13 || r.Framing != ByChunks || r.Length != -1 ||
		!slices.Equal(r.Trailers, H("X-Sum", "1", "x-sum", "2")) {
		t.Errorf("body %q, %v, trailers %q", r.Body, r, r.Trailers)
	}
	if !r.Complete || !r.Answered || r.Status != 200 || r.Conn != 1 || r.Nth != 1 || r.Err != nil {
		t.Errorf("%v", r)
	}
	mustStatus(t, c.Do(ask("GET", "/")), 200)
	if r := s.WaitDone(t, 2)[1]; r.Conn != 1 || r.Nth != 2 || r.Framing != Unframed {
		t.Errorf("%v", r)
	}
}

// A body that the client did not send completely is counted, but never stored.
func TestR6ShortBodyIsNotStored(t *testing.T) {
	head := "PUT /b/k HTTP/1.1\r\nHost: h\r\n"
	for name, sent := range map[string]string{
		"in the head":       head,
		"before the body":   head + "Content-Length: 5\r\n\r\n",
		"in the body":       head + "Content-Length: 5\r\n\r\nabcd",
		"before a chunk":    head + "Transfer-Encoding: chunked\r\n\r\n",
		"in a chunk size":   head + "Transfer-Encoding: chunked\r\n\r\n1",
		"in a chunk":        head + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"after a chunk":     head + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
		"in the last chunk": head + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
		"in the trailers":   head + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nA: b\r\n",
	} {
		for how, leave := range map[string]func(*Client){"FIN": (*Client).CloseWrite, "reset": (*Client).Reset} {
			t.Run(name+" "+how, func(t *testing.T) {
				s := New(t)
				c := Dial(t, s.Addr())
				c.Send(sent)
				if how == "reset" { // which discards what was not read yet
					s.Wait(t, func(rs Requests) bool {
						_, body, whole := strings.Cut(sent, "\r\n\r\n")
						return !whole || len(rs) == 1 && (body == "" || rs[0].BodyBytes > 0 || len(body) < 3)
					})
				}
				leave(c)
				s.Wait(t, func(Requests) bool { n := s.Counts(); return n.Conns == 1 && n.OpenConns == 0 })
				if how == "reset" && len(s.Requests()) == 0 {
					return // even the beginning of the head was discarded
				}
				r := s.WaitDone(t, 1)[0]
				if r.Complete || !r.Aborted || r.Err == nil || r.Status != 0 || s.Counts().Aborted != 1 {
					t.Errorf("%v, %+v", r, s.Counts())
				}
				if len(s.Objects()) != 0 {
					t.Errorf("stored %v", s.Objects())
				}
			})
		}
	}
}

// The stub forgives nothing, so whatever it accepts is beyond doubt.
func TestR8MalformedIsSeen(t *testing.T) {
	for _, sent := range []string{
		"\r\n\r\n",
		"GET / HTTP/1.1\nHost: h\n\n",
		"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
		"GET /\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\n: y\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: \x00\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
		"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
		"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\na",
		"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
	} {
		t.Run(sent, func(t *testing.T) {
			s := New(t)
			c := Dial(t, s.Addr())
			c.Send(sent)
			r := s.WaitDone(t, 1)[0]
			if !errors.Is(r.Err, ErrMalformed) || r.Complete || r.Aborted || r.Status != 400 || len(s.Objects()) != 0 {
				t.Errorf("%v", r)
			}
		})
	}
}

// Bytes after a body are the next request, however odd they are.
func TestStrayBytesAreSeen(t *testing.T) {
	s := New(t)
	c := Dial(t, s.Addr())
	c.Send(put("/b/k", "hello"), "stray")
	c.CloseWrite()
	rs := s.WaitDone(t, 2)
	if !rs[0].Complete || string(rs[1].RawHead) != "stray" || rs[1].Err == nil {
		t.Errorf("\n%s", rs)
	}
}

func TestConnectionClose(t *testing.T) {
	for _, sent := range []string{
		ask("GET", "/", "Connection: x, Close"),
		"GET / HTTP/1.0\r\n\r\n",
	} {
		s := New(t)
		c := Dial(t, s.Addr())
		if a := c.Do(sent); a.Headers.Get("Connection") != "close" {
			t.Errorf("answer %s", a.RawHead)
		}
		if rest, err := c.Rest(); rest != nil || err != nil {
			t.Errorf("after the answer: %q, %v", rest, err)
		}
	}
}

func TestLargeBodies(t *testing.T) {
	const size = 9 << 20
	s := New(t)
	c := Dial(t, s.Addr())
	body := strings.Repeat("0123456789abcdef", size/16)
	mustStatus(t, c.Do(put("/b/k", body)), 200)
	if r := s.WaitDone(t, 1)[0]; r.Body != nil || r.BodyBytes != size || r.SHA256 == "" {
		t.Errorf("%v", r)
	}
	s.Behave(Behaviour{Chunked: true})
	a := c.Do(ask("GET", "/b/k"))
	if a.Framing != ByChunks || string(a.Body) != body {
		t.Errorf("got %d bytes: %s", len(a.Body), a.RawHead)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(put("/b/k", "hello", "A: b")))
	f.Add([]byte("POST /?delete HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(sent), 16)
		raw, err := readHead(br)
		if !bytes.HasPrefix(sent, raw) {
			t.Fatalf("head %q", raw)
		}
		r := &Request{RawHead: raw}
		if err != nil || r.parseRequest() != nil {
			return
		}
		body := &bodyReader{br: br, framing: r.Framing, left: max(r.Length, 0)}
		got, err := io.ReadAll(body)
		if err == nil && r.Framing == ByLength && int64(len(got)) != r.Length {
			t.Fatalf("%d bytes of %d", len(got), r.Length)
		}
		if len(got) > len(sent)-len(raw) {
			t.Fatalf("more came out than went in: %q", got)
		}
	})
}
