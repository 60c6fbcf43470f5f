package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

const resumedTag = `"e1"`

// parts makes a storage that has an object, whole or from a byte on, and breaks off after so
// many bytes of an answer; -1 is never.
func parts(s *stub.Server, object, etag string, cut stub.Cut, after int64) {
	s.BehaveFunc(partsOf(object, etag, cut, after))
}

func partsOf(object, etag string, cut stub.Cut, after int64) func(q *stub.Request) stub.Behaviour {
	return func(q *stub.Request) stub.Behaviour {
		b := stub.Behaviour{Status: 200, Headers: stub.H("ETag", etag), Body: []byte(object)}
		if after >= 0 {
			b.Cut, b.CutAt = cut, after
		}
		if match := q.Headers.Get("If-Match"); match != "" && match != etag {
			return stub.Fails(412)
		}
		var from int
		if _, err := fmt.Sscanf(q.Headers.Get("Range"), "bytes=%d-", &from); err == nil && from < len(object) {
			b.Status, b.Body = 206, []byte(object[from:])
			b.Headers = stub.H("ETag", etag, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(object)-1, len(object)))
		}
		return b
	}
}

// R30: an answer that breaks off is gone on with from another backend, unseen by the client.
func TestR30Resumption(t *testing.T) {
	t.Parallel()
	object := pattern(300_000)
	for _, policy := range []string{ReadAll, ReadPrefer} {
		for _, cut := range []stub.Cut{stub.CutClose, stub.CutReset} {
			for _, after := range []int64{0, 1, 100_000, 299_999} {
				t.Run(fmt.Sprint(policy, cut, after), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, 2, reading(policy, 2, 1))
					parts(r.stores[0], object, resumedTag, cut, after)
					parts(r.stores[1], object, resumedTag, 0, -1)
					if policy == ReadAll { // the second one must not win
						gate := make(chan struct{})
						defer close(gate)
						of := partsOf(object, resumedTag, 0, -1)
						r.stores[1].BehaveFunc(func(q *stub.Request) stub.Behaviour {
							if q.Headers.Get("Range") == "" {
								return stub.Behaviour{Gate: gate}
							}
							return of(q)
						})
					}
					a := r.dial().Do(requestFor("GET", "/b/k"))
					wantStatus(t, a, 200)
					if string(a.Body) != object {
						t.Fatalf("%d bytes came, of %d, or others", len(a.Body), len(object))
					}
					if n := r.metrics.count("read " + ReadResumed); n != 1 {
						t.Errorf("%d resumptions are counted", n)
					}
					var last *stub.Request
					for _, q := range r.stores[1].Requests() {
						if last == nil || q.Headers.Get("Range") != "" {
							last = q
						}
					}
					var from int64 // a reset may have overtaken what was sent
					_, err := fmt.Sscanf(last.Headers.Get("Range"), "bytes=%d-", &from)
					if err != nil || from > after || from < after && cut != stub.CutReset || last.Headers.Get("If-Match") != resumedTag {
						t.Errorf("it was asked for %q, if it matches %q", last.Headers.Get("Range"), last.Headers.Get("If-Match"))
					}
				})
			}
		}
	}
}

// It may break off again, and the connections are as good as any afterwards.
func TestR30ResumptionGoesOn(t *testing.T) {
	t.Parallel()
	object := pattern(300_000)
	r := newRig(t, 3, reading(ReadPrefer, 3, 2, 1))
	parts(r.stores[0], object, resumedTag, stub.CutReset, 1000)
	parts(r.stores[1], object, resumedTag, stub.CutClose, 1000)
	parts(r.stores[2], object, resumedTag, 0, -1)
	c := r.dial()
	for range 5 {
		a := c.Do(requestFor("GET", "/b/k"))
		wantStatus(t, a, 200)
		if string(a.Body) != object {
			t.Fatalf("%d bytes came, of %d, or others", len(a.Body), len(object))
		}
		r.settled() // its connection is given back
	}
	if n := r.stores[2].Counts().Conns; n != 1 {
		t.Errorf("%d connections were made to the one that works", n)
	}
}

// R30: what is not the same object is never mixed with it.
func TestR30NoResumption(t *testing.T) {
	t.Parallel()
	object, other := pattern(300_000), strings.ToUpper(pattern(300_000))
	for _, tt := range []struct {
		name   string
		fields string
		second func(s *stub.Server)
		owes   bool
	}{
		{"another ETag", "", func(s *stub.Server) { parts(s, other, `"e2"`, 0, -1) }, false},
		{"another size", "", func(s *stub.Server) { parts(s, other[:299_000], resumedTag, 0, -1) }, false},
		{"it knows no If-Match", "", func(s *stub.Server) {
			s.Behave(stub.Behaviour{Status: 206, Headers: stub.H("ETag", `"e2"`, "Content-Range", contentRange(1000, 300_000)), Body: []byte(other[1000:])})
		}, false},
		{"it knows no Range", "", func(s *stub.Server) {
			s.Behave(stub.Behaviour{Status: 200, Headers: stub.H("ETag", resumedTag), Body: []byte(object)})
		}, false},
		{"another range", "", func(s *stub.Server) {
			s.Behave(stub.Behaviour{Status: 206, Headers: stub.H("ETag", resumedTag, "Content-Range", contentRange(1001, 300_001)), Body: []byte(other[1000:])})
		}, false},
		{"it has none", "", func(s *stub.Server) { s.Behave(stub.Fails(404)) }, false},
		{"it gives no answer", "", func(s *stub.Server) { s.Behave(stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}) }, false},
		{"it owes the key", "", func(s *stub.Server) { parts(s, object, resumedTag, 0, -1) }, true},
		{"the client's own range", "Range: bytes=0-\r\n", func(s *stub.Server) { parts(s, object, resumedTag, 0, -1) }, false},
		{"the client's own condition", "If-Match: " + resumedTag + "\r\n", func(s *stub.Server) { parts(s, object, resumedTag, 0, -1) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, reading(ReadPrefer, 2, 1))
			parts(r.stores[0], object, resumedTag, stub.CutReset, 1000)
			tt.second(r.stores[1])
			if tt.owes {
				r.journal.owe("b", "k", 2)
			}
			c := r.dial()
			c.Send("GET /b/k HTTP/1.1\r\nHost: s3.test\r\n" + tt.fields + "\r\n")
			a, err := c.ReadAnswer()
			if err == nil {
				t.Fatalf("an answer has ended well with %d bytes", len(a.Body))
			}
			if a != nil && (len(a.Body) > 1000 || string(a.Body) != object[:len(a.Body)]) {
				t.Errorf("%d bytes came, or others", len(a.Body))
			}
		})
	}
}
