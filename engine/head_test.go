package engine

import (
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/http1"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

func TestR2BuildHead(t *testing.T) {
	t.Parallel()
	additional := headers{{"X-Add", "1"}, {"X-Too", "2"}}
	tests := []struct {
		name, raw string
		want      string // of the fields
		head      head
	}{
		{"nothing", "Host: h\r\n\r\n", "Host: h\r\nX-Add: 1\r\nX-Too: 2\r\n", head{contentLength: -1, decodedLength: -1}},
		{
			"length", "Host: h\r\ncontent-length:\t12 \r\nx-too:\r\n\r\n",
			"Host: h\r\ncontent-length:\t12 \r\nx-too:\r\nX-Add: 1\r\n", head{contentLength: 12, decodedLength: -1},
		},
		{
			"chunked", "TRANSFER-encoding: Chunked\r\nHost: h\r\nx-amz-decoded-content-length: 7\r\n\r\n",
			"Host: h\r\nx-amz-decoded-content-length: 7\r\nX-Add: 1\r\nX-Too: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n",
			head{contentLength: -1, chunked: true, decodedLength: 7},
		},
		{
			"chunked twice", "Transfer-Encoding: chunked\r\nHost: h\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\r\n",
			"Host: h\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nX-Add: 1\r\nX-Too: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n",
			head{contentLength: -1, chunked: true, awsChunked: true, decodedLength: -1},
		},
		{
			"expect", "Expect: 100-Continue\r\nHost: h\r\nX-Add: x\r\nX-TOO: y\r\n\r\n",
			"Host: h\r\nX-Add: x\r\nX-TOO: y\r\nExpect: 100-continue\r\n", head{contentLength: -1, expect: true, decodedLength: -1},
		},
		{
			"copy", "Host: h\r\nX-AMZ-copy-source: /b/k\r\nX-Add:\r\nX-Too:\r\n\r\n",
			"Host: h\r\nX-AMZ-copy-source: /b/k\r\nX-Add:\r\nX-Too:\r\n", head{contentLength: -1, copySource: true, decodedLength: -1},
		},
		{
			"an additional one that is nominated", "Connection: x-ADD\r\nHost: h\r\nX-Add: x\r\nX-B: y\r\n\r\n",
			"Host: h\r\nX-B: y\r\nX-Add: 1\r\nX-Too: 2\r\n", head{contentLength: -1, decodedLength: -1},
		},
		{
			"as many names as may be", "Host: h\r\nX-A: a\r\nX-B: b\r\nconnection: X-A, close,, X-B\r\nConnection: " + strings.Repeat("x,", http1.MaxNominees-3) + "\r\n\r\n",
			"Host: h\r\nX-Add: 1\r\nX-Too: 2\r\n", head{contentLength: -1, decodedLength: -1},
		},
		{
			"no decoded length", "Host: h\r\nx-amz-decoded-content-length: -7\r\n\r\n",
			"Host: h\r\nx-amz-decoded-content-length: -7\r\nX-Add: 1\r\nX-Too: 2\r\n", head{contentLength: -1, decodedLength: -1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, h, problem := buildHead([]byte("kept"), "PUT", []byte("/b/k"), []byte(tt.raw), additional)
			if want := "keptPUT /b/k HTTP/1.1\r\n" + tt.want + "\r\n"; string(out) != want || problem != "" {
				t.Errorf("head is %q (%s), want %q", out, problem, want)
			}
			if string(h.host) != "h" {
				t.Errorf("host is %q", h.host)
			}
			h.host = nil
			if fmt.Sprint(h) != fmt.Sprint(tt.head) {
				t.Errorf("read as %+v, want %+v", h, tt.head)
			}
		})
	}
}

// smuggled follows each ambiguous request: whoever takes the framing another
// way than the proxy would see it as a request.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: s3.test\r\n\r\n"

func TestR8AmbiguousRequestsReachNoBackend(t *testing.T) {
	t.Parallel()
	put := func(fields string) string {
		return "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\n" + fields + "\r\n" + smuggled
	}
	tests := []struct {
		name, raw string
		status    int // 400 if it is 0
	}{
		{"two lengths", put("Content-Length: 3\r\nContent-Length: 43\r\n"), 0},
		{"a fragment", "PUT /b/k#x HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n", 0},
		{"a fragment and a query", "PUT /b/k#?tagging HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n", 0},
		{"a password in Host", "PUT /b/k HTTP/1.1\r\nHost: u:secret@s3.test\r\nContent-Length: 0\r\n\r\n", 0},
		{"two lengths that agree", put("Content-Length: 43\r\nContent-length: 43\r\n"), 0},
		{"a list of lengths", put("Content-Length: 43, 43\r\n"), 0},
		{"length with a sign", put("Content-Length: +43\r\n"), 0},
		{"negative length", put("Content-Length: -1\r\n"), 0},
		{"length in hex", put("Content-Length: 0x2B\r\n"), 0},
		{"length with something behind", put("Content-Length: 43 bytes\r\n"), 0},
		{"empty length", put("Content-Length:\r\n"), 0},
		{"huge length", put("Content-Length: 18446744073709551659\r\n"), 0},
		{"length and chunked", put("Content-Length: 43\r\nTransfer-Encoding: chunked\r\n"), 0},
		{"chunked and length", put("Transfer-Encoding: chunked\r\nContent-Length: 43\r\n"), 0},
		{"chunked and no length", put("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), 0},
		{"length and identity", put("Content-Length: 43\r\nTransfer-Encoding: identity\r\n"), 0},
		{"identity", put("Transfer-Encoding: identity\r\n"), 0},
		{"gzip", put("Transfer-Encoding: gzip\r\n"), 0},
		{"gzip and chunked", put("Transfer-Encoding: gzip, chunked\r\n"), 0},
		{"chunked and gzip", put("Transfer-Encoding: chunked, gzip\r\n"), 0},
		{"chunked twice", put("Transfer-Encoding: chunked, chunked\r\n"), 0},
		{"two fields of it", put("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 0},
		{"chunked and identity", put("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 0},
		{"almost chunked", put("Transfer-Encoding: xchunked\r\n"), 0},
		{"chunked with a vertical tab", put("Transfer-Encoding: \x0bchunked\r\n"), 0},
		{"quoted chunked", put("Transfer-Encoding: \"chunked\"\r\n"), 0},
		{"empty coding", put("Transfer-Encoding:\r\n"), 0},
		{"chunked on HTTP/1.0", "PUT /b/k HTTP/1.0\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 0},
		{"space before the colon", put("Content-Length : 43\r\n"), 0},
		{"tab before the colon", put("Transfer-Encoding\t: chunked\r\n"), 0},
		{"space before a plain colon", put("X-A : b\r\n"), 0},
		{"space in a name", put("X A: b\r\n"), 0},
		{"space before a name", "PUT /b/k HTTP/1.1\r\n Host: s3.test\r\n\r\n" + smuggled, 0},
		{"no colon", put("X-A\r\n"), 0},
		{"no name", put(": b\r\n"), 0},
		{"NUL in a name", put("X\x00A: b\r\n"), 0},
		{"NUL in a value", put("X-A: b\x00c\r\n"), 0},
		{"a name of raw bytes", put("X-\xc3\xbc: b\r\n"), 0},
		{"a name with a bracket", put("X(A): b\r\n"), 0},
		{"CR in a value", put("X-A: b\rContent-Length: 43\r\n"), 0},
		{"escape byte in a value", put("X-A: b\x1b\r\n"), 0},
		{"DEL in a value", put("X-A: b\x7f\r\n"), 0},
		{"bare LF", put("X-A: b\nX-B: c\r\n"), 0},
		{"bare LF before a length", put("X-A: b\nContent-Length: 43\r\n"), 0},
		{"bare LF at the head's end", "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\n\n" + smuggled, 0},
		{"bare LF as blank line", "PUT /b/k HTTP/1.1\r\nHost: s3.test\n\n" + smuggled, 0},
		{"CR CR LF", put("X-A: b\r\r\n"), 0},
		{"folded line", put("X-A: b\r\n c\r\n"), 0},
		{"folded with a tab", put("X-A: b\r\n\tContent-Length: 43\r\n"), 0},
		{"folded length", put("Content-Length:\r\n 43\r\n"), 0},
		{"folded coding", put("Transfer-Encoding:\r\n chunked\r\n"), 0},
		{"folded with nothing", put("X-A: b\r\n \r\n"), 0},
		{"two Hosts", put("Host: other\r\n"), 0},
		{"two Hosts that agree", put("host: s3.test\r\n"), 0},
		{"no Host", "GET /b/k HTTP/1.1\r\nX-A: b\r\n\r\n" + smuggled, 0},
		{"no fields at all", "GET /b/k HTTP/1.1\r\n\r\n" + smuggled, 0},
		{"two Hosts, old client", "GET /b/k HTTP/1.0\r\nHost:\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"empty Host", "GET /b/k HTTP/1.1\r\nHost:\r\n\r\n" + smuggled, 0},
		{"another authority", "GET http://other.test/b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"another authority, old client", "GET http://other.test/b/k HTTP/1.0\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"another authority without a path", "GET http://other.test?acl HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"authority with another port", "GET http://s3.test:81/b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"authority with a user", "GET http://s3.test@s3.test/b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"authority that goes on", "GET http://s3.test.evil/b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"authority that begins so", "GET http://s3/b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"no authority", "GET http:///b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"another scheme", "GET s3://other.test/b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"space in the target", "GET /b /k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"two spaces", "GET  /b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"tab in the target", "GET /b\t/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"CR in the target", "GET /b\rk HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"NUL in the target", "GET /b\x00k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"DEL in the target", "GET /b\x7fk HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"no slash", "GET b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"no target", "GET HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"no version", "GET /b/k\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"lower-case method", "get /b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"mixed-case method", "Put /b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"odd method", "GE<T /b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"no method", " /b/k HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"lower-case version", "GET /b/k http/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"a version with more", "GET /b/k HTTP/1.1x\r\nHost: s3.test\r\n\r\n" + smuggled, 0},
		{"HTTP/1.2", "GET /b/k HTTP/1.2\r\nHost: s3.test\r\n\r\n" + smuggled, 505},
		{"HTTP/0.9", "GET /b/k HTTP/0.9\r\nHost: s3.test\r\n\r\n" + smuggled, 505},
		{"HTTP/2.0", "GET /b/k HTTP/2.0\r\nHost: s3.test\r\n\r\n" + smuggled, 505},
		{"HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled, 0},
		{"CONNECT", "CONNECT s3.test:443 HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 405},
		{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + smuggled, 0},
		{"too many names in Connection", put("Connection: " + strings.Repeat("a,", http1.MaxNominees+1) + "\r\n"), 0},
		{"too many fields of Connection", put(strings.Repeat("Connection: keep-alive, x\r\n", http1.MaxNominees/2+1)), 0},
		{"head too large", put("X-A: " + strings.Repeat("b", 17<<10) + "\r\n"), 431},
		{"target too large", "GET /" + strings.Repeat("b", 17<<10) + " HTTP/1.1\r\nHost: s3.test\r\n\r\n" + smuggled, 431},
		{"too many fields", put(strings.Repeat("X-A: b\r\n", 3000)), 431},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			c := r.dial()
			c.Send(tt.raw)
			a := c.Answer()
			want := tt.status
			if want == 0 {
				want = 400
			}
			wantS3Error(t, a, want, "")
			wantEnd(t, c)
			c.Close()
			r.wantNoRecords()
			for _, s := range r.stores {
				if n := s.Counts().Conns; n > 0 {
					t.Errorf("a storage was asked: %v", s.Requests())
				}
			}
			r.stop(patience)
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			if len(r.log.warned) > 0 {
				t.Errorf("the operator is bothered: %q", r.log.warned)
			}
		})
	}
}

// What is wrong with a body shows only when backends have a part of it: they
// must not take that for the whole (R6).
func TestR8MalformedChunksStoreNothing(t *testing.T) {
	t.Parallel()
	good := "5\r\nhello\r\n"
	tests := []struct{ name, body string }{
		{"not hex", "x\r\nhello\r\n0\r\n\r\n"},
		{"bare LF behind the size", "5\nhello\r\n0\r\n\r\n"},
		{"no line end behind the data", "5\r\nhello0\r\n\r\n"},
		{"bare LF behind the data", "5\r\nhello\n0\r\n\r\n"},
		{"more data than its size", "3\r\nhello\r\n0\r\n\r\n"},
		{"size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"},
		{"negative size", "-5\r\nhello\r\n0\r\n\r\n"},
		{"size with a sign", "+5\r\nhello\r\n0\r\n\r\n"},
		{"size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"},
		{"size beyond 63 bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
		{"LF in an extension", "5;a=b\nc\r\nhello\r\n0\r\n\r\n"},
		{"empty size", "\r\nhello\r\n0\r\n\r\n"},
		{"forbidden trailer", "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"},
		{"trailer that hides a coding", "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"trailer without a colon", "5\r\nhello\r\n0\r\nx-a\r\n\r\n"},
		{"NUL in a trailer", "5\r\nhello\r\n0\r\nx-a: \x00\r\n\r\n"},
		{"CR in a trailer", "5\r\nhello\r\n0\r\nx-a: b\rc\r\n\r\n"},
		{"DEL in a trailer", "5\r\nhello\r\n0\r\nx-a: b\x7f\r\n\r\n"},
		{"CR CR LF in a trailer", "5\r\nhello\r\n0\r\nx-a: b\r\r\n\r\n"},
		{"space before the colon of a trailer", "5\r\nhello\r\n0\r\nx-a : b\r\n\r\n"},
		{"tab before the colon of a trailer", "5\r\nhello\r\n0\r\nx-a\t: b\r\n\r\n"},
		{"space in a trailer's name", "5\r\nhello\r\n0\r\nx a: b\r\n\r\n"},
		{"a trailer without a name", "5\r\nhello\r\n0\r\n: b\r\n\r\n"},
		{"a trailer's name of raw bytes", "5\r\nhello\r\n0\r\nx-\xc3\xbc: b\r\n\r\n"},
		{"bare LF in a trailer", "5\r\nhello\r\n0\r\nx-a: b\nx-c: d\r\n\r\n"},
		{"bare LF behind a trailer", "5\r\nhello\r\n0\r\nx-a: b\r\n\n"},
		{"bare LF as trailer", "5\r\nhello\r\n0\r\n\n"},
		{"bare LF behind the last size", "5\r\nhello\r\n0\n\r\n"},
		{"folded trailer", "5\r\nhello\r\n0\r\nx-a: b\r\n c\r\n\r\n"},
		{"trailer folded with a tab", "5\r\nhello\r\n0\r\nx-a: b\r\n\tContent-Length: 5\r\n\r\n"},
		{"trailer that begins folded", "5\r\nhello\r\n0\r\n x-a: b\r\n\r\n"},
		{"Host as trailer", "5\r\nhello\r\n0\r\nhost: other\r\n\r\n"},
		{"Connection as trailer", "5\r\nhello\r\n0\r\nConnection: x\r\n\r\n"},
		{"Upgrade as trailer", "5\r\nhello\r\n0\r\nUpgrade: x\r\n\r\n"},
		{"Proxy-Connection as trailer", "5\r\nhello\r\n0\r\nproxy-connection: x\r\n\r\n"},
		{"Authorization as trailer", "5\r\nhello\r\n0\r\nAuthorization: x\r\n\r\n"},
		{"the second trailer", "5\r\nhello\r\n000;x=y\r\nx-a: b\r\nx-c : d\r\n\r\n"},
		{"a trailer that is too long", "5\r\nhello\r\n0\r\nx-a: " + strings.Repeat("b", 17<<10) + "\r\n\r\n"},
		{"too many trailers", "5\r\nhello\r\n0\r\n" + strings.Repeat("x-a: b\r\n", 3000) + "\r\n"},
		{"an extension that is too long", "5;" + strings.Repeat("x", 17<<10) + "\r\nhello\r\n0\r\n\r\n"},
	}
	for _, tt := range tests {
		for _, before := range []string{"", good, strings.Repeat(good, 30000)} {
			t.Run(fmt.Sprint(tt.name, " after ", len(before)), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				c := r.dial()
				c.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n\r\n", before, tt.body, smuggled)
				a := c.Answer()
				wantS3Error(t, a, 400, "InvalidRequest")
				wantEnd(t, c)
				c.Close()
				r.wantNoRecords()
				for _, s := range r.stores {
					if got := s.Requests(); len(s.Objects()) > 0 || got.Complete() > 0 {
						t.Errorf("a storage took it for whole: %v", got)
					}
				}
			})
		}
	}
}

// wantS3Error checks an answer of the proxy's own. An empty code is any.
func wantS3Error(t testing.TB, a *stub.Answer, status int, code string) {
	t.Helper()
	wantStatus(t, a, status)
	var doc struct {
		XMLName                            xml.Name `xml:"Error"`
		Code, Message, Resource, RequestID string
		ID                                 string `xml:"RequestId"`
	}
	if err := xml.Unmarshal(a.Body, &doc); err != nil {
		t.Fatalf("body is no S3 error: %v: %.300q", err, a.Body)
	}
	if doc.Code == "" || doc.Message == "" || doc.ID == "" || code != "" && doc.Code != code {
		t.Errorf("S3 error is %+v, want the code %q", doc, code)
	}
	if got := a.Headers.Get("Content-Type"); got != "application/xml" {
		t.Errorf("Content-Type is %q", got)
	}
	if got := a.Headers.Get("X-Amz-Request-Id"); got != "" && got != doc.ID {
		t.Errorf("request is %q in the head and %q in the body", got, doc.ID)
	}
}

// wantEnd checks that nothing follows what was read, and that the connection ends in order.
func wantEnd(t testing.TB, c *stub.Client) {
	t.Helper()
	if rest, err := c.Rest(); rest != nil || err != nil {
		t.Errorf("after the answer came %q, %v, want the end", rest, err)
	}
}

func TestR23HeadSize(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.MaxHeaderSize = 8 << 10 })
	c := r.dial()
	const rest = "GET /b/k HTTP/1.1\r\nHost: s3.test\r\nX-A: \r\n\r\n"
	fits := strings.Repeat("b", 8<<10-len(rest))
	wantStatus(t, c.Do("GET /b/k HTTP/1.1\r\nHost: s3.test\r\nX-A: "+fits+"\r\n\r\n"), 404)
	r.settled()
	for _, got := range r.seenBy(1) {
		if got.Headers.Get("X-A") != fits {
			t.Error("the field has arrived changed")
		}
	}
	wantS3Error(t, c.Do("GET /b/k HTTP/1.1\r\nHost: s3.test\r\nX-A: b"+fits+"\r\n\r\n"), 431, "RequestHeaderSectionTooLarge")
	wantEnd(t, c)
}

// A head larger than the ring, with what the proxy adds, is sent all the same.
func TestR23HeadLargerThanTheRing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) {
		o.RingSize, o.MaxHeaderSize = 4<<10, 64<<10
		o.AdditionalRequestHeaders = map[string]string{"X-Big": strings.Repeat("c", 30<<10)}
	})
	big, body := strings.Repeat("b", 60<<10), pattern(20<<10)
	wantStatus(t, r.dial().Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nX-A: ", big, "\r\nContent-Length: 20480\r\n\r\n", body), 200)
	r.settled()
	for i, got := range r.seenBy(1) {
		wantStored(t, r.stores[i], "/b/k", body)
		if got.Headers.Get("X-A") != big || len(got.Headers.Get("X-Big")) != 30<<10 {
			t.Error("the fields have arrived changed")
		}
	}
}

func TestR23BodySize(t *testing.T) {
	t.Parallel()
	const limit = 100 << 10
	tests := []struct {
		name, framing string
		fits          bool
	}{
		{"length at the limit", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", limit, pattern(limit)), true},
		{"length over it", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", limit+1, pattern(limit+1)), false},
		{"chunked at the limit", "Transfer-Encoding: chunked\r\n\r\n" + chunkedBody(pattern(limit), 10000, ""), true},
		{"chunked over it", "Transfer-Encoding: chunked\r\n\r\n" + chunkedBody(pattern(limit+1), 10000, ""), false},
		{"chunked far over it", "Transfer-Encoding: chunked\r\n\r\n" + chunkedBody(pattern(20*limit), 10000, ""), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.MaxBodySize = limit })
			c := r.dial()
			_, _ = c.Write([]byte("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\n" + tt.framing))
			a := c.Answer()
			if tt.fits {
				wantStatus(t, a, 200)
			} else {
				wantS3Error(t, a, 400, "EntityTooLarge")
				wantEnd(t, c)
			}
			c.Close()
			r.wantNoRecords()
			for _, s := range r.stores {
				if _, stored := s.Object("/b/k"); stored != tt.fits {
					t.Errorf("stored: %v, want %v", stored, tt.fits)
				}
			}
		})
	}
}

func TestR23ConcurrentRequests(t *testing.T) {
	t.Parallel()
	const limit = 3
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.MaxConcurrentRequests = limit })
	gate := make(chan struct{})
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Gate: gate})
	}
	var held sync.WaitGroup
	for range limit {
		c := r.dial()
		held.Go(func() {
			if a := c.Do(requestFor("GET", "/")); a.Status != 200 {
				t.Errorf("a request within the limit got %d", a.Status)
			}
		})
	}
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == limit })
	}
	for _, request := range []string{requestFor("GET", "/"), putRequest("/b/k", pattern(2<<20))} {
		c := r.dial()
		c.Send(request)
		a := c.Answer()
		wantS3Error(t, a, 503, "SlowDown")
		wantEnd(t, c)
	}
	close(gate)
	testkit.Finish(t, "the clients end", held.Wait)
	r.settled()
	wantStatus(t, r.dial().Do(requestFor("GET", "/")), 200)
}

