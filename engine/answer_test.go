package engine

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// fieldsOf are the lines of a head without the hop-by-hop ones, the names in
// lower case, those of one name in their order.
func fieldsOf(headers stub.Headers, without ...string) []string {
	without = append(without, "connection", "keep-alive", "transfer-encoding", "trailer")
	var list []string
	for _, h := range headers {
		if name := strings.ToLower(h.Name); !slices.Contains(without, name) {
			list = append(list, name+": "+h.Value)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int {
		a, _, _ = strings.Cut(a, ":")
		b, _, _ = strings.Cut(b, ":")
		return strings.Compare(a, b)
	})
	return list
}

func TestR5AnswersPassAsTheyAre(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 1500)
	tests := []struct {
		name, method, head, body string
		fields                   stub.Headers // those of head, but for the hop-by-hop ones
		want                     string       // body, if it is not body
		closes                   bool         // the storage closes its connection
	}{
		{
			name: "an odd reason", method: "GET", head: "HTTP/1.1 299 Quite Alright, (Thanks)!\r\nContent-Length: 2\r\n\r\n", body: "ok",
			fields: stub.H("Content-Length", "2"),
		},
		{
			name: "Date, Server, repeated fields", method: "GET",
			head: "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: MinIO\r\nSet-Cookie: a=b; Path=/\r\nX-R: 1\r\n" +
				"Set-Cookie: c=d\r\nX-R: 2\r\nVary: Origin\r\nx-r: 1\r\nVary: Accept\r\nContent-Length: 2\r\nSet-Cookie: a=e\r\n\r\n", body: "ok",
			fields: stub.H("Date", "Thu, 01 Jan 1970 00:00:00 GMT", "Server", "MinIO", "Set-Cookie", "a=b; Path=/", "Set-Cookie", "c=d",
				"Set-Cookie", "a=e", "X-R", "1", "X-R", "2", "X-R", "1", "Vary", "Origin", "Vary", "Accept", "Content-Length", "2"),
		},
		{
			name: "a length twice", method: "GET", head: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n", body: "ok",
			fields: stub.H("Content-Length", "2"),
		},
		{
			name: "odd values", method: "GET",
			head:   "HTTP/1.1 200 OK\r\nETag:\"abc\"\r\nX-Empty:\r\nx-utf8: ü€\xff\r\nX-Long: " + long + "\r\nx-inner: a  b\tc\r\nLast-Modified: x\r\nContent-Length: 0\r\n\r\n",
			fields: stub.H("ETag", `"abc"`, "X-Empty", "", "x-utf8", "ü€\xff", "X-Long", strings.TrimSpace(long), "x-inner", "a  b\tc", "Last-Modified", "x", "Content-Length", "0"),
		},
		{
			name: "two codings", method: "GET",
			head: "HTTP/1.1 200 OK\r\nContent-Encoding: aws-chunked\r\nContent-encoding: gzip\r\nContent-Type: text/x\r\nContent-Language: de\r\n" +
				"Content-Language: en\r\nContent-Length: 2\r\n\r\n", body: "ok",
			fields: stub.H("Content-Encoding", "aws-chunked", "Content-Encoding", "gzip", "Content-Type", "text/x", "Content-Language", "de", "Content-Language", "en", "Content-Length", "2"),
		},
		{
			name: "no type and no Date", method: "GET", head: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", body: "ok",
			fields: stub.H("Content-Length", "2"),
		},
		{
			name: "HEAD", method: "HEAD", head: "HTTP/1.1 200 OK\r\nContent-Length: 123456789012\r\nContent-Type: a/b\r\n\r\n",
			fields: stub.H("Content-Length", "123456789012", "Content-Type", "a/b"),
		},
		{
			name: "HEAD of nothing", method: "HEAD", head: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			fields: stub.H("Content-Length", "0"),
		},
		{name: "HEAD without a length", method: "HEAD", head: "HTTP/1.1 200 OK\r\nETag: e\r\n\r\n", fields: stub.H("ETag", "e")},
		{name: "HEAD of chunks", method: "HEAD", head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: e\r\n\r\n", fields: stub.H("ETag", "e")},
		{
			name: "HEAD of what is not there", method: "HEAD", head: "HTTP/1.1 404 Not Found\r\nContent-Length: 300\r\n\r\n",
			fields: stub.H("Content-Length", "300"),
		},
		{name: "204", method: "DELETE", head: "HTTP/1.1 204 No Content\r\nx-amz-version-id: v\r\n\r\n", fields: stub.H("x-amz-version-id", "v")},
		{
			name: "206", method: "GET", head: "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-3/9\r\nContent-Length: 3\r\n\r\n", body: "abc",
			fields: stub.H("Content-Range", "bytes 1-3/9", "Content-Length", "3"),
		},
		{name: "304", method: "GET", head: "HTTP/1.1 304 Not Modified\r\nETag: e\r\n\r\n", fields: stub.H("ETag", "e")},
		{
			name: "304 with a length", method: "GET", head: "HTTP/1.1 304 Not Modified\r\nETag: e\r\nContent-Length: 77\r\nContent-Type: a/b\r\n\r\n",
			fields: stub.H("ETag", "e", "Content-Length", "77", "Content-Type", "a/b"),
		},
		{
			name: "301", method: "GET", head: "HTTP/1.1 301 Moved Permanently\r\nLocation: http://x/\r\nContent-Length: 2\r\n\r\n", body: "ok",
			fields: stub.H("Location", "http://x/", "Content-Length", "2"),
		},
		{
			name: "404", method: "GET", head: "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nContent-Type: application/xml\r\n\r\n", body: "no",
			fields: stub.H("Content-Length", "2", "Content-Type", "application/xml"),
		},
		{
			name: "503", method: "PUT", head: "HTTP/1.1 503 Slow Down\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n", body: "no",
			fields: stub.H("Retry-After", "1", "Content-Length", "2"),
		},
		{
			name: "chunks", method: "GET", head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-a\r\nETag: e\r\n\r\n",
			body: "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-a: b\r\n\r\n", want: "abcde", fields: stub.H("ETag", "e"),
		},
		{
			name: "no chunks", method: "GET", head: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body: "0\r\n\r\n", want: "",
		},
		{
			name: "chunks and a length", method: "GET", head: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
			body: "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", want: "abcde",
		},
		{
			name: "until the connection's end", method: "GET", head: "HTTP/1.0 200 OK\r\nETag: e\r\n\r\n", body: "abc", closes: true,
			fields: stub.H("ETag", "e"),
		},
		{
			name: "until the end, HTTP/1.1", method: "GET", head: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", body: "abc", closes: true,
		},
		{
			name: "HTTP/1.0 with a length", method: "GET", head: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", body: "abc", closes: true,
			fields: stub.H("Content-Length", "3"),
		},
		{
			name: "HTTP/1.0 that stays", method: "GET", head: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\n", body: "abc",
			fields: stub.H("Content-Length", "3"),
		},
		{
			name: "Connection: close", method: "GET", head: "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\nContent-Length: 3\r\n\r\n",
			body: "abc", closes: true, fields: stub.H("Content-Length", "3"),
		},
		{
			name: "nominated length", method: "GET", head: "HTTP/1.1 200 OK\r\nConnection: Content-Length, ETag\r\nETag: e\r\nContent-Length: 3\r\n\r\n",
			body: "abc", fields: stub.H("Content-Length", "3"),
		},
		{
			name: "after others", method: "GET", body: "abc",
			head:   "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
			fields: stub.H("Content-Length", "3"),
		},
		{
			name: "lines of LF alone", method: "GET", head: "HTTP/1.1 200 OK\nETag: e\nContent-Length: 3\n\n", body: "abc",
			fields: stub.H("ETag", "e", "Content-Length", "3"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			b := stub.Behaviour{Raw: []byte(tt.head + tt.body)}
			if tt.closes {
				b.Then = stub.SayClose
			}
			r.stores[0].BehaveNext(b)
			c := r.dial()
			a := c.Do(tt.method + " /b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n")
			line := tt.head[strings.LastIndex(tt.head, "HTTP/1."):]
			line, _, _ = strings.Cut(line, "\n")
			if got, want := fmt.Sprint(a.Status, " ", a.Reason), strings.TrimSpace(line[len("HTTP/1.1 "):]); got != want || a.Proto != "HTTP/1.1" {
				t.Errorf("status is %q (%s), want %q", got, a.Proto, want)
			}
			if got, want := fieldsOf(a.Headers), fieldsOf(tt.fields); !slices.Equal(got, want) {
				t.Errorf("fields are %q, want %q", got, want)
			}
			want := tt.body
			if strings.Contains(tt.head, "Transfer-Encoding") {
				want = tt.want
			}
			if string(a.Body) != want {
				t.Errorf("body is %q, want %q", a.Body, want)
			}
			if a.Headers.Has("Connection") {
				t.Errorf("the storage's Connection leaks: %q", a.RawHead)
			}
			r.settled()
			// The client's connection is kept, and so is the storage's.
			wantStatus(t, c.Do(requestFor("GET", "/")), 200)
			conns := 1
			if tt.closes {
				conns = 2
			}
			if n := r.stores[0].Counts().Conns; n != conns {
				t.Errorf("%d connections to the storage, want %d", n, conns)
			}
		})
	}
}

func TestR5LargeAnswers(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]stub.Behaviour{
		"length": {}, "chunks": {Chunked: true}, "until the end": {NoLength: true},
	} {
		for _, size := range []int{1, 15 << 10, 16 << 10, 17 << 10, 64 << 10, 8<<20 + 1} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				body := pattern(size)
				for _, s := range r.stores {
					s.Put("/b/k", []byte(body))
					s.Behave(b)
				}
				c := r.dial()
				for range 3 {
					if a := c.Do(requestFor("GET", "/b/k")); a.Status != 200 || string(a.Body) != body {
						t.Fatalf("answer is %d with %d bytes, want %d", a.Status, len(a.Body), size)
					}
				}
			})
		}
	}
}

