package interop

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// chunkedTwice uploads whole bodies that are chunked twice, as SDKs send streams whose length they do not
// know, over connections that have been used before: versitygw takes the outer end for another request (R32).
func (c *cuts) chunkedTwice() {
	for _, size := range []int{100, 60_000, 300_000, 5_000_000} {
		for _, style := range []string{byHeader, byChunks} { // the first one leaves a connection
			key := fmt.Sprintf("%s %d", style, size)
			u, err := newUpload(c.plain.addr, style, c.bucket, key, "", content(uint64(size), size))
			if err != nil {
				c.Fatal(err)
			}
			if status, err := u.whole(); status != 200 || err != nil {
				c.Errorf("%s: answered %d, %v", key, status, err)
			}
			c.settled(c.plain)
		}
	}
	for _, r := range readSynclog(c.T, c.plain.synclog) {
		c.Errorf("recorded as a divergence: %v", r)
	}
}

// TestR32UnreadChunks sends chunked bodies where versitygw does not read them: it takes them for another
// request. Each answer must be what the store alone gives, and the next request must get its own.
func TestR32UnreadChunks(t *testing.T) {
	w, bucket := newStores(t, [2]string{versitygw, versitygw}), "unread"
	kept := w.stores[0] // the other one closes each connection
	if _, err := kept.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.direct.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: new("good"), Body: strings.NewReader("good")}); err != nil {
		t.Fatal(err)
	}
	p := w.newProxy(t, "unread", "", fmt.Sprintf("FailureLimit: 0\nBackends: [%s]\n", w.url(0)))
	p.await(t, "it is ready", func(s status) bool { return s.Ready && s.active() })

	ask := func(addr, method, key, query, framing, body string, spoil bool) string {
		t.Helper()
		req, _, err := newSigned(method, byHeader, p.addr, bucket, key, query, nil)
		if err != nil {
			t.Fatal(err)
		}
		var message strings.Builder
		fmt.Fprintf(&message, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, req.URL.RequestURI(), p.addr, framing)
		if spoil {
			req.Header.Set("Authorization", req.Header.Get("Authorization")[:100])
		}
		if err := req.Header.Write(&message); err != nil {
			t.Fatal(err)
		}
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := fmt.Fprintf(conn, "%s\r\n%s", &message, body); err != nil {
			return err.Error()
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), req)
		if err != nil {
			return err.Error()
		}
		return res.Status
	}
	for _, tt := range []struct {
		name, method, query string
		spoil               bool
	}{
		{"GET", http.MethodGet, "", false}, {"HEAD", http.MethodHead, "", false}, {"DELETE", http.MethodDelete, "", false},
		{"CreateMultipartUpload", http.MethodPost, "uploads=", false}, {"PUT without a length", http.MethodPut, "", false},
		{"a bad signature", http.MethodPut, "", true},
	} {
		for _, size := range []int{0, 100, 4_000} { // more than it takes in with the head would have it reset the connection
			body := "0\r\n\r\n"
			if size > 0 {
				body = fmt.Sprintf("%x\r\n%s\r\n%s", size, strings.Repeat("x", size), body)
			}
			key := fmt.Sprintf("%s-%d", tt.method, size)
			if tt.method == http.MethodGet || tt.method == http.MethodHead {
				key = "good"
			}
			want := ask(kept.addr, tt.method, key, tt.query, "Transfer-Encoding: chunked\r\n", body, tt.spoil)
			for range 10 {
				if got := ask(p.addr, http.MethodGet, "good", "", "", "", false); got != "200 OK" { // leaves a connection
					t.Fatalf("a request behind a chunked one is answered %s", got)
				}
				if got := ask(p.addr, tt.method, key, tt.query, "Transfer-Encoding: chunked\r\n", body, tt.spoil); got != want {
					t.Errorf("%s with %d bytes in chunks: answered %s, without the proxy %s", tt.name, size, got, want)
				}
			}
		}
	}
}
