package engine

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// nastyTargets are request targets that a rewriting proxy would change, and so
// break the signature of.
var nastyTargets = []string{
	"/", "/b", "/b/", "/b/k", "//b/k", "/b//k", "/b/k//", "///", "/b/a/../k", "/b/./k", "/b/..", "/..", "/.", "/b/...",
	"/b/%2F", "/b/%2f%2F", "/b/a%2Fb", "/b/%2E%2E/k", "/b/%00", "/b/%0D%0AX-A:b", "/b/%zz", "/b/%", "/b/%4", "/b/%C3%BC",
	"/b/a+b", "/b/a%20b", "/b/a%2Bb", "/b/a:b@c", "/b/!$&'()*,;=", "/b/~-._", `/b/a\b`, "/b/a|b{}^`\"<>[]",
	"/b/k;v=1", "/b/k;v=1?x;y", "/b/\xc3\xbc\xe2\x82\xac", "/b/\x80\xff\xfe", "/b/\xc3\xbc?x=\xe2\x82\xac",
	"/b/ü€%20%2F+;=&",
	"/b/k?", "/b?", "/b/k?acl", "/b/k?acl=", "/b/k?=", "/b/k?&&", "/b/k?a=&b", "/b/k?a=1&a=2&A=3", "/b/k?a=b?c=d", "/b/k?a=b/c//d",
	"/b/k?a=b+c%20d", "/b/k?versionId=null", "/b?list-type=2&prefix=a%2Fb&delimiter=%2F&encoding-type=url",
	"/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=abc",
	"/b/k?AWSAccessKeyId=AK&Signature=a%2Bb%3D&Expires=1", "/b/k?response-content-disposition=attachment%3B%20filename%3D%22%C3%BC%22",
	"/b/" + strings.Repeat("k", 1024), "/b/" + strings.Repeat("ü", 512), "/b/" + strings.Repeat("%C3%BC", 512),
	"/b/" + strings.Repeat("a/", 500), "/?" + strings.Repeat("x", 4000),
	"http://s3.test/b/k", "http://s3.test/b//k?acl", "http://s3.test:80/b/../k", "http://s3.test", "http://s3.test?acl",
	"HTTP://S3.TEST/b/k", "https://s3.test/b/k",
}

// seenBy waits for the n-th request at each storage and returns its heads.
func (r *rig) seenBy(n int) []*stub.Request {
	r.t.Helper()
	var last []*stub.Request
	for _, s := range r.stores {
		last = append(last, s.WaitDone(r.t, n)[n-1])
	}
	return last
}

func TestR2TargetsPassAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "PUT", "HEAD", "DELETE", "POST"} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t, 2)
			c := r.dial()
			for i, target := range nastyTargets {
				head := method + " " + target + " HTTP/1.1\r\nHost: s3.test\r\n"
				body := ""
				if method == "PUT" || method == "POST" {
					body = "body"
					head += "Content-Length: 4\r\n"
				}
				head += "\r\n"
				c.Do(head, body)
				r.settled()
				for _, got := range r.seenBy(i + 1) {
					if string(got.RawHead) != head || string(got.Body) != body {
						t.Errorf("target %q arrives as\n%q, want\n%q", target, got.RawHead, head)
					}
				}
			}
		})
	}
}

func TestR2AsteriskTarget(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	head := "OPTIONS * HTTP/1.1\r\nHost: s3.test\r\n\r\n"
	r.dial().Do(head)
	if got := r.seenBy(1)[0]; string(got.RawHead) != head {
		t.Errorf("arrived: %q", got.RawHead)
	}
}

