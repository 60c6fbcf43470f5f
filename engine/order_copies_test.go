package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

// A copy right behind a write to its source, and writes to that right behind the copy, come to each
// backend in that order: nobody lacks the copy, or has copied something else (R19, R30).
func TestR30CopyInItsSourcesOrder(t *testing.T) {
	t.Parallel()
	source := putRequest("/b/src", "source")
	conditionalCopy := strings.Replace(copyRequest("/b/k", "/b/src"), "\r\n\r\n", "\r\nIf-None-Match: *\r\n\r\n", 1)
	for _, tt := range []struct {
		name string
		then []string // after the gate was shut
		want []string
	}{
		{"overwritten", []string{source, copyRequest("/b/k", "/b/src"), putRequest("/b/src", "newer")}, []string{"PUT /b/src source", "PUT /b/k ", "PUT /b/src newer"}},
		{"moved", []string{source, copyRequest("/b/k", "/b/src"), requestFor("DELETE", "/b/src")}, []string{"PUT /b/src source", "PUT /b/k ", "DELETE /b/src "}},
		{"conditional", []string{source, conditionalCopy, requestFor("DELETE", "/b/src")}, []string{"PUT /b/src source", "PUT /b/k ", "DELETE /b/src "}},
		{"twice overwritten", []string{source, putRequest("/b/src", "source"), copyRequest("/b/k", "/b/src")}, []string{"PUT /b/src source", "PUT /b/src source", "PUT /b/k "}},
		{"tagged", []string{source, putRequest("/b/src?tagging", "<Tagging/>"), copyRequest("/b/k", "/b/src")}, []string{"PUT /b/src source", "PUT /b/src?tagging <Tagging/>", "PUT /b/k "}},
		{"a name that may mean two", []string{putRequest("/b/a+c", "source"), copyRequest("/b/k", "b/a+c")}, []string{"PUT /b/a+c source", "PUT /b/k "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 3, decidedBy)
			for _, s := range r.stores {
				s.Put("/b/src", []byte("older"))
				s.Put("/b/a%20c", []byte("the other name's"))
			}
			open := gated(t, r.stores[1])
			client := r.dial()
			for _, request := range tt.then {
				if a := client.Do(request); a.Status/100 != 2 {
					t.Fatalf("%.40q: %d %s", request, a.Status, a.Body)
				}
			}
			open()
			if list := r.settled(); len(list) != 0 {
				t.Errorf("records: %+v", list)
			}
			for _, s := range r.stores {
				if got := lines(s); !slices.Equal(got, tt.want) {
					t.Errorf("storage %s had %q, want %q", s.Addr(), got, tt.want)
				}
				if o, _ := s.Object("/b/k"); tt.name != "tagged" && string(o.Body) != "source" { // to a stub tags are content
					t.Errorf("storage %s has copied %q", s.Addr(), o.Body)
				}
			}
			r.wantOwing()
			r.wantNoOverlaps()
		})
	}
}

// Where the write to the source has failed in the end nothing older is copied: the copy is owed.
func TestR30CopyBehindAWriteThatFails(t *testing.T) {
	t.Parallel()
	for _, then := range []string{"", putRequest("/b/src?tagging", "<Tagging/>")} {
		t.Run(fmt.Sprint(len(then) > 0), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 3)
			for _, s := range r.stores {
				s.Put("/b/src", []byte("older"))
			}
			gate := make(chan struct{})
			r.stores[1].BehaveNext(stub.Behaviour{Gate: gate, Status: 500})
			client := r.dial()
			wantStatus(t, client.Do(putRequest("/b/src", "source")), 200)
			if then != "" {
				wantStatus(t, client.Do(then), 200)
			}
			wantStatus(t, client.Do(copyRequest("/b/k", "/b/src")), 200)
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			close(gate)
			r.settled()
			wantAbsent(t, r.stores[1], "/b/k")
			if _, ok := r.stores[2].Object("/b/k"); !ok {
				t.Error("who has the source has not copied it")
			}
			r.wantOwing("PUT src 10 answered 500", "PUT k 10 "+ReasonSource)
			if n := r.metrics.count(OutcomeDeferred); n != 1 {
				t.Errorf("%d deferred", n)
			}
			r.wantNoOverlaps()
		})
	}
}

// A copy beside a write to its source: each backend may have copied what was before, or what came after, and their
// ETags need not tell, as of other tags, or metadata (R19).
func TestR19CopyBesideAWriteToItsSource(t *testing.T) {
	t.Parallel()
	for _, write := range []string{putRequest("/b/src", "source"), putRequest("/b/src?tagging", "source"), copyRequest("/b/src", "/b/src")} {
		for _, first := range []bool{true, false} { // the write begins
			t.Run(fmt.Sprintf("%.24q %t", write, first), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2)
				for _, s := range r.stores {
					s.Put("/b/src", []byte("source"))
				}
				requests := []string{write, copyRequest("/b/k", "/b/src")}
				if !first {
					slices.Reverse(requests)
				}
				opens := []func(){gatedNext(t, r.stores[0]), gatedNext(t, r.stores[1])}
				held, other := r.dial(), r.dial()
				held.Send(requests[0])
				for _, s := range r.stores {
					s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
				}
				wantStatus(t, other.Do(requests[1]), 200)
				for _, open := range opens {
					open()
				}
				if a, err := held.ReadAnswer(); err != nil || a.Status != 200 {
					t.Fatal(a, err)
				}
				r.wantOwing("PUT k 11 concurrent writes")
				if n := concurrentWrites(r.records.list()); n != 1 {
					t.Errorf("%d records: %+v", n, r.records.list())
				}
				r.wantNoOverlaps()
			})
		}
	}
}

// A backend is not behind for long where a copy waits for a slow one: repair, and whoever changes the source
// on a condition, see no write in a copy of it.
func TestR30CopyKeepsOutNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	wantStatus(t, r.put("/b/src", "source"), 200)
	r.settled()
	open := gated(t, r.stores[1])
	client := r.dial()
	wantStatus(t, client.Do(copyRequest("/b/k", "/b/src")), 200)
	if !r.e.BeginRepair("b", "src") {
		t.Fatal("repair is kept out")
	}
	if !r.e.SealRepair("b", "src") {
		t.Fatal("a copy counts as a write")
	}
	wantStatus(t, client.Do(copyRequest("/b/l", "/b/src")), 200)
	if !r.e.EndRepair("b", "src") {
		t.Error("a copy counts as a write")
	}
	if r.e.BeginRepair("b", "k") {
		t.Error("repair sees no copy")
	}
	if r.e.writes.underWay(hashKey("b", "src")) {
		t.Error("a copy counts as a write")
	}
	own := new(turn)
	if r.e.writes.tryBeginAlone(own, hashKey("b", "src"), writer{}, 1, true) != nil {
		t.Fatal("a conditional write waits for a copy")
	}
	r.e.writes.decided(own.hash, 1)
	r.e.writes.leave(own)
	open()
	r.settled()
	r.wantOwing()
	r.wantNoOverlaps()
}
