package engine

import (
	"crypto/md5"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/content"
	"github.com/akubra/akubra/engine/outcome"
)

// knows is what the ledger has of a key, by method and ETag, in the order of stamps.
func (l *ledger) knows(bucket, key string) (list []string) {
	l.each(bucket, key, func(e *entry) {
		list = append(list, fmt.Sprintf("%s %.4s owed %d of %d", e.Method, e.ETag, e.Owed, e.Took))
	})
	return list
}

// each calls fn with what the ledger has of a key, in the order of stamps.
func (l *ledger) each(bucket, key string, fn func(e *entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range slices.Sorted(maps.Keys(l.entries)) {
		if e := l.entries[seq]; string(e.Bucket) == bucket && string(e.Key) == key {
			fn(e)
		}
	}
}

// held sends a request and returns once each backend has it. They answer the first behaviour of theirs when open is
// called, and what comes after it at once with the others.
func (r *rig) held(request string, answers func(backend int) []stub.Behaviour) (c *stub.Client, open func()) {
	r.t.Helper()
	gate := make(chan struct{})
	open = sync.OnceFunc(func() { close(gate) })
	r.t.Cleanup(open)
	for i, s := range r.stores {
		next := answers(i)
		next[0].Gate = gate
		s.BehaveNext(next...)
	}
	c = r.dial()
	c.Send(request)
	for _, s := range r.stores {
		s.Wait(r.t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}
	return c, open
}

// R19, R35: of writes that overlap the one that ends first, and well, owes nothing by itself.
// But its content may be what a backend is left with: the one that ends last tells of both.
func TestR35WritesThatOverlapAreAllKnown(t *testing.T) {
	t.Parallel()
	etag := func(body string) string { return fmt.Sprintf("%.4x", md5.Sum([]byte(body)))[:4] }
	one, two := etag("one"), etag("two")
	for _, tt := range []struct {
		name          string
		first, second string // the first is held until the second has ended
		fails         int    // status of the first one at backend 0, unless 0
		want          []string
	}{
		{"PUT PUT", putRequest("/b/k", "one"), putRequest("/b/k", "two"), 0,
			[]string{"PUT " + one + " owed 3 of 3", "PUT " + two + " owed 0 of 3"}},
		{"one of them fails on a backend", putRequest("/b/k", "one"), putRequest("/b/k", "two"), 403,
			[]string{"PUT " + one + " owed 1 of 2", "PUT " + two + " owed 0 of 3"}},
		{"DELETE PUT", requestFor("DELETE", "/b/k"), putRequest("/b/k", "two"), 0,
			[]string{"DELETE  owed 3 of 3", "PUT " + two + " owed 0 of 3"}},
		{"PUT, and a delete of many", putRequest("/b/k", "one"), deleteRequestOf("other", "k"), 0,
			[]string{"PUT " + one + " owed 3 of 3", "DELETE  owed 0 of 3"}},
		{"a delete of many, and PUT", deleteRequestOf("other", "k"), putRequest("/b/k", "two"), 0,
			[]string{"DELETE  owed 3 of 3", "PUT " + two + " owed 0 of 3"}},
		{"none of unknown outcome is beside it", putRequest("/b/k", "one"), "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 9\r\n\r\nab", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			a, open := r.held(tt.first, func(backend int) []stub.Behaviour {
				if backend == 0 {
					return []stub.Behaviour{{Status: tt.fails}}
				}
				return []stub.Behaviour{{}}
			})
			b := r.dial()
			b.Send(tt.second)
			if tt.want != nil {
				if answer, err := b.ReadAnswer(); err != nil || answer.Status/100 != 2 {
					t.Fatal(answer, err)
				}
			} else {
				for _, s := range r.stores {
					s.Wait(t, func(rs stub.Requests) bool { return len(rs) == 2 })
				}
				b.Close()
			}
			until(t, "the second has ended", func() bool { return r.e.InFlight() == 1 })
			open()
			if answer, err := a.ReadAnswer(); err != nil || answer.Status/100 != 2 {
				t.Fatal(answer, err)
			}
			r.settled()
			if got := r.journal.knows("b", "k"); !slices.Equal(got, tt.want) {
				t.Errorf("the journal knows %q, want %q", got, tt.want)
			}
			r.journal.each("b", "k", func(e *entry) {
				if !e.OverlapKnown {
					t.Errorf("%s %s: the journal does not know that this is all", e.Method, e.ETag)
				}
			})
			r.wantNoOverlaps()
		})
	}
}

// R16, R19: what all backends have refused is in no order, whether it is a write of its own or a key of
// a multi-object delete, whose answer is positive all the same. What one has deleted is.
func TestR19RefusedDeletesOverlapWithNothing(t *testing.T) {
	t.Parallel()
	refused, half := deleteAnswer([]string{"other"}, "k|AccessDenied"), deleteAnswer([]string{"other"}, "k|AccessDenied|v1")
	deletes := deleteRequestOf("k", "other")
	versions := postDelete("<Delete><Object><Key>k</Key><VersionId>v1</VersionId></Object><Object><Key>k</Key></Object></Delete>")
	for _, tt := range []struct {
		name          string
		first, second string         // the first is held until the second has ended
		one, two      stub.Behaviour // how they are answered
		want          int            // records that say so of the key
	}{
		{"both refused", deletes, deletes, refused, refused, 0},
		{"the first refused", deletes, putRequest("/b/k", "two"), refused, stub.Behaviour{}, 0},
		{"the second refused", putRequest("/b/k", "one"), deletes, stub.Behaviour{}, refused, 0},
		{"one of two versions", versions, putRequest("/b/k", "two"), half, stub.Behaviour{}, 1},
		{"of the second, too", putRequest("/b/k", "one"), versions, stub.Behaviour{}, half, 1},
		{"unreadable", deletes, putRequest("/b/k", "two"), stub.Behaviour{Status: 200, Body: []byte("ok")}, stub.Behaviour{}, 1},
		{"of unknown outcome", putRequest("/b/k", "one"), deletes, stub.Behaviour{}, stub.Fails(500), 1},
		{"both deleted", deletes, deletes, deleteAnswer([]string{"k", "other"}), deleteAnswer([]string{"k", "other"}), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			a, open := r.held(tt.first, func(int) []stub.Behaviour { return []stub.Behaviour{tt.one, tt.two} })
			r.dial().Do(tt.second)
			until(t, "the second has ended", func() bool { return r.e.InFlight() == 1 })
			open()
			if _, err := a.ReadAnswer(); err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, d := range r.settled() {
				if d.Key == "k" && d.Error == outcome.OutOfOrder {
					got++
				}
			}
			if got != tt.want {
				t.Errorf("%d records of concurrent writes, want %d: %+v", got, tt.want, r.settled())
			}
			r.wantNoOverlaps()
		})
	}
}