// nastyFields are header fields that a parsing proxy would change.
var nastyFields = [][]string{
	{"X-Amz-Meta-Plain: v"},
	{"x-amz-META-oDD: v"},
	{"X-AMZ-DATE: 20260101T000000Z", "authorization: AWS4-HMAC-SHA256 Credential=AK/x, SignedHeaders=host;x-amz-date, Signature=abc"},
	{"Authorization: AWS AK:c2ln+/="},
	{"x-amz-meta-r: 1", "X-Other: x", "x-amz-meta-r: 2", "X-AMZ-META-R: 3", "x-amz-meta-r: 1"},
	{"x-empty:", "x-empty-too: ", "x-empty-three:  \t "},
	{"Content-Type:"},
	{"content-type: "},
	{"Content-Type: text/plain; charset=utf-8", "Content-type: again"},
	{"x-long: " + strings.Repeat("long value ", 900)},
	{"Cookie: a=b; c=d", "cookie: e=f", "Cookie:g"},
	{"x-amz-meta-utf8: ü€ \xff\x80"},
	{"x-no-space:v", "x-tab:\tv", "x-trailing: v \t", "x-inner: a  b\tc"},
	{"User-Agent:", "x-a: b"},
	{"uSER-aGENT: curl/8 (x; y) \"q\""},
	{"User-Agent: a", "User-Agent: b"},
	{"Range: bytes=0-5", "If-None-Match: *", "if-match: \"e\"", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"},
	{"Content-Encoding: aws-chunked", "Content-Encoding: gzip", "x-amz-decoded-content-length: 3"},
	{"Date: Thu, 01 Jan 1970 00:00:00 GMT", "Accept-Encoding: identity", "Accept: */*", "Via: 1.1 lb", "X-Forwarded-For: ::1"},
	{"Content-MD5: CY9rzUYh03PK3k6DJie09g==", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "x-amz-acl: public-read"},
	{"!#$%&'*+-.^_`|~0: every byte that a name can have"},
	{"Origin: https://a.example", "Referer: x", "Proxy-Authorization: Basic eA==", "Cache-Control: no-cache", "Pragma: no-cache"},
	{"Server: of a client", "Set-Cookie: a=b", "Last-Modified: x", "Location: /y", "ETag: \"z\""},
	{"Trailer: x-amz-checksum-crc32"},
	{"X-Amz-Copy-Source-If-Match: \"x\"", "x-amz-security-token: " + strings.Repeat("t", 2000)},
}

func TestR2FieldsPassAsTheyAre(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	c := r.dial()
	n := 0
	for _, fields := range nastyFields {
		text := strings.Join(fields, "\r\n") + "\r\n"
		for _, request := range [][2]string{
			{"GET /b/k HTTP/1.1\r\nHost: s3.test\r\n" + text + "\r\n", ""},
			{"DELETE /b/k HTTP/1.1\r\n" + text + "hOsT: s3.test:8080\r\n\r\n", ""},
			{"PUT /b/k HTTP/1.1\r\n" + text + "HOST:s3.test\r\ncontent-LENGTH: 3\r\n\r\n", "abc"},
			{"PUT /b/k HTTP/1.1\r\nContent-Length:003 \r\n" + text + "Host: s3.test \r\n\r\n", "abc"},
		} {
			c.Do(request[0], request[1])
			r.settled()
			n++
			for _, got := range r.seenBy(n) {
				if string(got.RawHead) != request[0] || string(got.Body) != request[1] || !got.Complete {
					t.Errorf("arrives as\n%q (%v), want\n%q", got.RawHead, got.Err, request[0])
				}
			}
		}
	}
}

func TestR2OnlyHopByHopFieldsStay(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, sent, want string }{
		{"keep-alive", "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nX-A: b\r\n", "X-A: b\r\n"},
		{"the rest of them", "TE: trailers\r\nX-A: b\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nte: gzip\r\n", "X-A: b\r\n"},
		{"nominated", "Connection: x-hop, close\r\nX-Hop: 1\r\nX-Hop-Too: 2\r\nx-hOP: 3\r\n", "X-Hop-Too: 2\r\n"},
		{"nominated later", "X-Hop: 1\r\nX-B: 2\r\nX-A: b\r\nConnection: X-HOP\r\ncONNECTION:,, x-b ,\r\n", "X-A: b\r\n"},
		{"never what frames and routes", "Connection: Host, Content-Length, Transfer-Encoding, Connection\r\nX-A: b\r\n", "X-A: b\r\n"},
		{"close", "Connection: close\r\nX-A: b\r\n", "X-A: b\r\n"},
		{"no name at all", "Connection:\r\nConnection: \"a b\", x y\r\nX-A: b\r\n", "X-A: b\r\n"},
		{"a name within a name", "Connection: A\r\nX-A: b\r\n", "X-A: b\r\n"},
		{"Expect that is none", "Expect: 200-ok\r\nX-A: b\r\n", "X-A: b\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2)
			wantStatus(t, r.dial().Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 3\r\n"+tt.sent+"\r\nabc"), 200)
			r.settled()
			want := "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 3\r\n" + tt.want + "\r\n"
			for _, got := range r.seenBy(1) {
				if string(got.RawHead) != want || string(got.Body) != "abc" {
					t.Errorf("arrives as\n%q, want\n%q", got.RawHead, want)
				}
			}
		})
	}
}

