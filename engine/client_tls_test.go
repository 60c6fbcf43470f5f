package engine

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// TestR8PlainOnTLS: who speaks HTTP to the TLS port is told so; what is no HTTP either gets
// TLS's own answer.
func TestR8PlainOnTLS(t *testing.T) {
	t.Parallel()
	cert := httptest.NewTLSServer(nil) // for its certificate alone
	defer cert.Close()
	r := newRig(t, 1, func(o *Options, _ *limiter.Options) { o.TLS = &tls.Config{Certificates: cert.TLS.Certificates} }, logged)
	requests := []string{
		requestFor("GET", "/b/k"), putRequest("/b/k", pattern(1<<20)), requestFor("DELETE", "/b/k"), requestFor("OPTIONS", "/"),
		"POST /b?delete HTTP/1.1\r\nHost: s3.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", requestFor("GET", "/"),
	}
	for i, request := range requests {
		c := r.dial()
		go func() { _, _ = io.WriteString(c, request) }() // nobody may read all of it
		a, err := c.ReadAnswer()
		if err != nil {
			t.Fatalf("%.20q: %v", request, err)
		}
		wantS3Error(t, a, 400, "InvalidRequest")
		if !strings.Contains(string(a.Body), "https://") || a.Headers.Get("Connection") != "close" {
			t.Errorf("%.20q: %+v", request, a)
		}
		method, _, _ := strings.Cut(request, " ")
		if got := r.waitAccess(i + 1)[i]; got.Status != 400 || got.Method != method {
			t.Errorf("the access log has %+v", got)
		}
	}
	nc, err := net.Dial("tcp", r.addr)
	testkit.MustDo(t, err)
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write([]byte("\x00\x01\x02\x03\x04\x05\x06\x07")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, _ := nc.Read(buf); strings.Contains(string(buf[:n]), "HTTP") {
		t.Errorf("what is neither TLS nor HTTP gets %q", buf[:n])
	}
	if begun, ended := r.metrics.counts(); begun != len(requests) || ended != len(requests) {
		t.Errorf("%d requests begun and %d ended", begun, ended)
	}
}