func TestR23Connections(t *testing.T) {
	t.Parallel()
	const limit = 3
	r := newRig(t, 1, func(o *Options, _ *limiter.Options) { o.MaxConnections = limit }, logged)
	gate := make(chan struct{})
	r.stores[0].Behave(stub.Behaviour{Gate: gate})
	var open []*stub.Client
	for range limit { // that are not idle
		c := r.dial()
		c.Send(requestFor("GET", "/"))
		open = append(open, c)
	}
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == limit })
	for range 20 {
		c := r.dial()
		a := c.Do(requestFor("GET", "/too/many"))
		wantS3Error(t, a, 503, "SlowDown")
		if got := a.Headers.Get("Connection"); got != "close" {
			t.Errorf("Connection is %q", got)
		}
		c.Close()
	}
	got := r.waitAccess(20)[19]
	if got.Status != 503 || got.Method != "GET" || got.Path != "/too/many" || got.BytesOut == 0 || got.Remote == "" {
		t.Errorf("the access log has %+v", got)
	}
	if begun, ended := r.metrics.counts(); begun != 20+limit || ended != 20 {
		t.Errorf("%d requests begun and %d ended", begun, ended)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 20 {
		resp, err := client.Get("http://" + r.addr + "/")
		testkit.MustDo(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != 503 {
			t.Fatalf("status is %d", resp.StatusCode)
		}
	}
	if s := r.e.Clients(); s.Open != limit || s.Bound != limit || s.Cut["refused"] != 40 || s.Cut["idle"] != 0 {
		t.Errorf("%+v", s)
	}
	close(gate)
	for _, c := range open {
		if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
			t.Errorf("%+v, %v", a, err)
		}
		wantStatus(t, c.Do(requestFor("GET", "/")), 200)
	}
	open[0].Close()
	until(t, "the closed connection's place", func() bool { return r.e.Clients().Open < limit })
	wantStatus(t, r.dial().Do(requestFor("GET", "/")), 200)
}

