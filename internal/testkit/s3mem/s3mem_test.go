package s3mem

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// client asks one storage.
type client struct {
	*testing.T
	s *Storage
}

// do gives an answer's status, header and body; headers come in pairs.
func (c client) do(method, target, body string, headers ...string) (int, http.Header, string) {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), method, "http://x"+target, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.s.RoundTrip(req)
	if err != nil {
		c.Fatal(err)
	}
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	return res.StatusCode, res.Header, string(answer)
}

func (c client) want(status int, inside, method, target, body string, headers ...string) http.Header {
	c.Helper()
	got, h, answer := c.do(method, target, body, headers...)
	if got != status || !strings.Contains(answer, inside) {
		c.Errorf("%s %s: %d %q, want %d with %q", method, target, got, answer, status, inside)
	}
	return h
}

func newClient(t *testing.T, m Manners) client {
	t.Helper()
	s := New("A", m)
	s.MakeBucket("b", false, false)
	s.MakeBucket("l", true, true)
	return client{t, s}
}

// TestS3: it is an S3 storage where nobody asks for more.
func TestS3(t *testing.T) {
	c := newClient(t, Manners{})
	c.want(200, "", "PUT", "/b/k", "one", "X-Amz-Tagging", "a=1", "Cache-Control", "private")
	if h := c.want(200, "one", "GET", "/b/k", ""); h.Get("Cache-Control") != "private" || h.Get("X-Amz-Tagging-Count") != "1" {
		t.Errorf("the object has %v", h)
	}
	c.want(412, "PreconditionFailed", "PUT", "/b/k", "two", "If-None-Match", "*")
	c.want(400, "BadDigest", "PUT", "/b/k", "two", "Content-Md5", "AAAA")
	c.want(200, "CopyObjectResult", "PUT", "/b/copy", "", "X-Amz-Copy-Source", "/b/k")
	c.want(200, "<Value>1</Value>", "GET", "/b/copy?tagging", "")
	c.want(200, "<Key>copy</Key>", "GET", "/b?list-type=2", "")
	c.want(200, "<Key>k</Key></Deleted>", "POST", "/b?delete", "<Delete><Object><Key>k</Key></Object></Delete>")
	c.want(404, "NoSuchKey", "GET", "/b/k", "")

	id := Inside(second(c.do("POST", "/b/p?uploads", "")), "UploadId")
	c.want(200, "", "PUT", "/b/p?partNumber=2&uploadId="+id, "b")
	c.want(200, "", "PUT", "/b/p?partNumber=1&uploadId="+id, "a")
	c.want(200, "-2&quot;", "POST", "/b/p?uploadId="+id, "")
	c.want(200, "ab", "GET", "/b/p", "")
	c.want(206, "b", "GET", "/b/p?partNumber=2", "")
	c.want(416, "", "GET", "/b/p?partNumber=3", "")
}

func second(_ int, _ http.Header, body string) string { return body }

// TestVersions: versions stay until they are deleted by id, and locked ones then, too.
func TestVersions(t *testing.T) {
	c := newClient(t, Manners{})
	one := c.want(200, "", "PUT", "/l/k", "one").Get("X-Amz-Version-Id")
	two := c.want(200, "", "PUT", "/l/k", "two", "X-Amz-Object-Lock-Legal-Hold", "ON").Get("X-Amz-Version-Id")
	marker := c.want(204, "", "DELETE", "/l/k", "").Get("X-Amz-Version-Id")
	c.want(404, "", "GET", "/l/k", "")
	c.want(200, "one", "GET", "/l/k?versionId="+one, "")
	c.want(403, "AccessDenied", "DELETE", "/l/k?versionId="+two, "")
	c.want(204, "", "DELETE", "/l/k?versionId="+marker, "")
	c.want(200, "two", "GET", "/l/k", "")
	c.want(200, "", "PUT", "/l/k?legal-hold", "<LegalHold><Status>OFF</Status></LegalHold>")
	c.want(200, "<VersionId>"+one+"</VersionId>", "GET", "/l?versions", "")
	c.want(204, "", "DELETE", "/l/k?versionId="+two, "")
	c.want(200, "one", "GET", "/l/k", "")
}

// TestManners: what storages do otherwise.
func TestManners(t *testing.T) {
	c := newClient(t, Manners{Lossy: true})
	c.want(200, "", "PUT", "/b/k", "one", "X-Amz-Tagging", "a=1", "Cache-Control", "private")
	if h := c.want(200, "one", "GET", "/b/k", ""); h.Get("Cache-Control")+h.Get("X-Amz-Tagging-Count") != "" {
		t.Errorf("a lossy storage has kept %v", h)
	}
	c = newClient(t, Manners{Folders: true})
	c.want(200, "", "PUT", "/b/u/a", "one")
	if h := c.want(200, "", "HEAD", "/b/u/", ""); !strings.HasSuffix(h.Get("ETag"), `-0"`) {
		t.Errorf("a directory has the ETag %s", h.Get("ETag"))
	}
	c = newClient(t, Manners{Folds: true, Guesses: true, IgnoresConditions: true, Clock: time.Hour})
	c.want(200, "", "PUT", "/b/a//b.txt", "one")
	c.want(200, "", "PUT", "/b/a/b.txt", "two", "If-None-Match", "*")
	h := c.want(200, "two", "GET", "/b/a//b.txt", "")
	if at, err := http.ParseTime(h.Get("Last-Modified")); err != nil || time.Until(at) < 50*time.Minute || h.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the object has %v", h)
	}
	if c.s.etag(nil) == New("B", Manners{OwnETags: true}).etag(nil) {
		t.Error("its ETags are no others")
	}
}

// TestTrouble: what befalls a storage.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, Manners{})
		c.want(200, "", "PUT", "/b/k", "one")
		saved := c.s.Save()
		c.s.Refuse(507)
		c.want(507, "", "PUT", "/b/k", "two")
		c.want(200, "one", "GET", "/b/k", "")
		c.s.Refuse(0)

		c.s.Set(Frozen)
		done := 0
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			req, err := http.NewRequestWithContext(ctx, "PUT", "http://x/b/late", strings.NewReader("late"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.s.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a frozen storage: %v", err)
			}
			cancel()
		}
		if done = len(c.s.late); done == 0 || done == 10 {
			t.Errorf("%d of 10 requests are done late", done)
		}
		c.s.Set(Well)
		c.want(200, "late", "GET", "/b/late", "")

		c.want(200, "", "PUT", "/b/k", "two")
		c.s.Rot("b", "k")
		if h := c.want(200, "", "GET", "/b/k", ""); h.Get("ETag") != `"`+hashed([]byte("two"))+`"` {
			t.Errorf("a rotten object has the ETag %s", h.Get("ETag"))
		}
		if string(c.s.Current("b", "k").Body) == "two" {
			t.Error("it is not rotten")
		}
		c.s.Restore(saved)
		c.want(200, "one", "GET", "/b/k", "")
		c.s.Restore(nil)
		c.want(404, "NoSuchBucket", "GET", "/b/k", "")
		c.s.Set(Down)
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/b/k", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.s.RoundTrip(req); err == nil || c.s.IsWell() {
			t.Error("it is not down")
		}
	})
}