func TestR5MalformedAnswerIsNone(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nx-amz-meta-\xc3\xbc: y\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-A: b\x00\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-A: b\r\n folded: c\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-A: b\rContent-Length: 0\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("b", 20<<10) + "\r\n\r\n",
		"SSH-2.0-OpenSSH_9.6\r\n\r\n",
	} {
		// Alone it is no answer at all.
		r := newRig(t, 1)
		r.stores[0].Behave(stub.Behaviour{Raw: []byte(raw)})
		wantS3Error(t, r.put("/b/k", "v"), 503, "ServiceUnavailable")
		r.settled()
		// Beside another one it is a divergence, and never in the way.
		r = newRig(t, 2)
		r.stores[0].Behave(stub.Behaviour{Raw: []byte(raw)})
		wantStatus(t, r.put("/b/k", "v"), 200)
		if d := r.settled(); len(d) != 1 || d[0].FailedHost != r.host(0) || d[0].SuccessHost != r.host(1) {
			t.Errorf("%q: divergences are %+v", raw, d)
		}
	}
}

// An answer that a storage cuts short is never a whole one for the client, and
// its connection not used again.
func TestR5TruncatedAnswers(t *testing.T) {
	t.Parallel()
	const size = 5*stub.ChunkSize + 100
	cuts := map[string]int64{
		"at once": 0, "early": 100, "at a chunk's end": stub.ChunkSize, "in a chunk": stub.ChunkSize + 1, "late": size - 1, "before the last chunk": stub.WholeBody,
	}
	for at, cutAt := range cuts {
		for _, chunked := range []bool{false, true} {
			for _, cut := range []stub.Cut{stub.CutClose, stub.CutReset} {
				for _, proto := range []string{"1.1", "1.0"} {
					if !chunked && cutAt == stub.WholeBody {
						continue
					}
					t.Run(fmt.Sprint(at, ", chunked ", chunked, ", cut ", cut, ", HTTP/", proto), func(t *testing.T) {
						t.Parallel()
						r := newRig(t, 1)
						body := pattern(size)
						r.stores[0].Put("/b/k", []byte(body))
						r.stores[0].BehaveNext(stub.Behaviour{Chunked: chunked, Cut: cut, CutAt: cutAt})
						c := r.dial()
						c.Send("GET /b/k HTTP/" + proto + "\r\nHost: s3.test\r\n\r\n")
						a, err := c.ReadAnswer()
						if err == nil {
							t.Errorf("%d of %d bytes are taken for a whole answer: %q", len(a.Body), size, a.RawHead)
						}
						if a != nil && !strings.HasPrefix(body, string(a.Body)) {
							t.Error("what came of it is wrong")
						}
						r.settled()
						if a := r.dial().Do(requestFor("GET", "/b/k")); a.Status != 200 || string(a.Body) != body {
							t.Errorf("the next answer is %d with %d bytes", a.Status, len(a.Body))
						}
						if n := r.stores[0].Counts().Conns; n != 2 {
							t.Errorf("%d connections to the storage, want 2", n)
						}
					})
				}
			}
		}
	}
}

