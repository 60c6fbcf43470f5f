package stub

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func TestAnswerOverridden(t *testing.T) {
	s := New(t)
	c := Dial(t, s.Addr())
	for _, tt := range []struct {
		name   string
		b      Behaviour
		stored bool
		answer string
	}{
		{"status", Fails(503), false, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: 152\r\n\r\n" + string(errorDocument("SlowDown"))},
		{"good status", Behaviour{Status: 204, Headers: H("ETag", `"x"`)}, true, "HTTP/1.1 204 No Content\r\nETag: \"x\"\r\n\r\n"},
		{"headers", Behaviour{Headers: H("etag", `"x"`, "Set-Cookie", "a", "set-cookie", "b")}, true,
			"HTTP/1.1 200 OK\r\netag: \"x\"\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n"},
		{"status, headers, body", Behaviour{Status: 307, Headers: H("Location", "/"), Body: []byte("go")}, false,
			"HTTP/1.1 307 Status\r\nLocation: /\r\nContent-Length: 2\r\n\r\ngo"},
		{"stored all the same", Behaviour{Status: 500, Store: StoreAlways, Body: []byte("no")}, true,
			"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/xml\r\nContent-Length: 2\r\n\r\nno"},
		{"a lie", Behaviour{Store: StoreNever, Headers: H("ETag", "e")}, false, "HTTP/1.1 200 OK\r\nETag: e\r\nContent-Length: 0\r\n\r\n"},
		{"chunked", Behaviour{Headers: H("ETag", "e"), Body: []byte("hello"), Chunked: true}, true,
			"HTTP/1.1 200 OK\r\nETag: e\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"R25", ErrorIn200("InternalError"), false, "HTTP/1.1 200 OK\r\nETag: \"5d41402abc4b2a76b9719d911017c592\"\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"1\r\n \r\n1\r\n \r\n1\r\n \r\n9d\r\n" + string(errorDocument("InternalError")) + "\r\n0\r\n\r\n"},
		{"raw", Behaviour{Raw: []byte("HTTP/1.1 299\r\n\r\nanything\n")}, true, "HTTP/1.1 299\r\n\r\nanything\n"},
		{"own length", Behaviour{Headers: H("ETag", "e", "content-length", "07"), Body: []byte("x")}, true, "HTTP/1.1 200 OK\r\nETag: e\r\ncontent-length: 07\r\n\r\nx"},
		{"interim", Behaviour{Headers: H("ETag", "e"), Interim: []int{102, 103}}, true,
			"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nETag: e\r\nContent-Length: 0\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := "/b/" + strings.ReplaceAll(tt.name, " ", "-")
			s.BehaveNext(tt.b)
			c.Send(put(path, "hello"))
			if got := mustRead(t, c, len(tt.answer)); got != tt.answer {
				t.Errorf("got    %q\nwanted %q", got, tt.answer)
			}
			if _, ok := s.Object(path); ok != tt.stored {
				t.Errorf("stored: %v", ok)
			}
		})
	}
	if n := s.Counts(); n.Conns != 1 {
		t.Errorf("%+v", n)
	}
	s.BehaveNext(Behaviour{Chunked: true, Body: []byte("x")})
	c.Do(ask("HEAD", "/b/raw"))
	mustStatus(t, c.Do(ask("GET", "/b/raw")), 200)
}

// mustRead reads n raw bytes.
func mustRead(t *testing.T, c *Client, n int) string {
	t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(clientWithin))
	buf := make([]byte, n)
	if m, err := io.ReadFull(c.br, buf); err != nil {
		t.Fatalf("read %q: %v", buf[:m], err)
	}
	return string(buf)
}

func TestNoLength(t *testing.T) {
	s := New(t)
	s.Behave(Behaviour{NoLength: true})
	s.Put("/b/k", []byte("hello"))
	c := Dial(t, s.Addr())
	a := c.Do(ask("GET", "/b/k"))
	if a.Proto != "HTTP/1.0" || a.Framing != Unframed || string(a.Body) != "hello" {
		t.Errorf("answer %s%s", a.RawHead, a.Body)
	}
}

