package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
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
	r := newRig(t, 2, decidedBy, func(o *Options, _ *limiter.Options) { o.briefWait = time.Millisecond })
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

// Reads wait for nothing in a bucket that the second storage has made only: its 404 is no answer, a list of
// buckets is the other one's, and a list of versions, which is the primary's, waits for what is under way there.
func TestR30ReadsInNewBuckets(t *testing.T) {
	t.Parallel()
	t.Run("others are asked", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2)
		open := gated(t, r.stores[1])
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/new", "")), 200)
		for _, path := range []string{"/new/none", "/new/none?tagging", "/", "/new?list-type=2"} {
			a := client.Do(requestFor("GET", path))
			if !asked(r.stores[0], path) {
				t.Errorf("GET %s is answered %d, and not by the storage that has the bucket", path, a.Status)
			}
			if asked(r.stores[1], path) {
				t.Errorf("GET %s is asked of a storage that does not have the bucket", path)
			}
		}
		open()
		r.settled()
	})
	t.Run("a list of versions", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2, decidedBy, waitsLong)
		open := gated(t, r.stores[0])
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/b/k", "one")), 200)
		r.awaitHeld(0)
		answers := make(chan *stub.Answer, 1)
		go func() { answers <- r.dial().Do(requestFor("GET", "/b?versions")) }()
		until(t, "the list is being handled", func() bool { return r.e.handling.Load() == 1 })
		if asked(r.stores[0], "/b?versions") {
			t.Error("the list did not wait for the write")
		}
		open()
		testkit.Receive(t, "an answer", answers)
		r.settled()
		if !asked(r.stores[0], "/b?versions") {
			t.Error("the list is not the primary's")
		}
	})
	t.Run("a list of versions beside other writers", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2, decidedBy, waitsLong)
		gates := map[string]chan struct{}{"/b/1": make(chan struct{}), "/b/2": make(chan struct{})}
		r.stores[0].BehaveFunc(func(q *stub.Request) stub.Behaviour { return stub.Behaviour{Gate: gates[q.Target]} })
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/b/1", "one")), 200)
		r.awaitHeld(0)
		answers, last := make(chan *stub.Answer, 1), r.e.nextID.Load()
		go func() { answers <- r.dial().Do(requestFor("GET", "/b?versions")) }()
		until(t, "the list has begun", func() bool { return r.e.nextID.Load() > last })
		wantStatus(t, client.Do(putRequest("/b/2", "one")), 200) // the list did not have it when it was asked for
		close(gates["/b/1"])
		until(t, "the primary is asked for the list", func() bool { return asked(r.stores[0], "/b?versions") })
		testkit.Receive(t, "an answer", answers)
		close(gates["/b/2"])
		r.settled()
	})
}

// waitsLong has requests wait for as long as it takes.
func waitsLong(o *Options, _ *limiter.Options) { o.briefWait = 10 * patience }

// asked reports whether a storage was asked for a target.
func asked(s *stub.Server, target string) bool {
	return slices.ContainsFunc(s.Requests(), func(q *stub.Request) bool { return q.Method == "GET" && q.Target == target })
}

// Under ReadPolicy all the id of the version that a read tells is the primary's, if it comes soon.
func TestR28ReadsTellThePrimarysVersion(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD"} {
		for wait, want := range map[time.Duration]string{time.Hour: "v0", time.Nanosecond: "v1"} {
			t.Run(fmt.Sprint(method, " ", wait), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2, decidedBy, func(o *Options, _ *limiter.Options) { o.PrimaryWait = wait })
				for _, s := range r.stores {
					s.Put("/b/k", []byte("body"))
				}
				gate := make(chan struct{})
				r.versioned(func(i int, b *stub.Behaviour) {
					if i == 0 {
						b.Gate = gate
					}
				})
				answers := make(chan *stub.Answer, 1)
				go func() { answers <- r.dial().Do(requestFor(method, "/b/k")) }()
				if r.legsEnded(OutcomePositive, 1); want == "v0" {
					close(gate)
				}
				if a := testkit.Receive(t, "an answer", answers); a.Status != 200 || a.Headers.Get("x-amz-version-id") != want {
					t.Errorf("%d %v, want %s", a.Status, a.Headers, want)
				}
				if want != "v0" {
					close(gate)
				}
				r.settled()
			})
		}
	}
}

// gateOwnKeys has each storage wait at its own key, "/b/" and its number, until its gate is closed.
func (r *rig) gateOwnKeys() (gates [2]chan struct{}) {
	for i, s := range r.stores {
		gate := make(chan struct{})
		gates[i] = gate
		s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
			if q.Target == fmt.Sprint("/b/", i) {
				return stub.Behaviour{Gate: gate}
			}
			return stub.Behaviour{}
		})
	}
	return gates
}

// A bucket is removed right behind its keys, of which each storage is still at another one.
func TestR29BucketIsRemovedBehindItsKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, waitsLong)
	gates := r.gateOwnKeys()
	client := r.dial()
	for i := range r.stores {
		wantStatus(t, client.Do(requestFor("DELETE", fmt.Sprint("/b/", i))), 204)
	}
	answers := make(chan *stub.Answer, 1)
	go func() { answers <- r.dial().Do(requestFor("DELETE", "/b")) }()
	until(t, "the bucket's is being handled", func() bool { return r.e.handling.Load() == 1 })
	for _, gate := range gates {
		close(gate)
	}
	wantStatus(t, testkit.Receive(t, "an answer", answers), 204)
	r.settled()
}

// An upload that is begun right behind its bucket is the primary's, if that has the bucket soon; and a list of a
// bucket of whose keys each storage is still at another one has all of them.
func TestR28R30BrieflyAwaited(t *testing.T) {
	t.Parallel()
	t.Run("the primary", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2, decidedBy, waitsLong)
		open := gated(t, r.stores[0])
		wantStatus(t, r.dial().Do(putRequest("/new", "")), 200)
		r.awaitHeld(0)
		answers := make(chan *stub.Answer, 1)
		go func() { answers <- r.dial().Do(requestFor("POST", "/new/k?uploads")) }()
		until(t, "the upload's is being handled", func() bool { return r.e.handling.Load() == 1 || len(answers) > 0 })
		open()
		wantStatus(t, testkit.Receive(t, "an answer", answers), 200)
		r.settled()
		if len(r.stores[0].Uploads()) != 1 {
			t.Error("the upload is not the primary's")
		}
	})
	t.Run("a list", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, 2, waitsLong)
		gates := r.gateOwnKeys()
		client := r.dial()
		for i := range r.stores {
			wantStatus(t, client.Do(putRequest(fmt.Sprint("/b/", i), "")), 200)
			r.awaitHeld(i)
		}
		answers := make(chan *stub.Answer, 1)
		go func() { answers <- r.dial().Do(requestFor("GET", "/b?list-type=2")) }()
		until(t, "the list is being handled", func() bool { return r.e.handling.Load() == 1 || len(answers) > 0 })
		if asked(r.stores[0], "/b?list-type=2") || asked(r.stores[1], "/b?list-type=2") {
			t.Error("a storage is asked that lacks a key")
		}
		close(gates[0])
		testkit.Receive(t, "an answer", answers)
		if !asked(r.stores[0], "/b?list-type=2") || asked(r.stores[1], "/b?list-type=2") {
			t.Error("it is not the list of the storage that has all keys")
		}
		close(gates[1])
		r.settled()
	})
}
