package engine

import (
	"fmt"
	"sync"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

func domains(o *Options, _ *limiter.Options) { o.Domains = []string{"s3.test"} }

func concurrentWrites(list []Divergence) (n int) {
	for _, d := range list {
		if d.Error == "concurrent writes" {
			n++
		}
	}
	return n
}

// Two requests, the first of which is held at every storage until the second one
// is there.
func TestR19WritesThatOverlap(t *testing.T) {
	t.Parallel()
	put := func(target, host, more, body string) string {
		return fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", target, host, more, len(body), body)
	}
	plain := putRequest("/b/k", "one")
	tests := []struct {
		name          string
		first, second string
		overlap       bool
	}{
		{"PUT PUT", plain, putRequest("/b/k", "two"), true},
		{"PUT DELETE", plain, requestFor("DELETE", "/b/k"), true},
		{"DELETE PUT", requestFor("DELETE", "/b/k"), plain, true},
		{"DELETE DELETE", requestFor("DELETE", "/b/k"), requestFor("DELETE", "/b/k"), true},
		{"the same body", plain, plain, true},
		{"path and virtual host", plain, put("/k", "b.s3.test", "", "two"), true},
		{"virtual host with a port, other case", plain, put("/k", "b.S3.Test:8080", "", "two"), true},
		{"two virtual hosts", put("/k", "b.s3.test", "", "two"), put("/k", "c.s3.test", "", "two"), false},
		{"absolute form", plain, put("http://s3.test/b/k", "s3.test", "", "two"), true},
		{"encoded", putRequest("/b/a%20%C3%BC%2fz", "x"), putRequest("/b/a%20%c3%bc/z", "x"), true},
		{"encoded letters", putRequest("/b/%6B", "x"), plain, true},
		{"encoded twice is another key", putRequest("/b/%256B", "x"), plain, false},
		{"another query", plain, putRequest("/b/k?x-id=PutObject", "x"), true},
		{"copy onto it", plain, put("/b/k", "s3.test", "x-amz-copy-source: /b/src\r\n", ""), true},
		{"different keys", plain, putRequest("/b/k2", "two"), false},
		{"different buckets", plain, putRequest("/b2/k", "two"), false},
		{"a slash more", plain, putRequest("/b//k", "two"), false},
		{"PUT and its ACL", plain, putRequest("/b/k?acl", "two"), true},
		{"tags and DELETE", putRequest("/b/k?tagging", "one"), requestFor("DELETE", "/b/k"), true},
		{"tags twice", putRequest("/b/k?tagging", "one"), putRequest("/b/k?tagging", "two"), true},
		{"tags given and taken", putRequest("/b/k?tagging", "one"), requestFor("DELETE", "/b/k?tagging"), true},
		{"tags and multi-object delete", putRequest("/b/k?tagging", "one"), deleteRequestOf("other", "k"), true},
		{"tags and ACL", putRequest("/b/k?tagging", "one"), putRequest("/b/k?acl", "two"), false},
		{"tags of a version", putRequest("/b/k?tagging&versionId=v", "one"), putRequest("/b/k?tagging&versionId=w", "two"), false},
		{"reading", plain, requestFor("GET", "/b/src"), false},
		{"reading it", plain, requestFor("HEAD", "/b/k"), false},
		{"a part", plain, putRequest("/b/k?partNumber=1&uploadId=u", "two"), false},
		{"multi-object delete", plain, deleteRequestOf("other", "k"), true},
		{"multi-object delete first", deleteRequestOf("other", "k"), plain, true},
		{"two multi-object deletes", deleteRequestOf("a", "ü k"), deleteRequestOf("ü k", "b"), true},
		{"multi-object delete of others", plain, deleteRequestOf("other", "k2"), false},
		{"multi-object delete of one key twice", deleteRequestOf("k", "k"), putRequest("/b/k2", "two"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2, domains)
			gate := make(chan struct{})
			open := sync.OnceFunc(func() { close(gate) })
			t.Cleanup(open)
			for _, s := range r.stores {
				s.Put("/b/src", []byte("source"))
				s.BehaveNext(stub.Behaviour{Gate: gate})
			}
			a, b := r.dial(), r.dial()
			a.Send(tt.first)
			for _, s := range r.stores {
				s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			}
			b.Do(tt.second)
			for _, s := range r.stores {
				s.WaitDone(t, 2-1)
			}
			if n := concurrentWrites(r.records.list()); n > 0 {
				t.Fatal("recorded before both have ended")
			}
			open()
			if a, err := a.ReadAnswer(); err != nil || a.Status/100 != 2 {
				t.Fatal(a, err)
			}
			list := r.settled()
			want := 0
			if tt.overlap {
				want = 1
			}
			if concurrentWrites(list) != want {
				t.Fatalf("%d records of concurrent writes, want %d: %+v", concurrentWrites(list), want, list)
			}
			for _, d := range list {
				if d.Error == "concurrent writes" && (d.SuccessHost == d.FailedHost || d.FailedHost == "" || d.Op != OpStoring || d.Bucket != "b" || d.Key == "" || d.ID == "") {
					t.Fatalf("record %+v", d)
				}
			}
		})
	}
}

