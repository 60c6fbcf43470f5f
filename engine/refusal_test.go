package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// promptly is less than the bounds on a client's silence (headTimeout), and more than
// a busy machine needs for an answer.
const promptly = 25 * time.Second

// waitAccess waits until the access log has n lines.
func (r *rig) waitAccess(n int) (got []Access) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("the access log has %d lines", n), func() bool {
		r.log.mu.Lock()
		defer r.log.mu.Unlock()
		got = slices.Clone(r.log.access)
		return len(got) >= n
	})
	return got
}

func (m *testMetrics) counts() (begun, ended int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begun, m.requests
}

// Whatever the proxy answers by itself is counted, and stands in the access log with as
// many bytes as were sent.
func TestR8OwnAnswersAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	const field = "Host: s3.test\r\n"
	small := func(o *Options, _ *limiter.Options) {
		o.MaxHeaderSize, o.MaxBodySize = 8<<10, 1000
		o.AdditionalResponseHeaders = map[string]string{"Access-Control-Allow-Origin": "*"}
	}
	away := func(r *rig) {
		for _, s := range r.stores {
			s.Down()
		}
	}
	for _, tt := range []struct {
		name, raw    string
		status       int
		method, path string
		before       func(r *rig)
	}{
		{"two lengths", "PUT /b/k HTTP/1.1\r\n" + field + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, "PUT", "/b/k", nil},
		{"length and coding", "PUT /b/k HTTP/1.1\r\n" + field + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "PUT", "/b/k", nil},
		{"space before a colon", "GET /b/k HTTP/1.1\r\nHost : s3.test\r\n\r\n", 400, "GET", "/b/k", nil},
		{"no Host", "GET /b/k HTTP/1.1\r\n\r\n", 400, "GET", "/b/k", nil},
		{"folded", "GET /b/k HTTP/1.1\r\n" + field + "X-A: 1\r\n 2\r\n\r\n", 400, "GET", "/b/k", nil},
		{"folded, HEAD", "HEAD /b/k HTTP/1.1\r\n" + field + "X-A: 1\r\n 2\r\n\r\n", 400, "HEAD", "/b/k", nil},
		{"unparsed, HEAD", "HEAD /b/k HTTP/1.1\r\nHost : s3.test\r\n\r\n", 400, "HEAD", "/b/k", nil},
		{"no request", "\x16\x03\x01 hello\r\n\r\n", 400, "", "", nil},
		{"a large head", "GET /b/k HTTP/1.1\r\n" + field + "X-A: " + strings.Repeat("a", 9<<10) + "\r\n\r\n", 431, "GET", "/b/k", nil},
		{"version", "GET /b/k HTTP/1.2\r\n" + field + "\r\n", 505, "GET", "/b/k", nil},
		{"method", "CONNECT s3.test:80 HTTP/1.1\r\n" + field + "\r\n", 405, "CONNECT", "s3.test:80", nil},
		{"a large body", "PUT /b/k HTTP/1.1\r\n" + field + "Content-Length: 1001\r\n\r\n", 400, "PUT", "/b/k", nil},
		{"a large body in chunks", "PUT /b/k HTTP/1.1\r\n" + field + "Transfer-Encoding: chunked\r\n\r\n" + chunkedBody(pattern(2000), 500, ""), 400, "PUT", "/b/k", nil},
		{"malformed chunks", "PUT /b/k HTTP/1.1\r\n" + field + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "PUT", "/b/k", nil},
		{"nobody answers", requestFor("GET", "/b/k"), 503, "GET", "/b/k", away},
		{"nobody answers HEAD", requestFor("HEAD", "/b/k"), 503, "HEAD", "/b/k", away},
		{"nobody answers PUT", putRequest("/b/k", "x"), 503, "PUT", "/b/k", away},
		{"preflight", "OPTIONS /b/k HTTP/1.1\r\n" + field + "\r\n", 200, "OPTIONS", "/b/k", away},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 1, small, logged)
			if tt.before != nil {
				tt.before(r)
			}
			a := r.dial().Do(tt.raw)
			wantStatus(t, a, tt.status)
			got := r.waitAccess(1)[0]
			if got.Status != tt.status || got.Method != tt.method || got.Path != tt.path || got.Remote == "" || got.ID == "" {
				t.Errorf("the access log has %+v", got)
			}
			if got.BytesOut != int64(len(a.Body)) || tt.method == "HEAD" && len(a.Body) > 0 {
				t.Errorf("the access log has %d bytes out, the client got %d", got.BytesOut, len(a.Body))
			}
			if id := a.Headers.Get("X-Amz-Request-Id"); id != "" && id != got.ID {
				t.Errorf("the client was told of %q, the access log of %q", id, got.ID)
			}
			r.settled()
			if begun, ended := r.metrics.counts(); begun != 1 || ended != 1 {
				t.Errorf("%d requests begun and %d ended", begun, ended)
			}
		})
	}
}