func TestR2ExpectIsTheProxysOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	c := r.dial()
	c.Send("PUT /b/k HTTP/1.1\r\neXPECT: 100-Continue\r\nHost: s3.test\r\nContent-Length: 3\r\nX-A: b\r\n\r\n")
	if a, err := c.ReadHeadTo("PUT"); err != nil || a.Status != 100 {
		t.Fatalf("no 100 Continue: %+v, %v", a, err)
	}
	c.Send("abc")
	a := c.Answer()
	wantStatus(t, a, 200)
	r.settled()
	for _, got := range r.seenBy(1) {
		var others []stub.Header
		for _, h := range got.Headers {
			if h.Name != "Expect" {
				others = append(others, h)
			}
		}
		if want := stub.H("Host", "s3.test", "Content-Length", "3", "X-A", "b"); fmt.Sprint(others) != fmt.Sprint([]stub.Header(want)) {
			t.Errorf("arrived: %q", got.RawHead)
		}
		if n := len(got.Headers.Values("Expect")); n > 1 || string(got.Body) != "abc" {
			t.Errorf("%d Expect fields, body %q", n, got.Body)
		}
	}
	// The connection goes on, and the next expectation is seen as well.
	wantStatus(t, c.Do(requestFor("GET", "/b/k")), 200)
	c.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nexpect: 100-continue\r\ntransfer-encoding: CHUNKED\r\n\r\n")
	if a, err := c.ReadHeadTo("PUT"); err != nil || a.Status != 100 {
		t.Fatalf("no second 100 Continue: %+v, %v", a, err)
	}
	wantStatus(t, c.Do(chunkedBody("hello", 2, "")), 200)
	r.settled()
	r.wantAllStored("/b/k", "hello")
}

func TestR2AdditionalRequestHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) {
		o.AdditionalRequestHeaders = map[string]string{"X-aKubra": "one two", "Cache-Control": "public, s-maxage=600", "x-empty": ""}
	})
	c := r.dial()
	tests := []struct{ sent, added string }{
		{"", "Cache-Control: public, s-maxage=600\r\nX-aKubra: one two\r\nx-empty: \r\n"},
		{"cache-control:no-store\r\n", "X-aKubra: one two\r\nx-empty: \r\n"},
		{"X-EMPTY: full\r\nX-Akubra:\r\n", "Cache-Control: public, s-maxage=600\r\n"},
		{"x-akubra: a\r\nX-Akubra: b\r\nCACHE-control: c\r\nx-empty:\r\n", ""},
		{"X-Akubra-Not: a\r\n", "Cache-Control: public, s-maxage=600\r\nX-aKubra: one two\r\nx-empty: \r\n"},
	}
	for i, tt := range tests {
		c.Do("GET /b/k HTTP/1.1\r\nHost: s3.test\r\n" + tt.sent + "\r\n")
		r.settled()
		want := "GET /b/k HTTP/1.1\r\nHost: s3.test\r\n" + tt.sent + tt.added + "\r\n"
		for _, got := range r.seenBy(i + 1) {
			if string(got.RawHead) != want {
				t.Errorf("arrives as\n%q, want\n%q", got.RawHead, want)
			}
		}
	}
}

// chunkedBody frames body in chunks of at most size bytes.
func chunkedBody(body string, size int, trailer string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%X;ext=\"v\"\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n" + trailer + "\r\n"
}

func TestR2ChunkedBodiesAndTrailers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		size, chunk int
		trailer     string
	}{
		{0, 1, ""},
		{0, 1, "x-amz-checksum-crc32: AAAAAA==\r\n"},
		{5, 1, ""},
		{5, 5, "x-amz-checksum-crc32c:sOO8/Q==\r\nX-Amz-Trailer-Signature: abc\r\n"},
		{100, 7, "x-R: 1\r\nx-r: 2\r\nx-empty:\r\nx-utf8: ü\r\n"},
		{64 << 10, 1000, "x-long: " + strings.Repeat("t", 3000) + "\r\n"},
		{300<<10 + 1, 8 << 10, "x-a: b\r\n"},
		{3 << 20, 1 << 20, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d by %d", tt.size, tt.chunk), func(t *testing.T) {
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.RingSize = 64 << 10 })
			body := pattern(tt.size)
			head := "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-a, x-amz-checksum-crc32\r\n\r\n"
			c := r.dial()
			wantStatus(t, c.Do(head, chunkedBody(body, tt.chunk, tt.trailer)), 200)
			r.wantNoRecords()
			var want []string
			for line := range strings.SplitSeq(strings.TrimSuffix(tt.trailer, "\r\n"), "\r\n") {
				if name, value, ok := strings.Cut(line, ":"); ok {
					want = append(want, name+"="+strings.TrimSpace(value))
				}
			}
			for i, got := range r.seenBy(1) {
				wantStored(t, r.stores[i], "/b/k", body)
				// A hop-by-hop field, and so set anew, behind the others.
				const coding = "Transfer-Encoding: chunked\r\n"
				if want := strings.TrimSuffix(strings.Replace(head, coding, "", 1), "\r\n") + coding + "Connection: close\r\n\r\n"; string(got.RawHead) != want {
					t.Errorf("head arrives as %q, want %q", got.RawHead, want)
				}
				var trailers []string
				for _, h := range got.Trailers {
					trailers = append(trailers, h.Name+"="+h.Value)
				}
				if fmt.Sprint(trailers) != fmt.Sprint(want) {
					t.Errorf("trailers arrive as %.200q, want %.200q", trailers, want)
				}
			}
			wantStatus(t, c.Do(requestFor("HEAD", "/b/k")), 200) // the next request is one
		})
	}
}

