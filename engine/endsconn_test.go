package engine

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestR32ChunkedBodyEndsItsConnection: a backend that does not read a chunked body takes what is left
// of it for another request. It is told to close the connection, and where it does not do that, the
// connection is not used again.
func TestR32ChunkedBodyEndsItsConnection(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		s := newStrayServer(t, config)
		s.answer = func(c *strayConn, q *http.Request, own string) {
			if len(q.TransferEncoding) > 0 && !q.Close {
				t.Errorf("%s with a chunked body comes without Connection: close", own)
			}
			if c.answered {
				t.Errorf("%s comes on the connection of a chunked body", own)
			}
			c.answered = len(q.TransferEncoding) > 0
			c.write(ownAnswer(own)) // and it does not close
		}
		s.start(t)
		r := strayRig(t, []*strayServer{s}, roots)
		c := dialStray(t, r.addr)
		for i, size := range []int{0, 100, 50_000, 300_000} {
			for _, method := range []string{"GET", "CHUNKED", "GET", "PUT"} {
				own := fmt.Sprintf("own-%d-%s", i, method)
				body := strings.Repeat("x", size)
				if method == "GET" {
					body = "" // else it may be answered early, which ends the connection as well
				}
				if status, wrong := c.do(method, "/b/"+own, own, body); status != 200 || wrong != "" {
					t.Errorf("%s of %d: %d %s", method, size, status, wrong)
				}
				r.settled()
			}
		}
		// One for the first request, and one behind each chunked body.
		if got := s.conns.Load(); got != 1+4 {
			t.Errorf("%d connections, want 5", got)
		}
	})
}

// TestR32RefusedBodyEndsItsConnection: a backend that refuses a body of some size may have left it
// unread, and take the rest for another request.
func TestR32RefusedBodyEndsItsConnection(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, config *tls.Config, roots *x509.CertPool) {
		s := newStrayServer(t, config)
		s.answer = func(c *strayConn, q *http.Request, own string) {
			if c.answered {
				t.Errorf("%s comes on the connection of a refused body", own)
			}
			if q.Method == "PUT" {
				c.answered = q.ContentLength > surelyRead
				c.write(headOf("403 Forbidden", own) + lengthOf(own) + "\r\n" + own)
				return
			}
			c.write(ownAnswer(own))
		}
		s.start(t)
		r := strayRig(t, []*strayServer{s}, roots)
		c := dialStray(t, r.addr)
		for i, size := range []int{0, 100, surelyRead, surelyRead + 1, 50_000, 300_000} {
			own := fmt.Sprintf("own-%d", i)
			if status, wrong := c.do("PUT", "/b/"+own, own, strings.Repeat("x", size)); status != 403 || wrong != "" {
				t.Errorf("PUT of %d: %d %s", size, status, wrong)
			}
			r.settled()
			if status, wrong := c.do("GET", "/b/"+own, own, ""); status != 200 || wrong != "" {
				t.Errorf("GET behind a PUT of %d: %d %s", size, status, wrong)
			}
			r.settled()
		}
		// One for the first request, and one behind each of the three large ones; and perhaps behind the two small
		// ones, if the refusal came before it was known that all of the body had been sent.
		if got := s.conns.Load(); got < 1+3 || got > 1+3+2 {
			t.Errorf("%d connections, want 4 to 6", got)
		}
	})
}