// R35: what overlapped with a write, and is to be told to the journal by it, is not known before.
func TestR35WhetherAllIsKnownBesideAWrite(t *testing.T) {
	t.Parallel()
	o := newOverlaps()
	var mine, other turn
	o.begin(&mine, 1, writer{})
	o.begin(&other, 1, writer{})
	o.end(&other, 3, true)
	o.endBeside(&other, &beside{stored: 3, landed: true, entry: &Promise{Seq: 1}})
	if is, known := o.overlapped(&mine); !is || known {
		t.Errorf("beside one that the journal is to be told of: overlapped %t, known %t", is, known)
	}
	own := Promise{Seq: 2, Owed: 3, Key: []byte("k"), ETag: []byte("e")}
	es := mine.entries(nil, &own)
	if last := es[len(es)-1]; es[0].Seq != 1 || len(es) != 2 || last.Seq != 2 || !last.OverlapKnown || last.Owed != 0 {
		t.Errorf("told: %+v", es)
	}
}

// R19, R35: what ended beside another write says since when its client was told, if legs were out then: what began
// after that comes behind it on each backend.
func TestR35WhatEndedBesideSaysWhenItWasTold(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"PUT": putRequest("/b/k", "one"), "a delete of many": deleteRequestOf("other", "k")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			late, later := make(chan struct{}), make(chan struct{})
			openLate, openLater := sync.OnceFunc(func() { close(late) }), sync.OnceFunc(func() { close(later) })
			t.Cleanup(openLate)
			t.Cleanup(openLater)
			r.stores[0].BehaveNext(stub.Behaviour{Gate: later})
			r.stores[1].BehaveNext(stub.Behaviour{Gate: later}, stub.Behaviour{Gate: late})
			a, b := r.dial(), r.dial()
			a.Send(putRequest("/b/k", "two"))
			for _, s := range r.stores {
				s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			}
			if answer := b.Do(first); answer.Status != 200 {
				t.Fatal(answer)
			}
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 2 })
			told := r.journal.Stamp(time.Now())
			openLate()
			until(t, "the first has ended", func() bool { return r.e.InFlight() == 1 })
			openLater()
			if answer, err := a.ReadAnswer(); err != nil || answer.Status != 200 {
				t.Fatal(answer, err)
			}
			r.settled()
			n := 0
			r.journal.each("b", "k", func(e *entry) {
				if n++; e.Owed == 0 && (e.Answered <= e.Seq || e.Answered >= told || e.Settled <= told) {
					t.Errorf("it began at %d, its client was told at %d, before %d, and it ended at %d", e.Seq, e.Answered, told, e.Settled)
				}
			})
			if n != 2 {
				t.Errorf("the journal knows %q", r.journal.knows("b", "k"))
			}
			r.wantNoOverlaps()
		})
	}
}

