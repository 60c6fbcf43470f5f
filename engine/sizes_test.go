package engine

import (
	"fmt"
	"testing"
)

// R16: the size of an object made from parts is that of the parts that it is made from.
func TestR16SizeOfACompletedUpload(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		parts func(r *rig, id string, owner int) []string
		want  int64
	}{
		{"parts", func(r *rig, id string, _ int) []string {
			return []string{r.uploadPart("/b/k", id, 1, pattern(70000)), r.uploadPart("/b/k", id, 2, "last")}
		}, 70004},
		{"one was sent twice", func(r *rig, id string, _ int) []string {
			r.uploadPart("/b/k", id, 1, "much longer")
			return []string{r.uploadPart("/b/k", id, 1, "one")}
		}, 3},
		{"one is left out", func(r *rig, id string, _ int) []string {
			etag := r.uploadPart("/b/k", id, 1, "one")
			r.uploadPart("/b/k", id, 2, "two more")
			return []string{etag}
		}, 3},
		{"one went past the proxy", func(r *rig, id string, owner int) []string {
			etag := r.uploadPart("/b/k", id, 1, "one")
			a := r.stores[owner].Addr()
			return []string{etag, r.partPast(a, id, 2, "two")}
		}, 0},
		{"signed chunks", func(r *rig, id string, _ int) []string {
			a := r.dial().Do("PUT /b/k?partNumber=1&uploadId=" + id + " HTTP/1.1\r\nHost: s3.test\r\nx-amz-decoded-content-length: 5\r\nContent-Length: 9\r\n\r\nsomething")
			return []string{a.Headers.Get("ETag")}
		}, 5},
		{"a range that was copied", func(r *rig, id string, owner int) []string {
			r.stores[owner].Put("/b/src", []byte("source"))
			a := r.dial().Do("PUT /b/k?partNumber=1&uploadId=" + id + " HTTP/1.1\r\nHost: s3.test\r\nX-Amz-Copy-Source: b/src\r\nx-amz-copy-source-range: bytes=10-29\r\nContent-Length: 0\r\n\r\n")
			wantStatus(r.t, a, 200)
			return []string{etagOf("source")}
		}, 20}, // the stub copies all, whatever the range
		{"all of a source", func(r *rig, id string, owner int) []string {
			r.stores[owner].Put("/b/src", []byte("source"))
			wantStatus(r.t, r.dial().Do(copyRequest("/b/k?partNumber=1&uploadId="+id, "b/src")), 200)
			return []string{etagOf("source")}
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2)
			id, owner := r.initiate("/b/k")
			etags := tt.parts(r, id, owner)
			wantStatus(t, r.dial().Do(completeRequest("/b/k", id, etags...)), 200)
			list := r.settled()
			if len(list) != 1 || list[0].Size != tt.want {
				t.Fatalf("recorded: %+v, want size %d", list, tt.want)
			}
			if e := r.journal.owing(); len(e) != 1 || e[0].Size != tt.want {
				t.Fatalf("owed: %+v, want size %d", e, tt.want)
			}
		})
	}
}

// partPast sends a part to a storage, not through the proxy.
func (r *rig) partPast(addr, id string, number int, body string) (etag string) {
	r.t.Helper()
	c := r.dialTo(addr)
	a := c.Do(putRequest(fmt.Sprintf("/b/k?partNumber=%d&uploadId=%s", number, id), body))
	wantStatus(r.t, a, 200)
	return a.Headers.Get("ETag")
}

// The list of parts is read alike in whatever pieces it comes.
func TestPartListInPieces(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	id, owner := r.initiate("/b/k")
	etags := []string{r.uploadPart("/b/k", id, 1, "one"), r.uploadPart("/b/k", id, 2, "two 2")}
	request := completeRequest("/b/k", id, etags...)
	c := r.dial()
	for i := range len(request) {
		c.Send(request[i : i+1])
	}
	if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
		t.Fatal(a, err)
	}
	r.wantCompletion(owner, "/b/k", id, "k", 8)
}

func TestPartSizesAreOfTheRecentParts(t *testing.T) {
	t.Parallel()
	s := newPartSizes(100)
	for i := range 1000 {
		s.put("u", i, 1)
	}
	if got := s.sum("u", []int{998, 999}); got != 2 {
		t.Errorf("the last ones are %d", got)
	}
	if got := s.sum("u", []int{1, 999}); got != 0 {
		t.Errorf("with a forgotten one it is %d", got)
	}
	s.put("u", 999, 5)
	s.put("v", 999, -1)
	if got := s.sum("u", []int{999}); got != 5 {
		t.Errorf("the newer one is %d", got)
	}
	if got := s.sum("v", []int{999}); got != 0 {
		t.Errorf("what is not known is %d", got)
	}
}