func TestR2BodiesOfOtherMethods(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD", "DELETE", "POST", "OPTIONS", "PATCH"} {
		for _, framing := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
			r := newRig(t, 2)
			c := r.dial()
			if c.Do(method+" /b/k HTTP/1.1\r\nHost: s3.test\r\n", framing).Headers.Get("Connection") == "close" {
				c = r.dial() // the storages have refused before the proxy knew of the body's end
			}
			r.settled()
			for _, got := range r.seenBy(1) {
				if got.Method != method || string(got.Body) != "hello" || !got.Complete {
					t.Errorf("%s: arrives as %v, body %q", method, got, got.Body)
				}
			}
			wantStatus(t, c.Do(requestFor("GET", "/")), 200)
		}
	}
}

func TestR2BodilessWritesGetNoLength(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	c := r.dial()
	for i, head := range []string{
		requestFor("DELETE", "/b/k"), requestFor("POST", "/b/k"), requestFor("PUT", "/b"), requestFor("GET", "/b"),
		"PUT /b HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n",
		"DELETE /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n",
	} {
		c.Do(head)
		r.settled()
		for _, got := range r.seenBy(i + 1) {
			if string(got.RawHead) != head {
				t.Errorf("%q arrives as %q", head, got.RawHead)
			}
		}
	}
}

func TestR2OldClients(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep-alive %v", keep), func(t *testing.T) {
			r := newRig(t, 2)
			c := r.dial()
			connection := ""
			if keep {
				connection = "Connection: Keep-Alive\r\n"
			}
			a := c.Do("PUT /b/k HTTP/1.0\r\nHost: s3.test\r\nX-A: b\r\n" + connection + "Content-Length: 5\r\n\r\nhello")
			wantStatus(t, a, 200)
			r.settled()
			for i, got := range r.seenBy(1) {
				if want := "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nX-A: b\r\nContent-Length: 5\r\n\r\n"; string(got.RawHead) != want {
					t.Errorf("arrives as %q, want %q", got.RawHead, want)
				}
				wantStored(t, r.stores[i], "/b/k", "hello")
			}
			if !keep {
				wantEnd(t, c)
				return
			}
			if got := a.Headers.Get("Connection"); !strings.EqualFold(got, "keep-alive") {
				t.Errorf("answer has Connection: %q", got)
			}
			a = c.Do("GET /b/k HTTP/1.0\r\nHost: s3.test\r\n\r\n")
			if string(a.Body) != "hello" {
				t.Errorf("body is %q", a.Body)
			}
			wantEnd(t, c)
		})
	}
}

// chop sends raw in pieces of at most size bytes, a system call each.
func chop(c *stub.Client, raw string, size int) {
	for len(raw) > 0 {
		n := min(size, len(raw))
		c.Send(raw[:n])
		raw = raw[n:]
	}
}

