package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

// A client makes a bucket, or sets something of it, and goes on in it once it was told, while the second
// storage is still at that: what follows comes behind it there, and nothing is a divergence.
func TestR19BucketsComeFirst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		then []string // after the bucket is made
		want []string
	}{
		{"PUT", []string{putRequest("/new/k", "one"), putRequest("/new/l", "two")}, []string{"PUT /new/k one", "PUT /new/l two"}},
		{"a setting", []string{putRequest("/new?versioning", "<v/>"), putRequest("/new/k", "one")}, []string{"PUT /new?versioning <v/>", "PUT /new/k one"}},
		{"conditional", []string{conditional("PUT", "/new/k", "one")}, []string{"PUT /new/k one"}},
		{"a list", []string{strings.ReplaceAll(deleteRequestOf("k"), "/b?", "/new?")}, []string{"POST /new?delete "}},
		{"removed again", []string{requestFor("DELETE", "/new")}, []string{"DELETE /new "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy)
			open := gated(t, r.stores[1])
			client := r.dial()
			wantStatus(t, client.Do(putRequest("/new", "")), 200)
			for _, request := range tt.then {
				if a := client.Do(request); a.Status/100 != 2 {
					t.Fatalf("%.40q: %d %s", request, a.Status, a.Body)
				}
			}
			wantStatus(t, client.Do(putRequest("/other/k", "")), 200) // which waits for nothing
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return len(rs) == 2 && rs.Held() == 2 })
			open()
			if list := r.settled(); len(list) != 0 {
				t.Errorf("records: %+v", list)
			}
			for _, s := range r.stores {
				got := slices.DeleteFunc(lines(s), func(line string) bool { return strings.Contains(line, "/other") })
				if len(got) != 1+len(tt.want) || got[0] != "PUT /new " {
					t.Fatalf("storage %s had %.300q", s.Addr(), got)
				}
				for i, want := range tt.want {
					if tt.name != "PUT" && !strings.HasPrefix(got[1+i], want) || tt.name == "PUT" && !slices.Contains(got[1:], want) {
						t.Errorf("storage %s had %.300q, want %.300q", s.Addr(), got, tt.want)
					}
				}
			}
			if list := r.journal.owing(); len(list) != 0 {
				t.Errorf("owed: %+v", list)
			}
			r.wantNoBucketWrites()
		})
	}
}

// wantNoBucketWrites checks that the table of writes to buckets is empty.
func (r *rig) wantNoBucketWrites() {
	r.t.Helper()
	t := &r.e.ofBuckets
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.list != nil || t.count.Load() != 0 {
		r.t.Errorf("%d writes to buckets are under way", t.count.Load())
	}
}

// Only so many legs wait for a bucket, and none that is too large: the others are deferred. A backend
// that may or may not have made it gets nothing of what follows.
func TestR19BucketsKeepNobodyForLong(t *testing.T) {
	t.Parallel()
	t.Run("many", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2)
		open := gated(t, r.stores[1])
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/new", "")), 200)
		for i := range maxWaiting {
			wantStatus(t, client.Do(putRequest(fmt.Sprint("/new/", i), "")), 200)
		}
		wantStatus(t, client.Do(putRequest("/new/last", "")), 200)
		open()
		if list := r.settled(); len(list) != 1 || list[0].Path != "/new/last" || !strings.HasPrefix(list[0].Error, "deferred") {
			t.Errorf("records: %+v", list)
		}
		r.wantNoBucketWrites()
	})
	t.Run("unsure", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2)
		gate := make(chan struct{})
		r.stores[1].BehaveNext(stub.Behaviour{Gate: gate, Cut: stub.CutReset, CutAt: stub.NoAnswer})
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/new", "")), 200)
		wantStatus(t, client.Do(putRequest("/new/k", "one")), 200)
		close(gate)
		if list := r.settled(); len(list) != 2 {
			t.Errorf("records: %+v", list)
		}
		if got := lines(r.stores[1]); len(got) != 1 {
			t.Errorf("the storage had %q", got)
		}
		r.wantNoBucketWrites()
	})
}

// A primary that has not made the bucket yet speaks for nobody in it.
func TestR28PrimaryLacksTheBucket(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	open := gated(t, r.stores[0])
	client := r.dial()
	wantStatus(t, client.Do(putRequest("/new", "")), 200)
	if _, owner := r.initiate("/new/upload"); owner != 1 {
		t.Errorf("the upload is backend %d's", owner)
	}
	for _, request := range []string{requestFor("GET", "/new?versions"), requestFor("GET", "/new?uploads"), conditional("PUT", "/new/k", "one")} {
		if a := client.Do(request); a.Status != 200 {
			t.Errorf("%.40q: %d %s", request, a.Status, a.Body)
		}
	}
	open()
	if list := r.settled(); len(list) != 0 {
		t.Errorf("records: %+v", list)
	}
	if _, owner := r.initiate("/new/upload"); owner != 0 {
		t.Errorf("the next upload is backend %d's", owner)
	}
	r.wantNoBucketWrites()
}
