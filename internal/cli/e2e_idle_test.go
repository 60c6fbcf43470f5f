package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// A connection's goroutine keeps the stack that its requests have made it grow to, so one that
// fits into 4 KiB is half of what an idle connection costs (R23). It is measured in the binary, for
// the compiler inlines other calls there than in tests (default.pgo). The bound leaves room for the
// few that grow because memory runs out at the deepest place.
func testIdleStacks(t *testing.T, path string) {
	const conns, bound = 200, 7 << 10
	// All connections stay open until the end, in this process and in the proxy; other tests have some, too.
	const files = 4096
	var limit unix.Rlimit
	testkit.MustDo(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	if limit.Cur < files {
		t.Skipf("needs %d open files, the limit is %d (ulimit -n)", files, limit.Cur)
	}
	presigned := "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20240101%2Fus-east-1%2Fs3%2Faws4_request" +
		"&X-Amz-Date=20240101T000000Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&x-id=GetObject&X-Amz-Signature=" + strings.Repeat("0f", 32)
	stores := []*stub.Server{stub.New(t), stub.New(t)}
	for _, s := range stores {
		s.Behave(stub.Behaviour{Status: 200}) // of listings, too
	}
	b := startBinary(t, path, stores, "ConnLimit: 10000", "GODEBUG=gcshrinkstackoff=1")
	// Something is pending, as with a backend away, so that the journal is asked whenever it may be.
	stores[1].BehaveNext(stub.Fails(503))
	testkit.MustSend(t, "PUT", "http://"+b.addr+"/b/pending", "")
	grown := stacks(t, b)
	for _, request := range []struct{ name, method, target, fields, body string }{
		{"PUT", "PUT", "/b/k", "X-Amz-Meta-Color: blue\r\nContent-Type: text/plain\r\n", strings.Repeat("x", 4<<10)},
		{"PUT presigned", "PUT", "/b/k" + presigned, "", "hello"},
		{"HEAD", "HEAD", "/b/k", "", ""},
		{"GET", "GET", "/b/k", "", ""},
		{"GET presigned", "GET", "/b/k" + presigned, "", ""},
		{"GET of a range", "GET", "/b/k", "Range: bytes=0-9\r\n", ""},
		{"ListObjectsV2", "GET", "/b/?list-type=2&prefix=some%2Ffolder&delimiter=%2F&max-keys=100", "", ""},
		{"DELETE", "DELETE", "/b/k", "", ""},
		{"PUT of 64 KiB", "PUT", "/b/large", "", strings.Repeat("x", 64<<10)},
		{"GET of 64 KiB", "GET", "/b/large", "", ""},
	} {
		for range conns {
			c := stub.Dial(t, b.addr)
			t.Cleanup(c.Close)
			c.Send(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: s3.example.com\r\nUser-Agent: aws-cli/2.15.30 md/awscrt#0.19.19\r\n"+
				"X-Amz-Date: 20240101T000000Z\r\nX-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"+
				"Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20240101/us-east-1/s3/aws4_request, "+
				"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=%s\r\n%sContent-Length: %d\r\n\r\n%s",
				request.method, request.target, strings.Repeat("0f", 32), request.fields, len(request.body), request.body))
			if a, err := c.ReadAnswerTo(request.method); err != nil || a.Status/100 > 2 {
				t.Fatalf("%s is answered %v, %v", request.name, a, err)
			}
		}
		before := grown
		grown = stacks(t, b)
		each := (grown - before) / conns
		t.Logf("%s: %d bytes of stack a connection", request.name, each)
		if each > bound {
			t.Errorf("%s: %d bytes of stack a connection, want at most %d", request.name, each, bound)
		}
	}
	b.terminate()
}

// stacks is how much memory the stacks of the proxy's goroutines take. A garbage collection comes first, since the
// runtime keeps the stacks of goroutines that have ended until then. With GODEBUG=gcshrinkstackoff=1 it shrinks none.
func stacks(t *testing.T, b *binary) int {
	t.Helper()
	_, text, err := testkit.Send("GET", "http://"+b.admin+"/debug/pprof/heap?debug=1&gc=1", "")
	testkit.MustDo(t, err)
	field := regexp.MustCompile(`(?m)^# Stack = (\d+)`).FindStringSubmatch(text)
	if field == nil {
		t.Fatalf("no size of stacks in %q", text)
	}
	n, err := strconv.Atoi(field[1])
	testkit.MustDo(t, err)
	return n
}