func TestR7PipelinedRequests(t *testing.T) {
	t.Parallel()
	var raw strings.Builder
	type want struct {
		method, body string
		status       int
	}
	var wants []want
	add := func(status int, body, request string) {
		method, _, _ := strings.Cut(request, " ")
		raw.WriteString(request)
		wants = append(wants, want{method, body, status})
	}
	big, huge := pattern(200<<10), pattern(1<<20+1)
	add(200, "", putRequest("/b/a", "first"))
	add(200, "first", requestFor("GET", "/b/a"))
	add(200, "", "PUT /b/a HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n"+chunkedBody("GET /evil HTTP/1.1\r\n\r\n", 7, "x-a: b\r\n"))
	add(200, "GET /evil HTTP/1.1\r\n\r\n", requestFor("GET", "/b/a"))
	add(200, "", putRequest("/b/big", big))
	add(404, "", requestFor("HEAD", "/b/none"))
	add(200, big, requestFor("GET", "/b/big"))
	add(200, "", putRequest("/b/huge", huge))
	add(200, huge, requestFor("GET", "/b/huge"))
	add(200, "", putRequest("/b/empty", ""))
	add(204, "", requestFor("DELETE", "/b/a"))
	add(404, "*", requestFor("GET", "/b/a"))
	add(200, "", requestFor("HEAD", "/b/big"))

	for _, size := range []int{1 << 30, 1000, 37} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.RingSize = 32 << 10; o.WriteAck = AckAll })
			c := r.dial()
			var sender sync.WaitGroup
			defer sender.Wait()
			sender.Go(func() { chop(c, raw.String(), size) })
			for i, w := range wants {
				a, err := c.ReadAnswerTo(w.method)
				if err != nil {
					t.Fatalf("answer %d: %v", i, err)
				}
				if a.Status != w.status || (w.body != "*" && string(a.Body) != w.body) {
					t.Fatalf("answer %d to %s is %d with %d bytes (%.60q), want %d with %d", i, w.method, a.Status, len(a.Body), a.Body, w.status, len(w.body))
				}
			}
			r.wantNoRecords()
			for i, s := range r.stores {
				if n := s.Counts().Requests; n != len(wants) {
					t.Errorf("storage %d got %d requests, want %d: %v", i, n, len(wants), s.Requests())
				}
			}
		})
	}
}

// An early rejection reaches a client that is still sending, whole, and what it
// sends on is never a request.
func TestR7EarlyAnswerSurvivesAnUnreadBody(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{During: stub.AnswerAndClose, After: 1000})
	}
	body := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: s3.test\r\n\r\n", 8<<20/42+1)
	run := func(name string, once func(t *testing.T, i int)) {
		t.Run(name, func(t *testing.T) {
			for i := range 40 {
				once(t, i)
			}
		})
	}
	run("reads after sending", func(t *testing.T, i int) {
		request := putRequest(fmt.Sprint("/b/", i), body)
		if i%2 == 1 {
			request = fmt.Sprintf("PUT /b/%d HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n%s", i, chunkedBody(body, 64<<10, ""))
		}
		c := r.dial() // now: who says nothing for long is sent away
		defer c.Close()
		// The rest need not be taken, which a client sees as a broken pipe.
		_, _ = io.WriteString(c, request)
		a, err := c.ReadAnswer()
		if err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		wantStatus(t, a, 403)
		if !bytes.Contains(a.Body, []byte("AccessDenied")) {
			t.Fatalf("try %d: body is %q", i, a.Body)
		}
	})
	run("net/http", func(t *testing.T, i int) {
		req, err := http.NewRequest("PUT", fmt.Sprintf("http://%s/b/%d", r.addr, i), strings.NewReader(body))
		testkit.MustDo(t, err)
		client := http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 403 || !bytes.Contains(got, []byte("AccessDenied")) {
			t.Fatalf("try %d: %d, %q, %v", i, resp.StatusCode, got, err)
		}
	})
	r.settled()
	for _, s := range r.stores {
		for _, got := range s.Requests() {
			if got.Method != "PUT" {
				t.Fatalf("a body became a request: %v", got)
			}
		}
		if len(s.Objects()) > 0 {
			t.Errorf("stored: %d objects", len(s.Objects()))
		}
	}
}

// A rejection by all storages that comes in the moment in which the body ends
// leaves a connection that works, or one that is said to be closed.
func TestR7RejectionAtTheBodysEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Behave(stub.Fails(412))
	}
	body := pattern(70 << 10)
	var clients sync.WaitGroup
	for range 8 {
		c := r.dial()
		clients.Go(func() {
			for i := range 30 {
				if _, err := io.WriteString(c, putRequest("/b/k", body)); err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				a, err := c.ReadAnswer()
				if err != nil || a.Status != 412 {
					t.Errorf("answer %d: %+v, %v", i, a, err)
					return
				}
				if a.Headers.Get("Connection") == "close" {
					c.Close()
					c = r.dial()
				}
			}
		})
	}
	testkit.Finish(t, "the clients end", clients.Wait)
}
