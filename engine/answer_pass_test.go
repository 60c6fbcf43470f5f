package engine

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// oddFields are those that HTTP libraries take for their own: repeated, empty, in a case
// of their own, and with others between them.
var oddFields = []string{
	"Server: one", "server:two", "Server:", "Content-Encoding:", "X-Between: 1", "content-encoding: gzip", "Content-Encoding: gzip",
	"Content-Type: a/b", "CONTENT-TYPE: c/d", "Content-Type:", "Date: yesterday", "Date:", "Set-Cookie: b=1", "set-cookie: a=2; Path=/",
	"Set-Cookie: b=1", "Set-Cookie:", "ETag: \"e\"", "etag: \"f\"", "Last-Modified:", "Location:", "Www-Authenticate: x", "Vary:",
	"x-amz-meta-A:  with  spaces \t", "Accept-Ranges:", "Content-Range:", "Content-Language:", "Status: 404", "X-Raw: \xc3\xbc\xff",
}

// rawClient reads answers as they come, over TLS or not.
type rawClient struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
}

// do sends a request, and gives the lines of the answer's head and its body.
func (c *rawClient) do(method, version, more, body string) (lines []string, answer string) {
	c.t.Helper()
	_ = c.nc.SetDeadline(time.Now().Add(30 * time.Second))
	request := fmt.Sprintf("%s /b/k %s\r\nHost: s3.test\r\n%s", method, version, more)
	if body != "" {
		request += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	if _, err := io.WriteString(c.nc, request+"\r\n"+body); err != nil {
		c.t.Fatal(err)
	}
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := c.br.ReadSlice('\n')
		head = append(head, line...)
		if err != nil {
			c.t.Fatalf("%v after %q", err, head)
		}
	}
	// Nothing else is under way, so that nothing is read too far.
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(head), c.br)), &http.Request{Method: method})
	testkit.MustDo(c.t, err)
	got, err := io.ReadAll(resp.Body)
	testkit.MustDo(c.t, err)
	return strings.Split(strings.TrimSuffix(string(head), "\r\n\r\n"), "\r\n"), string(got)
}

func TestR5OddFieldsOnEveryWay(t *testing.T) {
	t.Parallel()
	cert := httptest.NewTLSServer(nil) // for its certificate alone
	defer cert.Close()
	big := pattern(40 << 10)
	answers := []struct{ name, method, status, framing, body, want string }{
		{"short", "GET", "200 OK", "Content-Length: 2", "ok", "ok"},
		{"streamed", "GET", "200 OK", fmt.Sprintf("Content-Length: %d", len(big)), big, big},
		{"in chunks", "GET", "200 OK", "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "abc"},
		{"empty", "GET", "200 OK", "Content-Length: 0", "", ""},
		{"partial", "GET", "206 Partial Content", "Content-Length: 2", "ok", "ok"},
		{"HEAD", "HEAD", "200 OK", "Content-Length: 123456", "", ""},
		{"HEAD without a length", "HEAD", "200 OK", "X-Last: 1", "", ""},
		{"not modified", "GET", "304 Not Modified", "Content-Length: 123456", "", ""},
		{"not there", "GET", "404 Not Found", "Content-Length: 2", "no", "no"},
		{"PUT", "PUT", "200 OK", "Content-Length: 0", "", ""},
		{"PUT that fails", "PUT", "507 No Space", fmt.Sprintf("Content-Length: %d", len(big)), big, big},
		{"DELETE", "DELETE", "204 No Content", "X-Last: 1", "", ""},
		{"OPTIONS", "OPTIONS", "200 OK", "Content-Length: 2", "ok", "ok"},
		{"copy", "PUT", "200 OK", "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "abc"},
	}
	for _, over := range []string{"plain", "TLS"} {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			for _, connection := range []string{"", "Connection: close\r\n", "Connection: keep-alive\r\n"} {
				r := newRig(t, 1, func(o *Options, _ *limiter.Options) {
					if over == "TLS" {
						o.TLS = &tls.Config{Certificates: cert.TLS.Certificates}
					}
				})
				var c *rawClient
				for _, a := range answers {
					name := fmt.Sprintf("%s, %s %s, %q", a.name, over, version, connection)
					if c == nil {
						nc, err := net.Dial("tcp", r.addr)
						testkit.MustDo(t, err)
						if over == "TLS" {
							nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
						}
						t.Cleanup(func() { _ = nc.Close() })
						c = &rawClient{t, nc, bufio.NewReader(nc)}
					}
					raw := "HTTP/1.1 " + a.status + "\r\n" + strings.Join(oddFields, "\r\n") + "\r\n" + a.framing + "\r\n\r\n" + a.body
					r.stores[0].BehaveNext(stub.Behaviour{Raw: []byte(raw)})
					more, body := connection, ""
					if a.method == "PUT" {
						body = "body"
					}
					if a.name == "copy" {
						more += "x-amz-copy-source: /b/other\r\n"
					}
					lines, got := c.do(a.method, version, more, body)
					if lines[0] != "HTTP/1.1 "+a.status || got != a.want {
						t.Errorf("%s: %q with %.50q", name, lines[0], got)
					}
					var said string
					lines = slices.DeleteFunc(lines[1:], func(line string) bool {
						if value, ok := strings.CutPrefix(line, "Connection: "); ok {
							said += value
							return true
						}
						return strings.HasPrefix(line, "Content-Length: ") || line == "Transfer-Encoding: chunked" || line == "X-Last: 1"
					})
					if !slices.Equal(lines, oddFields) {
						t.Errorf("%s: fields are\n%q, want\n%q", name, lines, oddFields)
					}
					if said == "close" {
						if rest, err := io.ReadAll(c.br); len(rest) > 0 || err != nil {
							t.Errorf("%s: behind the answer came %q, %v", name, rest, err)
						}
						c = nil
					}
					stays := version == "HTTP/1.1" && connection == "" || connection == "Connection: keep-alive\r\n"
					if untilEnd := version == "HTTP/1.0" && a.name == "in chunks"; (c != nil) != (stays && !untilEnd) {
						t.Errorf("%s: Connection is %q", name, said)
					} else if c != nil && (said == "keep-alive") != (version == "HTTP/1.0") {
						t.Errorf("%s: Connection is %q on a connection that stays", name, said)
					}
				}
				r.settled()
			}
		}
	}
}

// An answer without a length that breaks off is no whole one, for HTTP/1.0 neither.
func TestR5OddAnswersThatBreakOff(t *testing.T) {
	t.Parallel()
	cert := httptest.NewTLSServer(nil) // for its certificate alone
	defer cert.Close()
	for _, over := range []string{"plain", "TLS"} {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			t.Run(over+" "+version, func(t *testing.T) {
				r := newRig(t, 1, func(o *Options, _ *limiter.Options) {
					if over == "TLS" {
						o.TLS = &tls.Config{Certificates: cert.TLS.Certificates}
					}
				})
				r.stores[0].Behave(stub.Behaviour{Raw: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nde"), Then: stub.FinAfter})
				nc, err := net.Dial("tcp", r.addr)
				testkit.MustDo(t, err)
				defer nc.Close()
				if over == "TLS" {
					nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
				}
				_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
				if _, err := io.WriteString(nc, "GET /b/k "+version+"\r\nHost: s3.test\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
				if err != nil {
					return // with the reset what came before it may be lost
				}
				if body, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%q is taken for the whole answer", body)
				}
			})
		}
	}
}
