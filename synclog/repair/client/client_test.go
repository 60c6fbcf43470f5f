package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/s3/sigv4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, s *stub.Server, change func(*Options)) *Client {
	t.Helper()
	o := Options{Name: "store", URL: s.URL(), AccessKey: "AK", SecretKey: "SK", SessionToken: "TOKEN", DialTimeout: time.Second, Timeout: 10 * time.Second}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Keys go as they are: nothing is cleaned, joined or spelt anew.
func TestKeysOnTheWire(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, nil)
	keys := map[string]string{
		"plain": "/b/plain", "a/b": "/b/a/b", "a//b": "/b/a//b", "/lead": "/b//lead", "//": "/b///", "..": "/b/..", ".": "/b/.",
		"../..": "/b/../..", "a b": "/b/a%20b", "a+b": "/b/a%2Bb", "a%2Fb": "/b/a%252Fb", "%": "/b/%25", "ü": "/b/%C3%BC",
		"\xff": "/b/%FF", "\x00": "/b/%00", "?#&=": "/b/%3F%23%26%3D", "~_-.": "/b/~_-.", "*'()": "/b/%2A%27%28%29",
	}
	for key := range keys {
		if _, err := c.Discard(t.Context(), &Request{Method: "DELETE", Bucket: "b", Key: key}); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	seen := map[string]bool{}
	for _, r := range s.Requests() {
		seen[r.Target] = true
	}
	for key, target := range keys {
		if !seen[target] {
			t.Errorf("%q did not arrive as %s", key, target)
		}
	}
}

func TestRequestOnTheWire(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, nil)
	query := []Param{{"uploadId", "a+b/c="}, {"partNumber", "1"}, {"acl", ""}}
	for _, r := range []*Request{
		{Method: "PUT", Bucket: "b", Key: "k", Query: query, Header: http.Header{"X-Amz-Meta-A": {"1"}}, Body: []byte("small")},
		{Method: "PUT", Bucket: "b", Key: "k", Stream: strings.NewReader("stream"), Length: 6},
		{Method: "PUT", Bucket: "b", Key: "k"},
		{Method: "GET"},
	} {
		if _, err := c.Discard(t.Context(), r); err != nil && Status(err) != 404 {
			t.Fatal(err)
		}
	}
	rs := s.Requests()
	if want := "/b/k?acl&partNumber=1&uploadId=a%2Bb%2Fc%3D"; rs[0].Target != want || rs[0].Headers.Get("x-amz-meta-a") != "1" {
		t.Errorf("got %s %v, want %s", rs[0].Target, rs[0].Headers, want)
	}
	if sum := rs[0].Headers.Get("x-amz-content-sha256"); len(sum) != 64 || sum != rs[0].SHA256 {
		t.Errorf("payload %s, body %s", sum, rs[0].SHA256)
	}
	if rs[1].Headers.Get("x-amz-content-sha256") != sigv4.Unsigned || string(rs[1].Body) != "stream" || rs[1].Framing != stub.ByLength {
		t.Errorf("%v %q", rs[1].Headers, rs[1].Body)
	}
	if rs[2].Headers.Get("Content-Length") != "0" || rs[2].Headers.Get("x-amz-content-sha256") != sigv4.Empty {
		t.Errorf("%v", rs[2].Headers)
	}
	for _, r := range rs {
		if !strings.HasPrefix(r.Headers.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AK/") || r.Headers.Get("x-amz-security-token") != "TOKEN" {
			t.Errorf("%v", r.Headers)
		}
		if strings.Contains(string(r.RawHead), "SK") || r.Headers.Has("X-Idempotency-Key") || r.Headers.Has("Accept-Encoding") {
			t.Errorf("%s", r.RawHead)
		}
	}
}

func TestUnsigned(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, func(o *Options) { o.AccessKey = "" })
	if _, err := c.Discard(t.Context(), &Request{Method: "PUT", Bucket: "b", Key: "k", Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if h := s.Requests()[0].Headers; h.Has("Authorization") || h.Has("x-amz-date") {
		t.Errorf("%v", h)
	}
}

func TestErrors(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, nil)
	do := func(b stub.Behaviour) error {
		s.BehaveNext(b)
		_, err := c.Discard(t.Context(), &Request{Method: "GET", Bucket: "b", Key: "k"})
		return err
	}
	err := do(stub.Behaviour{Status: 403})
	if Status(err) != 403 || !HasCode(err, "AccessDenied") || Unsupported(err) || !strings.Contains(err.Error(), `"store"`) {
		t.Errorf("got %v", err)
	}
	if err = do(stub.Behaviour{Status: 501}); !Unsupported(err) {
		t.Errorf("got %v", err)
	}
	if err = do(stub.Behaviour{Status: 500, Body: []byte("<html>")}); Status(err) != 500 || HasCode(err, "InternalError") {
		t.Errorf("got %v", err)
	}
	var transport *TransportError
	if err = do(stub.Behaviour{Raw: []byte("no HTTP at all\r\n\r\n")}); !errors.As(err, &transport) || transport.Backend != "store" {
		t.Errorf("got %v", err)
	}
	if err := c.ErrorIn("POST", []byte(" \n<?xml version=\"1.0\"?><Error><Code>InternalError</Code></Error>")); !HasCode(err, "InternalError") {
		t.Errorf("got %v", err)
	}
	if err := c.ErrorIn("POST", []byte("<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")); err != nil {
		t.Errorf("got %v", err)
	}
}