func TestOrderOfBehaviours(t *testing.T) {
	s := New(t)
	c := Dial(t, s.Addr())
	s.BehaveFunc(func(r *Request) Behaviour {
		if r.Method == "DELETE" && r.Headers.Get("X") == "y" {
			return Fails(403)
		}
		return Behaviour{Status: 200 + len(s.Requests())} // f may call the Server
	})
	s.BehaveNext(Fails(500), Behaviour{})
	for i, tt := range []struct {
		method string
		status int
	}{{"DELETE", 500}, {"DELETE", 204}, {"DELETE", 403}, {"POST", 204}, {"POST", 205}} {
		if a := c.Do(ask(tt.method, "/b", "X: y", "Content-Length: 0")); a.Status != tt.status {
			t.Errorf("%d: status %d, wanted %d", i, a.Status, tt.status)
		}
	}
}

func TestExpect(t *testing.T) {
	head := "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
	s := New(t)
	for _, tt := range []struct {
		b       Behaviour
		expects bool
		hundred bool
	}{
		{Behaviour{}, true, true},
		{Behaviour{}, false, false},
		{Behaviour{Continue: ContinueNever}, true, false},
		{Behaviour{Continue: ContinueAlways}, false, true},
		{Behaviour{During: AnswerAndDrain}, true, false},
		{Behaviour{During: AnswerAndDrain, After: 1}, true, true},
	} {
		t.Run(fmt.Sprintf("%+v", tt.b), func(t *testing.T) {
			s.BehaveNext(tt.b)
			c := Dial(t, s.Addr())
			if tt.expects {
				c.Send(head, "expect: 100-Continue\r\n\r\n")
			} else {
				c.Send(head, "\r\n")
			}
			if tt.hundred {
				if a, err := c.ReadHeadTo(""); err != nil || a.Status != 100 {
					t.Fatalf("%+v, %v", a, err)
				}
			}
			c.Send("ab")
			if a, err := c.ReadAnswer(); err != nil || len(a.Interim) != 0 {
				t.Fatalf("%+v, %v", a, err)
			}
		})
	}
}

