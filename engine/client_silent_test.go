package engine

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// silentUploads is how many clients are waited for in the middle of a body.
func (r *rig) silentUploads() int {
	return r.connections(func(c *clientConn) bool { return c.silent.Load() > 0 })
}

// TestR23SilentUploadsMakeRoom: where there is no place for one more request, the upload that has been silent for
// longest is ended for it. All others go on, and so do all of them as long as none has been silent for long enough.
func TestR23SilentUploadsMakeRoom(t *testing.T) {
	t.Parallel()
	cert := httptest.NewTLSServer(nil) // for its certificate alone
	defer cert.Close()
	const uploads, backends = 3, 2
	bounds := map[string]setup{
		"requests": func(o *Options, _ *limiter.Options) { o.MaxConcurrentRequests = uploads },
		"slots":    func(o *Options, lo *limiter.Options) { lo.ConnLimit = uploads * backends },
	}
	bodies := map[string]struct{ head, begin, rest string }{
		"a length":  {"Content-Length: 10\r\n\r\n", "0", "123456789"},
		"chunks":    {"Transfer-Encoding: chunked\r\n\r\n", "5\r\n0", "1234\r\n5\r\n56789\r\n0\r\n\r\n"},
		"large":     {"Content-Length: 100000\r\n\r\n", "0", strings.Repeat("x", 99_999)},
		"asked for": {"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n", "", "0123456789"},
	}
	for bound, limit := range bounds {
		for name, body := range bodies {
			for _, secure := range []bool{false, true} {
				for _, grace := range []time.Duration{time.Nanosecond, time.Hour} {
					t.Run(fmt.Sprintf("%s, %s, TLS %v, grace %s", bound, name, secure, grace), func(t *testing.T) {
						t.Parallel()
						r := newRig(t, backends, limit, logged, func(o *Options, _ *limiter.Options) {
							if o.silentGrace = grace; grace > time.Minute {
								o.SlotTimeout = time.Millisecond // nobody makes room
							}
							if secure {
								o.TLS = &tls.Config{Certificates: cert.TLS.Certificates}
							}
						})
						var nc []net.Conn
						var br []*bufio.Reader
						say := func(i int, what string) {
							_, err := io.WriteString(nc[i], what)
							testkit.MustDo(t, err)
						}
						dial := func(what string) {
							c, err := net.Dial("tcp", r.addr)
							testkit.MustDo(t, err)
							t.Cleanup(func() { _ = c.Close() })
							_ = c.SetDeadline(time.Now().Add(patience))
							if secure {
								c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's certificate
							}
							nc, br = append(nc, c), append(br, bufio.NewReader(c))
							say(len(nc)-1, what)
						}
						wantStatus := func(i, want int) {
							t.Helper()
							a, err := http.ReadResponse(br[i], nil)
							testkit.MustDo(t, err)
							text, err := io.ReadAll(a.Body)
							testkit.MustDo(t, err)
							if a.StatusCode != want || want == 400 && !strings.Contains(string(text), "RequestTimeout") {
								t.Errorf("connection %d: %d %.200q, want %d", i, a.StatusCode, text, want)
							}
						}
						for i := range uploads {
							dial(fmt.Sprintf("PUT /b/k%d HTTP/1.1\r\nHost: s3.test\r\n%s%s", i, body.head, body.begin))
							if strings.Contains(body.head, "Expect") {
								wantStatus(i, 100)
							}
							until(t, "it is silent", func() bool { return r.silentUploads() == i+1 })
						}
						ended := 0
						if grace < time.Minute {
							ended = 2
						}
						for i := range 2 {
							dial(fmt.Sprintf("PUT /b/new%d HTTP/1.1\r\nHost: s3.test\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", i))
							left := uploads
							if i < ended {
								left--
								wantStatus(uploads+i, 200)
								wantStatus(i, 400)
								r.wantAllAbsent(fmt.Sprint("/b/k", i))
							} else {
								wantStatus(uploads+i, 503)
							}
							until(t, "nothing else is under way", func() bool {
								return r.e.handling.Load() == int64(left) && r.e.InFlight() == left && r.e.ending.Load() == 0
							})
							if i < ended { // full again
								dial(fmt.Sprintf("PUT /b/more%d HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 2\r\n\r\nx", i))
								nc, br = nc[:uploads+i+1], br[:uploads+i+1]
								until(t, "it is silent", func() bool { return r.silentUploads() == uploads })
							}
						}
						for i := ended; i < uploads; i++ {
							say(i, body.rest)
							wantStatus(i, 200)
						}
						if n := r.e.Clients().Cut["body"]; n != uint64(ended) {
							t.Errorf("%d were ended, want %d", n, ended)
						}
					})
				}
			}
		}
	}
}