// R25: a write that is answered with an error in a 200 is not done. What a GET brings is an object.
func TestR25ErrorInA200(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, nil)
	for method, fails := range map[string]bool{"PUT": true, "DELETE": true, "GET": false, "HEAD": false} {
		s.BehaveNext(stub.ErrorIn200("SlowDown"))
		if _, err := c.Discard(t.Context(), &Request{Method: method, Bucket: "b", Key: "k"}); HasCode(err, "SlowDown") != fails || (err != nil) != fails {
			t.Errorf("%s: got %v", method, err)
		}
	}
}

// slowReader gives a byte now and then.
type slowReader struct {
	left  int
	pause time.Duration
	err   error
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, r.err
	}
	r.left--
	time.Sleep(r.pause) // longer than the client waits for the storage
	p[0] = 'x'
	return 1, nil
}

// The time that a body's source takes is not the storage's.
func TestSlowSource(t *testing.T) {
	t.Parallel()
	s := stub.New(t)
	c := newClient(t, s, func(o *Options) { o.Timeout = time.Second })
	_, err := c.Discard(t.Context(), &Request{Method: "PUT", Bucket: "b", Key: "k", Stream: &slowReader{2, 1500 * time.Millisecond, io.EOF}, Length: 2})
	if o, ok := s.Object("/b/k"); err != nil || !ok || string(o.Body) != "xx" {
		t.Errorf("got %v, %v", err, o)
	}
}

func TestStalledStorage(t *testing.T) {
	for name, b := range map[string]stub.Behaviour{
		"before the answer": {HangAfterBody: true},
		"within the body":   {During: stub.HangThere, After: 10},
	} {
		s := stub.New(t, stub.ReceiveBuffer(4096))
		c := newClient(t, s, func(o *Options) { o.Timeout = 100 * time.Millisecond })
		s.BehaveNext(b)
		_, err := c.Discard(t.Context(), &Request{Method: "PUT", Bucket: "b", Key: "k", Stream: strings.NewReader(strings.Repeat("x", 16<<20)), Length: 16 << 20})
		var transport *TransportError
		if !errors.As(err, &transport) || !errors.Is(err, errStalled) || !isTimeout(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	s := stub.New(t)
	c := newClient(t, s, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	s.Put("/b/k", make([]byte, 1000))
	gate := make(chan struct{})
	defer close(gate)
	s.BehaveNext(stub.Behaviour{BodyGate: gate})
	if _, err := c.Discard(t.Context(), &Request{Method: "GET", Bucket: "b", Key: "k"}); !errors.Is(err, errStalled) {
		t.Errorf("in the answer: got %v", err)
	}
}

func TestSourceFails(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, nil)
	why := errors.New("the source is gone")
	_, err := c.Discard(t.Context(), &Request{Method: "PUT", Bucket: "b", Key: "k", Stream: &slowReader{1, 0, why}, Length: 5})
	var source *SourceError
	if !errors.As(err, &source) || !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if _, ok := s.Object("/b/k"); ok {
		t.Error("half of it was stored")
	}
}

// A kept-alive connection that was closed meanwhile is none of the caller's concern.
func TestStaleConnection(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, nil)
	for _, method := range []string{"PUT", "DELETE", "PUT", "GET"} {
		r := &Request{Method: method, Bucket: "b", Key: "k"}
		if method == "PUT" {
			r.Body = []byte("x")
		}
		if _, err := c.Discard(t.Context(), r); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		s.WaitDone(t, len(s.Requests()))
		s.CloseIdle()
	}
}

func TestCancelled(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, nil)
	s.BehaveNext(stub.Behaviour{HangAfterBody: true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Discard(ctx, &Request{Method: "GET", Bucket: "b", Key: "k"})
		done <- err
	}()
	s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	cancel()
	if err := testkit.Receive(t, "the end of a goroutine", done); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestList(t *testing.T) {
	s := stub.New(t)
	c := newClient(t, s, nil)
	list := func(doc string, from Next) (Page, error) {
		s.BehaveNext(stub.Behaviour{Status: 200, Body: []byte(doc)})
		s.Put("/b", nil)
		return c.List(t.Context(), "b", "p/", from, 10)
	}
	page, err := list(`<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
<NextContinuationToken>t+1</NextContinuationToken><Contents><Key>p/a+b%FF%2B</Key><ETag>"e"</ETag><Size>5</Size><LastModified>2020-01-02T03:04:05.678Z</LastModified></Contents></ListBucketResult>`, Next{})
	if err != nil || page.Last || len(page.Entries) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	if e := page.Entries[0]; e.Key != "p/a b\xff+" || e.ETag != "e" || e.Size != 5 || e.Modified.Year() != 2020 {
		t.Errorf("%+v", e)
	}
	if _, err := list("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", page.Next); err != nil {
		t.Error(err)
	}
	rs := s.Requests()
	if got := rs[len(rs)-1].Target; got != "/b?continuation-token=t%2B1&encoding-type=url&list-type=2&max-keys=10&prefix=p%2F" {
		t.Errorf("got %s", got)
	}
	for _, doc := range []string{
		"", "<html/>", "<ListBucketResult>", "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents></ListBucketResult>",
		"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
	} {
		if page, err := list(doc, Next{}); err == nil {
			t.Errorf("%q: got %+v", doc, page)
		}
	}
}

// isTimeout is how others tell one, without knowing this package.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