// A client that was asked for its body and sends none is one request.
func TestR8NoBodyAfterContinueIsOneRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, logged)
	c := r.dial()
	c.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	if a, err := c.ReadHeadTo("PUT"); err != nil || a.Status != 100 {
		t.Fatalf("%+v, %v", a, err)
	}
	c.CloseWrite()
	got := r.waitAccess(1)[0]
	if got.Method != "PUT" || got.Path != "/b/k" || got.Status != 400 {
		t.Errorf("the access log has %+v", got)
	}
	r.settled()
	if begun, ended := r.metrics.counts(); begun != 1 || ended != 1 {
		t.Errorf("%d requests begun and %d ended", begun, ended)
	}
}

// What is refused for its declared length is refused when the head is there, whether
// the client then waits or goes on sending.
func TestR23DeclaredLengthIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	const limit = 100 << 10
	length := func(n int) string { return fmt.Sprintf("Host: s3.test\r\nContent-Length: %d\r\n", n) }
	decoded := fmt.Sprintf("x-amz-decoded-content-length: %d\r\n", limit+1)
	for _, tt := range []struct{ name, head, code string }{
		{"PUT", "PUT /b/k HTTP/1.1\r\n" + length(limit+1), "EntityTooLarge"},
		{"far larger", "PUT /b/k HTTP/1.1\r\n" + length(1<<50), "EntityTooLarge"},
		{"POST", "POST /b/k?uploads HTTP/1.1\r\n" + length(limit+1), "EntityTooLarge"},
		{"GET", "GET /b/k HTTP/1.1\r\n" + length(limit+1), "EntityTooLarge"},
		{"HTTP/1.0", "PUT /b/k HTTP/1.0\r\n" + length(limit+1), "EntityTooLarge"},
		{"expects 100", "PUT /b/k HTTP/1.1\r\nExpect: 100-continue\r\n" + length(limit+1), "EntityTooLarge"},
		{"decoded", "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n" + decoded, "EntityTooLarge"},
		{"deletes", "POST /b?delete HTTP/1.1\r\n" + length(maxDeleteBody+1), "MalformedXML"},
		{"deletes, expects 100", "POST /b?delete HTTP/1.1\r\nExpect: 100-continue\r\n" + length(maxDeleteBody+1), "MalformedXML"},
	} {
		for _, sends := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sends %v", tt.name, sends), func(t *testing.T) {
				r := newRig(t, 1, logged, func(o *Options, _ *limiter.Options) {
					if o.MaxBodySize = limit; tt.code == "MalformedXML" {
						o.MaxBodySize = 0
					}
				})
				c := r.dial()
				begun := time.Now()
				c.Send(tt.head + "\r\n")
				if sends {
					go func() { // more than the sockets between the two can hold
						p := make([]byte, 1<<20)
						for range 40 {
							if _, err := c.Write(p); err != nil {
								return
							}
						}
					}()
				}
				a := c.Answer()
				if took := time.Since(begun); took > promptly {
					t.Errorf("the answer took %s", took)
				}
				wantS3Error(t, a, 400, tt.code)
				if len(a.Interim) > 0 {
					t.Error("the body was asked for")
				}
				if got := a.Headers.Get("Connection"); got != "close" {
					t.Errorf("Connection is %q", got)
				}
				if n := r.waitAccess(1)[0].BytesOut; n != int64(len(a.Body)) {
					t.Errorf("%d bytes out in the access log", n)
				}
				r.settled()
				if n := len(r.stores[0].Requests()); n > 0 {
					t.Errorf("%d requests at the storage", n)
				}
			})
		}
	}
}

// A client that sends all it has before it reads gets the answer nonetheless: it is not
// destroyed by a reset (R7).
func TestR7RefusedWhileTheClientIsSending(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(o *Options, _ *limiter.Options) { o.MaxBodySize = 1000 })
	c := r.dial()
	const size = 100 << 20
	c.Send(fmt.Sprintf("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n", size))
	p := make([]byte, 1<<20)
	for sent := 0; sent < size; sent += len(p) {
		if _, err := c.Write(p); err != nil {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
	}
	a := c.Answer()
	wantS3Error(t, a, 400, "EntityTooLarge")
}

// With every place taken the answer does not wait for a body, either.
func TestR23RefusedWithoutItsBodyWhereNoPlaceIsFree(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, func(o *Options, _ *limiter.Options) { o.MaxConcurrentRequests = 1 })
	gate := make(chan struct{})
	r.stores[0].Behave(stub.Behaviour{Gate: gate})
	first := r.dial()
	first.Send(requestFor("GET", "/"))
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	c := r.dial()
	begun := time.Now()
	a := c.Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 10\r\n\r\n")
	wantS3Error(t, a, 503, "SlowDown")
	if took := time.Since(begun); took > promptly {
		t.Errorf("the answer took %s", took)
	}
	close(gate)
	if a, err := first.ReadAnswer(); err != nil || a.Status != 200 {
		t.Errorf("%+v, %v", a, err)
	}
}
