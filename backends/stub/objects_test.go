package stub

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// put makes a PUT with a length.
func put(target, body string, headers ...string) string {
	return fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n%s",
		target, len(body), strings.Join(append(headers, ""), "\r\n"), body)
}

// ask makes a request without a body.
func ask(method, target string, headers ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\n%s\r\n", method, target, strings.Join(append(headers, ""), "\r\n"))
}

// post makes a POST with a length.
func post(target, body string) string {
	return "POST" + strings.TrimPrefix(put(target, body), "PUT")
}

func mustStatus(t *testing.T, a *Answer, status int) {
	t.Helper()
	if a.Status != status {
		t.Fatalf("status %d, wanted %d: %s%s", a.Status, status, a.RawHead, a.Body)
	}
}

func TestObjects(t *testing.T) {
	s := New(t)
	c := Dial(t, s.Addr())
	etag := fmt.Sprintf(`"%x"`, md5.Sum([]byte("hello")))

	a := c.Do(put("/b/a%2Fb//c?X-Amz-Signature=1", "hello"))
	mustStatus(t, a, 200)
	if a.Headers.Get("etag") != etag || a.Length != 0 {
		t.Errorf("answer to a PUT: %s", a.RawHead)
	}
	o, ok := s.Object("/b/a%2Fb//c")
	if !ok || string(o.Body) != "hello" || o.ETag != etag || o.SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte("hello"))) {
		t.Errorf("stored %+v, %v", o, ok)
	}

	for _, tt := range []struct {
		method, target, header string
		status                 int
		body, contentRange     string
		length                 int64
	}{
		{"GET", "/b/a%2Fb//c", "X: y", 200, "hello", "", 5},
		{"HEAD", "/b/a%2Fb//c", "X: y", 200, "", "", 5},
		{"GET", "/b/a%2Fb//c?x=y", "Range: bytes=1-2", 206, "el", "bytes 1-2/5", 2},
		{"GET", "/b/a%2Fb//c", "Range: bytes=3-", 206, "lo", "bytes 3-4/5", 2},
		{"GET", "/b/a%2Fb//c", "range: bytes=-4", 206, "ello", "bytes 1-4/5", 4},
		{"GET", "/b/a%2Fb//c", "Range: bytes=0-99", 206, "hello", "bytes 0-4/5", 5},
		{"HEAD", "/b/a%2Fb//c", "Range: bytes=0-0", 206, "", "bytes 0-0/5", 1},
		{"GET", "/b/a%2Fb//c", "Range: bytes=5-", 416, string(errorDocument("InvalidRange")), "", -1},
		{"GET", "/b/a%2Fb//c", "Range: bytes=0-1,3-4", 200, "hello", "", 5},
		{"GET", "/b/a/b//c", "X: y", 404, string(errorDocument("NoSuchKey")), "", -1},
		{"HEAD", "/b/none", "X: y", 404, "", "", -1},
		{"HEAD", "/", "X: y", 200, "", "", 0},
		{"DELETE", "/b/a%2Fb//c", "X: y", 204, "", "", -1},
		{"GET", "/b/a%2Fb//c", "X: y", 404, string(errorDocument("NoSuchKey")), "", -1},
		{"DELETE", "/b/a%2Fb//c", "X: y", 204, "", "", -1},
		{"TRACE", "/b/k", "X: y", 405, string(errorDocument("MethodNotAllowed")), "", -1},
	} {
		t.Run(tt.method+" "+tt.header, func(t *testing.T) {
			a := c.Do(ask(tt.method, tt.target, tt.header))
			mustStatus(t, a, tt.status)
			if string(a.Body) != tt.body || a.Headers.Get("Content-Range") != tt.contentRange {
				t.Errorf("got %s%s", a.RawHead, a.Body)
			}
			if tt.length >= 0 && a.Length != tt.length {
				t.Errorf("length %d, wanted %d", a.Length, tt.length)
			}
		})
	}
	if len(s.Objects()) != 0 {
		t.Errorf("left: %v", s.Objects())
	}
	if n := s.Counts(); n.Conns != 1 || n.OpenConns != 1 {
		t.Errorf("not one connection, kept alive: %+v", n)
	}
}

func TestCopy(t *testing.T) {
	s := New(t)
	s.Put("/b/from", []byte("source"))
	c := Dial(t, s.Addr())
	a := c.Do(put("/b/to", "", "X-Amz-Copy-Source: b/from"))
	mustStatus(t, a, 200)
	if o, _ := s.Object("/b/to"); string(o.Body) != "source" || !strings.Contains(string(a.Body), "<CopyObjectResult><ETag>") {
		t.Errorf("stored %+v, answered %s", o, a.Body)
	}
	mustStatus(t, c.Do(put("/b/to", "", "x-amz-copy-source: /b/none")), 404)
}