func TestR9EarlyAnswers(t *testing.T) {
	const size = 16 << 20 // more than the system's buffers hold
	head := fmt.Sprintf("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size)
	body := make([]byte, size)
	for _, after := range []int64{0, 1000} {
		t.Run(fmt.Sprintf("close after %d", after), func(t *testing.T) {
			s := New(t, NoHash())
			s.Behave(Behaviour{During: AnswerAndClose, After: after, Status: 503})
			c := Dial(t, s.Addr())
			c.Send(head)
			c.Send(string(body[:after]))
			a, err := c.ReadAnswer()
			if err != nil || a.Status != 503 || a.Headers.Get("Connection") != "close" {
				t.Errorf("%+v, %v", a, err)
			}
			if r := s.WaitDone(t, 1)[0]; r.Complete || r.Aborted || !r.Answered || r.BodyBytes != after {
				t.Errorf("%v", r)
			}
			if _, err := c.Write(body); !isReset(err) {
				t.Errorf("the rest was taken: %v", err)
			}
		})
		t.Run(fmt.Sprintf("FIN after %d", after), func(t *testing.T) {
			s := New(t, NoHash())
			s.Behave(Behaviour{During: AnswerAndFin, After: after})
			c := Dial(t, s.Addr())
			c.Send(head)
			if _, err := c.Write(body); err != nil {
				t.Fatal(err)
			}
			a, err := c.ReadAnswer()
			if err != nil || a.Status != 403 {
				t.Errorf("%+v, %v", a, err)
			}
			if rest, err := c.Rest(); rest != nil || err != nil {
				t.Errorf("%q, %v", rest, err)
			}
			c.Close()
			if r := s.WaitDone(t, 1)[0]; !r.Complete || len(s.Objects()) != 0 {
				t.Errorf("%v", r)
			}
		})
		t.Run(fmt.Sprintf("stop after %d", after), func(t *testing.T) {
			s := New(t, NoHash())
			s.Behave(Behaviour{During: AnswerAndStop, After: after})
			c := Dial(t, s.Addr())
			c.Send(head)
			sent := make(chan error)
			go func() {
				_, err := c.Write(body)
				sent <- err
			}()
			if a, err := c.ReadAnswer(); err != nil || a.Status != 403 || a.Headers.Has("Connection") {
				t.Errorf("%+v, %v", a, err)
			}
			r := s.Wait(t, func(rs Requests) bool { return rs.Held() == 1 })[0]
			if r.BodyBytes != after || !r.Answered {
				t.Errorf("%v", r)
			}
			select {
			case err := <-sent:
				t.Errorf("all was taken: %v", err)
			default:
			}
			s.Unhang()
			if err := <-sent; err != nil {
				t.Error(err)
			}
			if r := s.WaitDone(t, 1)[0]; !r.Complete || len(s.Objects()) != 0 {
				t.Errorf("%v", r)
			}
			mustKeep(t, s, c)
		})
		t.Run(fmt.Sprintf("drain after %d", after), func(t *testing.T) {
			s := New(t, NoHash())
			s.Behave(Behaviour{During: AnswerAndDrain, After: after})
			c := Dial(t, s.Addr())
			c.Send(head, string(body[:after]))
			if a, err := c.ReadAnswer(); err != nil || a.Status != 403 {
				t.Errorf("%+v, %v", a, err)
			}
			c.Send(string(body[after:]))
			mustKeep(t, s, c)
			if r := s.WaitDone(t, 1)[0]; !r.Complete || len(s.Objects()) != 0 {
				t.Errorf("%v", r)
			}
		})
	}
	t.Run("one answer alone to a malformed rest", func(t *testing.T) {
		s := New(t)
		s.Behave(Behaviour{During: AnswerAndDrain})
		c := Dial(t, s.Addr())
		c.Send("PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
		if a, err := c.ReadAnswer(); err != nil || a.Status != 403 {
			t.Errorf("%+v, %v", a, err)
		}
		if rest, err := c.Rest(); rest != nil || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
	t.Run("not when the body is shorter", func(t *testing.T) {
		s := New(t, NoHash())
		s.Behave(Behaviour{During: AnswerAndClose, After: 6})
		mustStatus(t, Dial(t, s.Addr()).Do(put("/b/k", "hello")), 200)
	})
}

// mustKeep checks that the connection serves another request.
func mustKeep(t *testing.T, s *Server, c *Client) {
	t.Helper()
	s.Behave(Behaviour{})
	mustStatus(t, c.Do(ask("GET", "/")), 200)
}

func TestHangs(t *testing.T) {
	for name, behaviour := range map[string]func(gate chan struct{}) Behaviour{
		"before the body": func(chan struct{}) Behaviour { return Behaviour{During: HangThere} },
		"in the body":     func(chan struct{}) Behaviour { return Behaviour{During: HangThere, After: 2} },
		"after the body":  func(chan struct{}) Behaviour { return Behaviour{HangAfterBody: true} },
		"at a gate":       func(gate chan struct{}) Behaviour { return Behaviour{Gate: gate} },
		"in the head":     func(chan struct{}) Behaviour { return Behaviour{Cut: CutHang, CutAt: MidHead} },
		"in the answer":   func(chan struct{}) Behaviour { return Behaviour{Cut: CutHang, CutAt: 3, Body: []byte("answer")} },
		"at the body gate": func(gate chan struct{}) Behaviour {
			return Behaviour{BodyGate: gate, Body: []byte("answer")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(t)
			gate := make(chan struct{})
			b := behaviour(gate)
			s.Behave(b)
			c := Dial(t, s.Addr())
			c.Send(put("/b/k", "hello"))
			s.Wait(t, func(rs Requests) bool { return rs.Held() == 1 })
			if _, ok := s.Object("/b/k"); ok != (b.During == ReadOn) {
				t.Errorf("stored: %v", ok)
			}
			close(gate)
			s.Unhang()
			if a, err := c.ReadAnswer(); err != nil || a.Status != 200 || string(a.Body) != string(b.Body) {
				t.Errorf("%+v, %v", a, err)
			}
			if _, ok := s.Object("/b/k"); !ok {
				t.Error("not stored")
			}
			mustKeep(t, s, c)
		})
	}
}

// A peer that leaves while its response is held back is noticed.
func TestPeerGone(t *testing.T) {
	for name, leave := range map[string]func(*Client){"FIN": (*Client).Close, "reset": (*Client).Reset} {
		t.Run(name, func(t *testing.T) {
			s := New(t)
			s.Behave(Behaviour{HangAfterBody: true})
			c := Dial(t, s.Addr())
			c.Send(put("/b/k", "hello"))
			s.Wait(t, func(rs Requests) bool { return rs.Held() == 1 })
			leave(c)
			if r := s.WaitDone(t, 1)[0]; !r.Gone || !r.Complete || r.Aborted || r.Answered {
				t.Errorf("%v", r)
			}
		})
	}
}

func TestClosesInTheBody(t *testing.T) {
	for _, during := range []During{CloseThere, ResetThere} {
		for _, after := range []int64{0, 3} {
			s := New(t)
			s.Behave(Behaviour{During: during, After: after})
			c := Dial(t, s.Addr())
			c.Send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", "hello"[:after])
			rest, err := c.Rest()
			if rest != nil || (during == ResetThere) != isReset(err) || (during == CloseThere) != (err == nil) {
				t.Errorf("%d after %d: %q, %v", during, after, rest, err)
			}
			if r := s.WaitDone(t, 1)[0]; r.Complete || r.Aborted || r.Err == nil || r.BodyBytes != after {
				t.Errorf("%v", r)
			}
		}
	}
}

func TestCutsInTheAnswer(t *testing.T) {
	body := []byte(strings.Repeat("0123456789", ChunkSize/10+10))
	for _, tt := range []struct {
		name    string
		b       Behaviour
		hasHead bool
		hasBody int
	}{
		{"no answer", Behaviour{Cut: CutClose, CutAt: NoAnswer}, false, 0},
		{"half a head", Behaviour{Cut: CutClose, CutAt: MidHead}, false, 0},
		{"head alone", Behaviour{Cut: CutClose}, true, 0},
		{"some body", Behaviour{Cut: CutClose, CutAt: 3}, true, 3},
		{"reset in the body", Behaviour{Cut: CutReset, CutAt: 3}, true, 3},
		{"in a chunk", Behaviour{Chunked: true, Cut: CutClose, CutAt: 3}, true, 3},
		{"between chunks", Behaviour{Chunked: true, Cut: CutClose, CutAt: ChunkSize}, true, ChunkSize},
		{"before the last chunk", TruncatesChunked(), true, len(body)},
		{"reset before the last chunk", Behaviour{Chunked: true, Cut: CutReset, CutAt: WholeBody}, true, len(body)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(t)
			s.Put("/b/k", body)
			s.Behave(tt.b)
			c := Dial(t, s.Addr())
			c.Send(ask("GET", "/b/k"))
			a, err := c.ReadAnswer()
			if tt.b.Cut == CutReset {
				// A reset overtakes data sent before it; how much of that arrives is chance.
				if !isReset(err) {
					t.Errorf("%+v, %v", a, err)
				}
			} else if tt.b.CutAt == NoAnswer {
				if a != nil || err != io.EOF {
					t.Errorf("%+v, %v", a, err)
				}
			} else if !errors.Is(err, io.ErrUnexpectedEOF) || (a != nil) != tt.hasHead || a != nil && len(a.Body) != tt.hasBody {
				t.Errorf("%+v, %v", a, err)
			}
			if r := s.WaitDone(t, 1)[0]; !r.Complete || r.Answered || r.Gone {
				t.Errorf("%v", r)
			}
		})
	}
	t.Run("raw", func(t *testing.T) {
		s := New(t)
		s.Behave(Behaviour{Raw: []byte("HTTP/1.1 200 OK"), Cut: CutClose, CutAt: 8})
		c := Dial(t, s.Addr())
		c.Send(ask("GET", "/"))
		if got, err := c.Rest(); string(got) != "HTTP/1.1" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestR12Stale(t *testing.T) {
	t.Run("FinAfter", func(t *testing.T) {
		s := New(t)
		s.BehaveNext(Behaviour{Then: FinAfter})
		c := Dial(t, s.Addr())
		if a := c.Do(put("/b/k", "hello")); a.Headers.Has("Connection") {
			t.Errorf("it tells: %s", a.RawHead)
		}
		if rest, err := c.Rest(); rest != nil || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
	t.Run("SayClose", func(t *testing.T) {
		s := New(t)
		s.BehaveNext(Behaviour{Then: SayClose})
		c := Dial(t, s.Addr())
		if a := c.Do(put("/b/k", "hello")); a.Headers.Get("Connection") != "close" {
			t.Errorf("it does not tell: %s", a.RawHead)
		}
		if rest, err := c.Rest(); rest != nil || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
	t.Run("DropNext", func(t *testing.T) {
		s := New(t)
		s.BehaveNext(Behaviour{Then: DropNext}, Behaviour{Status: 299})
		c := Dial(t, s.Addr())
		mustStatus(t, c.Do(ask("GET", "/")), 200)
		c.Send(ask("GET", "/again"))
		if a, err := c.ReadAnswer(); a != nil || err != io.EOF {
			t.Errorf("%+v, %v", a, err)
		}
		if r := s.WaitDone(t, 2)[1]; r.Target != "/again" || r.Complete || r.Answered || r.Err == nil {
			t.Errorf("%v", r)
		}
		mustStatus(t, Dial(t, s.Addr()).Do(ask("GET", "/")), 299) // it did not use up a behaviour
	})
	t.Run("CloseIdle", func(t *testing.T) {
		s := New(t)
		idle, busy := Dial(t, s.Addr()), Dial(t, s.Addr())
		mustStatus(t, idle.Do(ask("GET", "/")), 200)
		s.WaitDone(t, 1)
		s.Behave(Behaviour{HangAfterBody: true})
		busy.Send(ask("GET", "/"))
		s.Wait(t, func(rs Requests) bool { return rs.Held() == 1 })
		if n := s.CloseIdle(); n != 1 {
			t.Errorf("closed %d", n)
		}
		if rest, err := idle.Rest(); rest != nil || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
		s.Unhang()
		if a, err := busy.ReadAnswer(); err != nil {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestTrickles(t *testing.T) {
	t.Run("read", func(t *testing.T) {
		s := New(t, ReceiveBuffer(4<<10))
		s.Behave(Behaviour{ReadRate: 1 << 20})
		c := Dial(t, s.Addr())
		began := time.Now()
		mustStatus(t, c.Do(put("/b/k", strings.Repeat("x", 256<<10))), 200)
		if took := time.Since(began); took < 200*time.Millisecond {
			t.Errorf("256 KiB at 1 MiB/s took %s", took)
		}
	})
	t.Run("the sender feels it", func(t *testing.T) {
		s := New(t)
		s.Behave(Behaviour{ReadRate: 1})
		c := Dial(t, s.Addr())
		c.Send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n")
		c.nc.SetWriteBuffer(64 << 10)
		c.nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.nc.Write(make([]byte, 32<<20))
		if err == nil {
			t.Errorf("took %d", n)
		}
		t.Logf("took %d", n)
	})
	t.Run("write", func(t *testing.T) {
		s := New(t)
		s.Behave(Behaviour{WriteRate: 4 << 10})
		s.Put("/b/k", make([]byte, 1<<10))
		c := Dial(t, s.Addr())
		began := time.Now()
		if a := c.Do(ask("GET", "/b/k")); len(a.Body) != 1<<10 {
			t.Errorf("%d bytes", len(a.Body))
		}
		if took := time.Since(began); took < 200*time.Millisecond {
			t.Errorf("1 KiB at 4 KiB/s took %s", took)
		}
	})
	t.Run("ended by Close", func(t *testing.T) {
		s := New(t)
		s.Behave(Behaviour{WriteRate: 1})
		c := Dial(t, s.Addr())
		c.Send(ask("GET", "/"))
		mustRead(t, c, 1)
		s.Close()
	})
}

func TestAnswerBitByBit(t *testing.T) {
	gate := make(chan struct{})
	s := New(t)
	s.Behave(Behaviour{Spaces: 2, BodyGate: gate, Body: []byte("hello")})
	c := Dial(t, s.Addr())
	c.Send(post("/b/k", ""))
	a, err := c.ReadHeadTo("POST")
	if err != nil || a.Status != 200 {
		t.Fatalf("%+v, %v", a, err)
	}
	if got, err := c.ReadSome(a, 2); string(got) != "  " || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	s.Wait(t, func(rs Requests) bool { return rs.Held() == 1 })
	close(gate)
	if got, err := c.ReadSome(a, 1); string(got) != "h" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := c.ReadBody(a); string(a.Body) != "  hello" || err != nil {
		t.Errorf("%q, %v", a.Body, err)
	}
}

func TestDownAndUp(t *testing.T) {
	s := New(t)
	for range 3 {
		idle, reading, hanging := Dial(t, s.Addr()), Dial(t, s.Addr()), Dial(t, s.Addr())
		mustStatus(t, idle.Do(ask("GET", "/")), 200)
		reading.Send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell")
		s.Wait(t, func(rs Requests) bool { return rs[len(rs)-1].BodyBytes == 4 })
		s.BehaveNext(Behaviour{HangAfterBody: true})
		hanging.Send(ask("GET", "/"))
		s.Wait(t, func(rs Requests) bool { return rs.Held() == 1 })
		s.Down()
		for _, c := range []*Client{idle, reading, hanging} {
			if rest, err := c.Rest(); rest != nil || !isReset(err) {
				t.Errorf("%q, %v", rest, err)
			}
		}
		if err := dialError(s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial while down: %v", err)
		}
		rs := s.Wait(t, func(rs Requests) bool { return rs.Done() == len(rs) && s.Counts().OpenConns == 0 })
		if r := rs[len(rs)-2]; r.Complete || r.Aborted || r.Err == nil {
			t.Errorf("%v", r)
		}
		if err := s.Up(); err != nil {
			t.Fatal(err)
		}
		if err := s.Up(); err != nil {
			t.Fatal(err)
		}
		mustStatus(t, Dial(t, s.Addr()).Do(ask("GET", "/")), 200)
	}
}

func TestRefuseAccept(t *testing.T) {
	s := New(t)
	open := Dial(t, s.Addr())
	mustStatus(t, open.Do(ask("GET", "/")), 200)
	s.RefuseAccept(true)
	nc, err := net.Dial("tcp", s.Addr()) // which may see the reset already
	if err == nil {
		nc.SetDeadline(time.Now().Add(clientWithin))
		_, err = nc.Read(make([]byte, 1))
		nc.Close()
	}
	if !isReset(err) {
		t.Error(err)
	}
	mustStatus(t, open.Do(ask("GET", "/")), 200)
	s.RefuseAccept(false)
	mustStatus(t, Dial(t, s.Addr()).Do(ask("GET", "/")), 200)
}

// Close ends everything in progress; TestMain checks that nothing is left.
func TestClose(t *testing.T) {
	for _, b := range []Behaviour{
		{During: HangThere}, {HangAfterBody: true}, {Gate: make(chan struct{})}, {ReadRate: 1}, {WriteRate: 1},
		{During: AnswerAndStop}, {During: AnswerAndFin}, {Cut: CutHang, CutAt: MidHead}, {Then: DropNext},
	} {
		s := New(t)
		s.Behave(b)
		for range 3 {
			Dial(t, s.Addr()).Send(put("/b/k", "hello"))
		}
		s.Wait(t, func(rs Requests) bool { return len(rs) == 3 })
		s.Close()
		if n := s.Counts(); n.OpenConns != 0 || len(s.Requests()) != s.Requests().Done() {
			t.Errorf("%+v: %+v", b, n)
		}
		s.Close()
		if err := s.Up(); err != nil {
			t.Error(err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	s := New(t)
	var clients []*Client
	for range 16 {
		clients = append(clients, Dial(t, s.Addr()))
	}
	done := make(chan error)
	for i, c := range clients {
		go func() {
			var err error
			for n := range 50 {
				body := strings.Repeat("x", n*100)
				if _, err = c.Write([]byte(put(fmt.Sprintf("/b/%d-%d", i, n), body))); err != nil {
					break
				}
				if _, err = c.ReadAnswer(); err != nil {
					break
				}
			}
			done <- err
		}()
	}
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(s.Objects()); n != 16*50 {
		t.Errorf("%d objects", n)
	}
	rs := s.WaitDone(t, 16*50)
	if len(rs) != 16*50 || rs.Complete() != 16*50 {
		t.Errorf("%+v", s.Counts())
	}
}