func TestR5AdditionalResponseHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(o *Options, _ *limiter.Options) {
		o.AdditionalResponseHeaders = map[string]string{"X-aKubra": "one two", "Cache-Control": "public"}
	})
	tests := []struct{ name, raw, want string }{
		{"none of them", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "cache-control: public, x-akubra: one two"},
		{"one of them", "HTTP/1.1 200 OK\r\ncache-CONTROL: no-store\r\nContent-Length: 2\r\n\r\nok", "cache-control: no-store, x-akubra: one two"},
		{"both, and empty", "HTTP/1.1 404 No\r\nX-AKUBRA:\r\nx-akubra: b\r\nCache-Control: x\r\nContent-Length: 2\r\n\r\nok", "cache-control: x, x-akubra: , x-akubra: b"},
		{"streamed", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "cache-control: public, x-akubra: one two"},
	}
	c := r.dial()
	for _, tt := range tests {
		r.stores[0].BehaveNext(stub.Behaviour{Raw: []byte(tt.raw)})
		a := c.Do(requestFor("GET", "/b/k"))
		if got := strings.Join(fieldsOf(a.Headers, "content-length"), ", "); got != tt.want || string(a.Body) != "ok" {
			t.Errorf("%s: fields are %q, want %q (body %q)", tt.name, got, tt.want, a.Body)
		}
		if tt.name == "none of them" && !bytes.Contains(a.RawHead, []byte("\r\nX-aKubra: one two\r\n")) {
			t.Errorf("the spelling is lost: %q", a.RawHead)
		}
	}
}