func TestDeleteMany(t *testing.T) {
	s := New(t)
	for _, path := range []string{"/b/plain", "/b/a%20%C3%BC%2Bb", "/b/stays", "/b/x&y"} {
		s.Put(path, nil)
	}
	c := Dial(t, s.Addr())
	a := c.Do(post("/b?delete", `<Delete><Object><Key>plain</Key></Object><Object><Key>a ü+b</Key></Object>`+
		`<Object><Key>x&amp;y</Key><VersionId>1</VersionId></Object></Delete>`))
	mustStatus(t, a, 200)
	if !strings.Contains(string(a.Body), "<Deleted><Key>plain</Key></Deleted><Deleted><Key>a ü+b</Key></Deleted><Deleted><Key>x&amp;y</Key></Deleted>") {
		t.Errorf("answered %s", a.Body)
	}
	if left := s.Objects(); len(left) != 1 || left["/b/stays"].ETag == "" {
		t.Errorf("left: %v", left)
	}
	a = c.Do(post("/b/?delete=", `<Delete><Quiet>true</Quiet><Object><Key>stays</Key></Object></Delete>`))
	if strings.Contains(string(a.Body), "Deleted>") || len(s.Objects()) != 0 {
		t.Errorf("quiet: answered %s, left %v", a.Body, s.Objects())
	}
	mustStatus(t, c.Do(post("/b?delete", "no xml")), 400)
}

func TestMultipart(t *testing.T) {
	s := New(t)
	s.Put("/b/from", []byte("three"))
	c := Dial(t, s.Addr())
	begin := func() string {
		t.Helper()
		a := c.Do(post("/b/k?uploads", ""))
		mustStatus(t, a, 200)
		_, id, _ := strings.Cut(string(a.Body), "<UploadId>")
		id, _, _ = strings.Cut(id, "<")
		return id
	}
	id := begin()
	on := "/b/k?uploadId=" + id
	etags := map[int]string{}
	for _, n := range []int{2, 1} {
		a := c.Do(put(fmt.Sprintf("/b/k?partNumber=%d&uploadId=%s", n, id), fmt.Sprintf("part %d, ", n)))
		mustStatus(t, a, 200)
		etags[n] = a.Headers.Get("ETag")
	}
	a := c.Do(put("/b/k?partNumber=3&uploadId="+id, "", "x-amz-copy-source: /b/from"))
	if mustStatus(t, a, 200); !strings.Contains(string(a.Body), "<CopyPartResult>") {
		t.Errorf("copied part: %s", a.Body)
	}
	a = c.Do(ask("GET", on))
	if strings.Count(string(a.Body), "<Part>") != 3 {
		t.Errorf("parts: %s", a.Body)
	}
	mustStatus(t, c.Do(put("/b/k?partNumber=0&uploadId="+id, "")), 400)
	mustStatus(t, c.Do(post(on, `<CompleteMultipartUpload><Part><PartNumber>9</PartNumber></Part></CompleteMultipartUpload>`)), 400)

	other := begin()
	if other == id || len(s.Uploads()) != 2 {
		t.Errorf("uploads %v", s.Uploads())
	}
	mustStatus(t, c.Do(ask("DELETE", "/b/k?uploadId="+other)), 204)

	a = c.Do(post(on, fmt.Sprintf(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`+
		`<Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part><Part><PartNumber>2</PartNumber><ETag>%s</ETag></Part>`+
		`<Part><PartNumber>3</PartNumber><ETag>"%x"</ETag></Part></CompleteMultipartUpload>`,
		etags[1], strings.Trim(etags[2], `"`), md5.Sum([]byte("three")))))
	mustStatus(t, a, 200)
	o, _ := s.Object("/b/k")
	if string(o.Body) != "part 1, part 2, three" || !strings.HasSuffix(o.ETag, `-3"`) || o.SHA256 == "" {
		t.Errorf("stored %+v", o)
	}
	if len(s.Uploads()) != 0 {
		t.Errorf("uploads left: %v", s.Uploads())
	}
	for _, method := range []string{"GET", "DELETE", "PUT", "POST"} {
		a := c.Do(ask(method, on+"&partNumber=1", "Content-Length: 0"))
		if mustStatus(t, a, 404); !strings.Contains(string(a.Body), "NoSuchUpload") {
			t.Errorf("%s of a gone upload: %s", method, a.Body)
		}
	}
	if id2 := New(t).store.prefix; strings.HasPrefix(id, id2) {
		t.Error("two stores give the same upload ids")
	}
}

func TestKeepBodiesNot(t *testing.T) {
	s := New(t, KeepBodies(false), KeepRequests(2))
	c := Dial(t, s.Addr())
	for i := range 9 {
		mustStatus(t, c.Do(put(fmt.Sprintf("/b/%d", i), "hello")), 200)
	}
	o, _ := s.Object("/b/7")
	if o.Body != nil || o.Size != 5 || o.SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte("hello"))) {
		t.Errorf("stored %+v", o)
	}
	rs := s.WaitDone(t, 2)
	if len(rs) != 2 || rs[1].Target != "/b/8" || rs[1].Body != nil || s.Counts().Complete != 9 {
		t.Errorf("remembered\n%s%+v", rs, s.Counts())
	}
	if a := c.Do(ask("HEAD", "/b/7")); a.Length != 5 {
		t.Errorf("HEAD: %s", a.RawHead)
	}
	mustStatus(t, c.Do(ask("GET", "/b/7")), 500)
}

func TestNoHash(t *testing.T) {
	s := New(t, NoHash())
	a := Dial(t, s.Addr()).Do(put("/b/k", "hello"))
	if a.Headers.Get("ETag") != fmt.Sprintf(`"%032x"`, 5) {
		t.Errorf("answer %s", a.RawHead)
	}
}