// wantNoOverlaps: the table of writes under way is empty at rest.
func (r *rig) wantNoOverlaps() {
	r.t.Helper()
	r.settled()
	for i := range r.e.writes.shards {
		s := &r.e.writes.shards[i]
		s.mu.Lock()
		if s.keys != nil {
			r.t.Errorf("writes under way at rest: %+v", *s.keys)
		}
		s.mu.Unlock()
	}
}

// A write that nobody took overlaps with nothing, and one whose client has gone
// neither.
func TestR19FailedWritesDoNotCount(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	gate := make(chan struct{})
	for _, s := range r.stores {
		s.BehaveNext(stub.Behaviour{Gate: gate}, stub.Fails(403))
	}
	first := r.dial()
	first.Send(putRequest("/b/k", "one"))
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}
	wantStatus(t, r.put("/b/k", "two"), 403)
	gone := r.dial()
	gone.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 100\r\n\r\nabc")
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return len(rs) == 3 })
	}
	gone.Close()
	until(t, "the third has ended", func() bool { return r.e.InFlight() == 1 })
	close(gate)
	if a, err := first.ReadAnswer(); err != nil || a.Status != 200 {
		t.Fatal(a, err)
	}
	if list := r.settled(); len(list) > 0 {
		t.Fatalf("records: %+v", list)
	}
	r.wantAllStored("/b/k", "one")
	r.wantNoOverlaps()
}

// Each of two overlapping writes is taken by another storage.
func TestR19EachTakenByAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	gate := make(chan struct{})
	r.stores[0].BehaveNext(stub.Behaviour{Gate: gate}, stub.Fails(500))
	r.stores[1].BehaveNext(stub.Fails(500), stub.Behaviour{})
	first := r.dial()
	first.Send(putRequest("/b/k", "one"))
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	r.stores[1].WaitDone(t, 1)
	wantStatus(t, r.put("/b/k", "two"), 200)
	close(gate)
	if a, err := first.ReadAnswer(); err != nil || a.Status != 200 {
		t.Fatal(a, err)
	}
	list := r.settled()
	if len(list) != 3 || concurrentWrites(list) != 1 {
		t.Fatalf("records: %+v", list)
	}
}

// Many writers to few keys: whatever the storages end up with, each key whose
// copies differ is in the records.
func TestR19WhateverDiffersIsRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	var wg sync.WaitGroup
	for c := range 8 {
		client := r.dial()
		wg.Go(func() {
			for i := range 25 {
				client.Send(putRequest(fmt.Sprint("/b/k", i%5), fmt.Sprint("client ", c, " write ", i)))
				if a, err := client.ReadAnswer(); err != nil || a.Status != 200 {
					t.Errorf("%v %v", a, err)
					return
				}
			}
		})
	}
	testkit.Finish(t, "all goroutines end", wg.Wait)
	recorded := map[string]bool{}
	for _, d := range r.settled() {
		recorded[d.Path] = recorded[d.Path] || d.Error == "concurrent writes"
	}
	for path, o := range r.stores[0].Objects() {
		other, _ := r.stores[1].Object(path)
		if other.SHA256 != o.SHA256 && !recorded[path] {
			t.Errorf("%s differs, and nobody said so", path)
		}
	}
	r.wantNoOverlaps()
}