func TestR5OldClients(t *testing.T) {
	t.Parallel()
	body := pattern(100 << 10)
	for name, b := range map[string]stub.Behaviour{
		"length": {}, "chunks": {Chunked: true}, "until the end": {NoLength: true},
	} {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", keep-alive ", keep), func(t *testing.T) {
				r := newRig(t, 2)
				for _, s := range r.stores {
					s.Put("/b/k", []byte(body))
					s.Behave(b)
				}
				connection := ""
				if keep {
					connection = "Connection: keep-alive\r\n"
				}
				c := r.dial()
				a := c.Do("HEAD /b/k HTTP/1.0\r\nHost: s3.test\r\nConnection: keep-alive\r\n\r\n")
				wantStatus(t, a, 200)
				a = c.Do("GET /b/k HTTP/1.0\r\nHost: s3.test\r\n" + connection + "\r\n")
				if a.Framing == stub.ByChunks || string(a.Body) != body {
					t.Errorf("body has %d bytes, want %d: %q", len(a.Body), len(body), a.RawHead)
				}
				if keep && a.Framing == stub.ByLength {
					a = c.Do("GET /b/k HTTP/1.0\r\nHost: s3.test\r\n\r\n")
					if string(a.Body) != body {
						t.Errorf("the next body has %d bytes", len(a.Body))
					}
				}
				if got := a.Headers.Values("Connection"); len(got) > 1 || len(got) == 1 && got[0] != "close" {
					t.Errorf("Connection is %q", got)
				}
				wantEnd(t, c)
				r.settled()
			})
		}
	}
}

// A chunk that comes slowly is progress all the same.
func TestR11TricklingAnswer(t *testing.T) {
	t.Parallel()
	const once = 600 * time.Millisecond
	inSlowMotion(t, once, func(t testing.TB, timeout time.Duration) {
		r := newRig(t, 1, withConnectionTimeout(timeout))
		body := pattern(100 << 10)
		r.stores[0].Behave(stub.Behaviour{
			Raw:       []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n19000\r\n" + body + "\r\n0\r\n\r\n"),
			WriteRate: 50 << 10 / int(timeout/once),
		})
		c := r.dial()
		c.Send(requestFor("GET", "/b/k"))
		if a, err := c.ReadAnswer(); err != nil || string(a.Body) != body {
			t.Errorf("the answer is cut: %v", err)
		}
	})
}