// R6, R35: a client that leaves once all bytes of the object have gone, but not the end of
// what frames them in chunks: some storages have stored it by then. That is of unknown
// outcome, and no divergence.
func TestR35ClientGoneInTheFrame(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body string
		want []string
	}{
		{"5;chunk-signature=0\r\nhello\r\n0;chunk-sig", []string{"PUT  owed 3 of 0"}},
		{"5;c", nil},
	} {
		r := newRig(t, 2)
		client := r.dial()
		client.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Encoding: aws-chunked\r\nX-Amz-Decoded-Content-Length: 5\r\nContent-Length: 100\r\n\r\n" + tt.body)
		for _, s := range r.stores {
			s.Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && rs[0].BodyBytes >= int64(len(tt.body)) })
		}
		client.Close()
		if list := r.settled(); len(list) != 0 {
			t.Errorf("%q: records %+v", tt.body, list)
		}
		if got := r.journal.knows("b", "k"); !slices.Equal(got, tt.want) {
			t.Errorf("%q: the journal knows %q, want %q", tt.body, got, tt.want)
		}
		if e := r.journal.newest("b", "k"); tt.want != nil && !e.Unacknowledged {
			t.Errorf("%q: nobody was told of it: %+v", tt.body, e)
		}
		r.wantNoOverlaps()
	}
}

// R23: what overlapping deletes of the same keys have to be told of each other takes each answer to be read
// once, and not for each key anew: an unsigned delete of 1,000 keys that is sent twice took seconds and
// hundreds of megabytes. It is no parallel test, so that all that is allocated is its own.
func TestR23DeletesOfTheSameKeys(t *testing.T) {
	keys := make([]string, content.MaxDeletes)
	for i := range keys {
		keys[i] = fmt.Sprintf("some/folder/object-%d", i)
	}
	r := newRig(t, 2)
	answer := deleteAnswer(keys)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a, open := r.held(deleteRequestOf(keys...), func(int) []stub.Behaviour { return []stub.Behaviour{answer, answer} })
	if answer := r.dial().Do(deleteRequestOf(keys...)); answer.Status != 200 {
		t.Fatal(answer)
	}
	until(t, "the second has ended", func() bool { return r.e.InFlight() == 1 })
	open()
	if answer, err := a.ReadAnswer(); err != nil || answer.Status != 200 {
		t.Fatal(answer, err)
	}
	r.settled()
	r.wantNoOverlaps()
	runtime.ReadMemStats(&after)
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 100 {
		t.Errorf("%d MB were allocated, want at most 100", mb)
	} else {
		t.Logf("%d MB were allocated", mb)
	}
	if got := r.journal.knows("b", keys[0]); len(got) != 2 {
		t.Errorf("the journal knows %q, want both deletes", got)
	}
}