func TestR23ConnectionsOverTLS(t *testing.T) {
	t.Parallel()
	cert := httptest.NewTLSServer(nil) // for its certificate alone
	defer cert.Close()
	r := newRig(t, 1, func(o *Options, _ *limiter.Options) {
		o.MaxConnections, o.TLS = 1, &tls.Config{Certificates: cert.TLS.Certificates}
	})
	client := cert.Client()
	defer client.CloseIdleConnections()
	get := func(client *http.Client) int {
		resp, err := client.Get("https://" + r.addr + "/")
		if err != nil {
			t.Log(err)
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if status := get(client); status != 200 {
		t.Fatalf("status is %d", status)
	}
	// The first one's connection is kept, and busy.
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	r.stores[0].Behave(stub.Behaviour{Gate: gate})
	first := make(chan int, 1)
	go func() { first <- get(client) }()
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	transport := cert.Client().Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	// A machine that is very busy takes longer for the handshake than is waited for one that is refused.
	status := 0
	until(t, "it is refused", func() bool { status = get(&http.Client{Transport: transport}); return status != 0 })
	if status != 503 {
		t.Fatalf("status is %d, want 503", status)
	}
	open()
	if status := testkit.Receive(t, "the first one", first); status != 200 {
		t.Fatalf("status is %d", status)
	}
	// And once it is idle it makes room. The client has its answer before that.
	until(t, "it is idle", func() bool { return r.idle() == 1 })
	if status := get(&http.Client{Transport: transport}); status != 200 {
		t.Fatalf("status is %d", status)
	}
}