// What has come of an answer goes to the client while the rest is still out.
func TestR3AnswersAreStreamed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	body := pattern(300 << 10)
	r.stores[0].Put("/b/k", []byte(body))
	for _, chunked := range []bool{false, true} {
		r.stores[0].BehaveNext(stub.Behaviour{Chunked: chunked, Cut: stub.CutHang, CutAt: 100 << 10})
		c := r.dial()
		c.Send(requestFor("GET", "/b/k"))
		a, err := c.ReadHeadTo("GET")
		testkit.MustDo(t, err)
		if _, err := c.ReadSome(a, 100<<10); err != nil {
			t.Fatal(err)
		}
		r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
		r.stores[0].Unhang()
		if err := c.ReadBody(a); err != nil && err != io.EOF || string(a.Body) != body {
			t.Errorf("chunked %v: body has %d bytes, %v", chunked, len(a.Body), err)
		}
	}
}

// A piece of an answer may end in the middle of a packet where more is to come for sure,
// and a full packet goes before it.
func TestPiecesOfAnAnswerFillPackets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		left   int64 // behind the piece
		size   int
		goesOn bool
	}{{1, minHeld, true}, {1, minHeld - 1, false}, {0, minHeld, false}, {-1, minHeld, false}} {
		c := &clientConn{}
		b := &answerBody{left: tt.left, l: &leg{r: &request{client: client{conn: c}}}}
		n, err := b.write(writerFunc(func(p []byte) (int, error) {
			if c.goesOn != tt.goesOn {
				t.Errorf("%d bytes before %d: %v", tt.size, tt.left, c.goesOn)
			}
			return len(p) - 1, io.ErrShortWrite
		}), make([]byte, tt.size))
		if n != tt.size-1 || err != io.ErrShortWrite || c.goesOn {
			t.Errorf("%d bytes before %d: %d, %v, and then %v", tt.size, tt.left, n, err, c.goesOn)
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestR5OptionsAndCORS(t *testing.T) {
	t.Parallel()
	cors := func(o *Options, _ *limiter.Options) {
		o.AdditionalResponseHeaders = map[string]string{
			"Access-Control-Allow-Origin": "*", "access-control-allow-methods": "GET, PUT", "X-Other": "x",
		}
	}
	other := func(o *Options, _ *limiter.Options) { o.AdditionalResponseHeaders = map[string]string{"X-Other": "x"} }
	preflight := "OPTIONS /b/k HTTP/1.1\r\nHost: s3.test\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
	configured := "access-control-allow-methods: GET, PUT, access-control-allow-origin: *, content-length: 0, x-other: x"
	tests := []struct {
		name   string
		setup  setup
		down   bool
		raw    string // of the storages; "" is their 405
		status int
		fields string
	}{
		{"refused", cors, false, "", 200, configured},
		{"refused with a 403", cors, false, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 200, configured},
		{"no storage answers", cors, true, "", 200, configured},
		{
			"allowed by the storage", cors, false, "HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://a.example\r\n\r\n", 204,
			"access-control-allow-methods: GET, PUT, access-control-allow-origin: https://a.example, x-other: x",
		},
		{"refused, nothing configured", other, false, "", 405, ""},
		{"no storage answers, nothing configured", other, true, "", 503, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2, tt.setup)
			for _, s := range r.stores {
				if tt.down {
					s.Down()
				} else if tt.raw != "" {
					s.Behave(stub.Behaviour{Raw: []byte(tt.raw)})
				}
			}
			c := r.dial()
			for range 2 {
				a := c.Do(preflight)
				wantStatus(t, a, tt.status)
				if got := strings.Join(fieldsOf(a.Headers, "date"), ", "); tt.fields != "" && got != tt.fields {
					t.Errorf("fields are %q, want %q", got, tt.fields)
				}
			}
			r.wantNoRecords()
		})
	}
}
