package engine

import (
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// HTTP/1.0 may do without a Host (RFC 9112 §3.2); backends are sent HTTP/1.1, which must
// not.
func TestR2OldClientWithoutHost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	local := r.addr // what the client has connected to
	tests := []struct {
		name, head, body string
		host             string
		fields           string // as they arrive behind the Host
	}{
		{"HAProxy's check", "OPTIONS / HTTP/1.0\r\n\r\n", "", local, ""},
		{"with fields", "GET /b/k HTTP/1.0\r\nX-A: b\r\nx-c:\r\n\r\n", "", local, "X-A: b\r\nx-c:\r\n"},
		{"HEAD", "HEAD /b/k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "", local, ""},
		{"PUT", "PUT /b/k HTTP/1.0\r\nContent-Length: 5\r\n\r\n", "hello", local, "Content-Length: 5\r\n"},
		{"DELETE", "DELETE /b/k HTTP/1.0\r\n\r\n", "", local, ""},
		{"an empty Host", "GET /b/k HTTP/1.0\r\nHost:\r\nX-A: b\r\n\r\n", "", local, "X-A: b\r\n"},
		{"absolute form", "GET http://s3.test:81/b/k HTTP/1.0\r\nX-A: b\r\n\r\n", "", "s3.test:81", "X-A: b\r\n"},
		{"a Host all the same", "GET /b/k HTTP/1.0\r\nX-A: b\r\nhost: s3.test\r\n\r\n", "", "", "X-A: b\r\nhost: s3.test\r\n"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial()
			c.Send(tt.head, tt.body)
			a, err := c.ReadAnswerTo(strings.Fields(tt.head)[0])
			testkit.MustDo(t, err)
			if a.Status == 400 {
				t.Fatalf("refused: %s", a.Body)
			}
			r.settled()
			line, _, _ := strings.Cut(tt.head, " HTTP/1.0")
			want := line + " HTTP/1.1\r\n"
			if tt.host != "" {
				want += "Host: " + tt.host + "\r\n"
			}
			for _, got := range r.seenBy(i + 1) {
				if want := want + tt.fields + "\r\n"; string(got.RawHead) != want || string(got.Body) != tt.body {
					t.Errorf("arrived: %q %q, want %q %q", got.RawHead, got.Body, want, tt.body)
				}
			}
		})
	}
}

// A target in its absolute form names the Host once more, and no other one (R8).
func TestR8AuthorityIsTheHost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.stores[0].Behave(stub.Behaviour{Status: 204})
	c := r.dial()
	for _, tt := range [][2]string{
		{"http://s3.test/b/k", "s3.test"},
		{"HTTP://S3.test/b/k", "s3.TEST"},
		{"http://s3.test:80/b/k", "s3.test"},
		{"https://s3.test/b/k", "s3.test:443"},
		{"http://s3.test:9000?acl", "s3.test:9000"},
		{"http://[::1]:9000/b/k", "[::1]:9000"},
		{"/http://other.test/k", "s3.test"},
		{"/b/k?u=http://other.test/", "s3.test"},
	} {
		if a := c.Do("GET " + tt[0] + " HTTP/1.1\r\nHost: " + tt[1] + "\r\n\r\n"); a.Status != 204 {
			t.Errorf("%s on %s got %d: %s", tt[0], tt[1], a.Status, a.Body)
		}
	}
}
