package engine

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// lines are the requests that a storage has had, in order, without reads.
func lines(s *stub.Server) (list []string) {
	for _, q := range s.Requests() {
		list = append(list, q.Method+" "+q.Target+" "+string(q.Body))
	}
	return list
}

// One client, one write after the other, while the second storage hangs in the first of them:
// the others come to it in that order, and nothing is a divergence.
func TestR19LegsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	list := deleteRequestOf("k", "other")
	_, listed, _ := strings.Cut(list, "\r\n\r\n")
	contentType, form := formOf("f", "two", "key", "k")
	posted := formRequest("/b", contentType, form)
	waits := func(request string) string {
		return strings.Replace(request, "Host:", "Expect: 100-continue\r\nHost:", 1)
	}
	for _, tt := range []struct {
		name string
		then []string // after a PUT
		want []string
	}{
		{"PUT", []string{putRequest("/b/k", "two"), putRequest("/b/k", "three")}, []string{"PUT /b/k two", "PUT /b/k three"}},
		{"DELETE, PUT", []string{requestFor("DELETE", "/b/k"), putRequest("/b/k", "two")}, []string{"DELETE /b/k ", "PUT /b/k two"}},
		{"tags and ACL", []string{putRequest("/b/k?tagging", "<Tagging/>"), putRequest("/b/k?acl", "<a/>"), putRequest("/b/k", "two"), requestFor("DELETE", "/b/k?tagging")},
			[]string{"PUT /b/k?tagging <Tagging/>", "PUT /b/k?acl <a/>", "PUT /b/k two", "DELETE /b/k?tagging "}},
		{"a copy", []string{"PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nX-Amz-Copy-Source: /b/src\r\nContent-Length: 0\r\n\r\n", requestFor("DELETE", "/b/k")},
			[]string{"PUT /b/k ", "DELETE /b/k "}},
		{"a list", []string{list, putRequest("/b/other", "two")}, []string{"POST /b?delete " + listed, "PUT /b/other two"}},
		{"a list, asked for", []string{waits(list), putRequest("/b/other", "two")}, []string{"POST /b?delete " + listed, "PUT /b/other two"}},
		{"a form", []string{posted, putRequest("/b/k", "three")}, []string{"POST /b " + form, "PUT /b/k three"}},
		{"a form, asked for", []string{waits(posted), putRequest("/b/k", "three")}, []string{"POST /b " + form, "PUT /b/k three"}},
		{"conditional", []string{conditional("PUT", "/b/k", "two"), putRequest("/b/k", "three")}, []string{"PUT /b/k two", "PUT /b/k three"}},
		{"half a ring", []string{putRequest("/b/k", pattern(200<<10)), requestFor("DELETE", "/b/k")}, []string{"PUT /b/k " + pattern(200<<10), "DELETE /b/k "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy)
			for _, s := range r.stores {
				s.Put("/b/src", []byte("source"))
			}
			open := gated(t, r.stores[1])
			client := r.dial()
			wantStatus(t, client.Do(putRequest("/b/k", "one")), 200)
			for _, request := range tt.then {
				if a := client.Do(request); a.Status/100 != 2 {
					t.Fatalf("%.40q: %d %s", request, a.Status, a.Body)
				}
			}
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && rs.Held() == 1 })
			for _, s := range r.limiter.Status(r.e.now() + int64(time.Hour)) {
				if s.Stalled > 1 { // the first one
					t.Errorf("%d legs of %s count as stalled", s.Stalled, s.Name)
				}
			}
			open()
			if list := r.settled(); len(list) != 0 {
				t.Errorf("records: %+v", list)
			}
			want := append([]string{"PUT /b/k one"}, tt.want...)
			for _, s := range r.stores {
				if got := lines(s); !slices.Equal(got, want) {
					t.Errorf("storage %s had %.300q, want %.300q", s.Addr(), got, want)
				}
			}
			if list := r.journal.owing(); len(list) != 0 {
				t.Errorf("owed: %+v", list)
			}
			r.wantNoOverlaps()
		})
	}
}

// Forty writes of one key in a row, while one backend takes its time.
func TestR19FortyInARow(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	open := gated(t, r.stores[1])
	client := r.dial()
	for i := range 40 {
		wantStatus(t, client.Do(putRequest("/b/k", fmt.Sprint("write ", i))), 200)
	}
	open()
	if list := r.settled(); len(list) != 0 {
		t.Fatalf("records: %+v", list)
	}
	for _, s := range r.stores {
		for i, line := range lines(s) {
			if want := fmt.Sprint("PUT /b/k write ", i); line != want {
				t.Fatalf("storage %s had %q, want %q", s.Addr(), line, want)
			}
		}
		wantStored(t, s, "/b/k", "write 39")
	}
	r.wantNoOverlaps()
}

// What is too large to wait in its ring, or is too far behind, is deferred: the client is not
// held back, and the backend owes it. What comes after it keeps its place.
func TestR19Deferred(t *testing.T) {
	t.Parallel()
	for _, body := range []string{pattern(1 << 20), pattern(300 << 10)} {
		r := newRig(t, 2)
		open := gated(t, r.stores[1])
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/b/k", "one")), 200)
		wantStatus(t, client.Do(putRequest("/b/k", body)), 200)
		wantStatus(t, client.Do(putRequest("/b/other", body)), 200)
		open()
		if list := r.settled(); len(list) != 1 || list[0].Path != "/b/k" || !strings.HasPrefix(list[0].Error, "deferred") || list[0].FailedHost != r.host(1) {
			t.Fatalf("records: %+v", list)
		}
		r.wantOwing("PUT k 10 " + errDeferred.Error())
		wantStored(t, r.stores[1], "/b/k", "one")
		wantStored(t, r.stores[1], "/b/other", body)
		if n := r.metrics.count(OutcomeDeferred); n != 1 {
			t.Errorf("%d deferred", n)
		}
		r.wantNoOverlaps()
	}
}

// A queue for one key has an end.
func TestR19QueueIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	open := gated(t, r.stores[1])
	client := r.dial()
	for i := range maxWaiting + 11 { // the first of which does not wait
		wantStatus(t, client.Do(putRequest("/b/k", fmt.Sprint("write ", i))), 200)
	}
	until(t, "ten are deferred", func() bool { return r.metrics.count(OutcomeDeferred) == 10 })
	open()
	if list := r.settled(); len(list) != 10 || !strings.HasPrefix(list[0].Error, "deferred") {
		t.Fatalf("records: %+v", list)
	}
	if n := len(r.stores[1].Requests()); n != maxWaiting+1 {
		t.Errorf("%d came", n)
	}
}

// A leg does not wait longer than for a backend.
func TestR19WaitsForSoLong(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 100*time.Millisecond, func(t testing.TB, unit time.Duration) {
		r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.ConnectionTimeout = unit })
		r.stores[1].Behave(stub.Behaviour{HangAfterBody: true})
		client := r.dial()
		for _, body := range []string{"one", "two", "three"} {
			wantStatus(t, client.Do(putRequest("/b/k", body)), 200)
		}
		list := r.settled()
		// What the first one's end is, nobody knows: what follows must not come before that.
		if n := r.metrics.count(OutcomeDeferred); len(list) != 3 || n != 2 {
			t.Fatalf("%d deferred, records: %+v", n, list)
		}
		if n := len(r.stores[1].Requests()); n != 1 {
			t.Errorf("%d came", n)
		}
	})
}

// Whatever becomes of the first leg, those that wait for it go on.
func TestR19EarlierLegFails(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]stub.Behaviour{
		"refused": {Status: 403},
		"failed":  {Status: 500},
		"slow":    {Status: 503},
	} {
		r := newRig(t, 2)
		gate := make(chan struct{})
		first.Gate = gate
		r.stores[1].BehaveNext(first)
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/b/k", "one")), 200)
		wantStatus(t, client.Do(putRequest("/b/k", "two")), 200)
		close(gate)
		if list := r.settled(); len(list) != 1 || list[0].Status != first.Status {
			t.Fatalf("%s: records: %+v", name, list)
		}
		r.wantAllStored("/b/k", "two")
		r.wantNoOverlaps()
	}
}

// A client that leaves while its leg waits, and the end of the proxy.
func TestR19WaitingIsCutShort(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	gated(t, r.stores[1])
	wantStatus(t, r.put("/b/k", "one"), 200)
	gone := r.dial()
	gone.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 100\r\n\r\nabc")
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 2 })
	gone.Close()
	until(t, "it has ended", func() bool { return r.e.InFlight() == 1 })
	wantStatus(t, r.put("/b/k", "two"), 200)
	if err := within(t, r.shutdown(time.Millisecond)); err == nil {
		t.Error("nothing was cut")
	}
	list := r.records.list()
	if len(list) != 2 || list[0].FailedHost != r.host(1) || list[1].FailedHost != r.host(1) {
		t.Errorf("records: %+v", list)
	}
	if n := len(r.stores[1].Requests()); n != 1 {
		t.Errorf("%d came", n)
	}
}

// Clients write to a key of their own each, one thing after the other, while backends answer
// in any order and take their time: nothing overlaps for anybody, so that each backend has it
// all in order, and nothing is recorded.
func TestR19AnyOrderOfAnswers(t *testing.T) {
	t.Parallel()
	const clients, each = 4, 25
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	// On a busy machine the backends that take their time lag behind for so long that they are deferred (R13).
	r := newRig(t, 3, func(o *Options, _ *limiter.Options) { o.Limiter = &crowdedLimiter{} }) // nobody is crowded
	var slow sync.WaitGroup
	for _, s := range r.stores[1:] {
		var gates []chan struct{}
		for range clients * each {
			gate := make(chan struct{})
			gates = append(gates, gate)
			s.BehaveNext(stub.Behaviour{Gate: gate})
		}
		order := random.Perm(len(gates))
		// Any of the next few may be the first: as many may be held, for they are of other keys.
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(a/clients, b/clients) })
		slow.Go(func() {
			for n, i := range order {
				if n%clients == 0 {
					s.Wait(t, func(rs stub.Requests) bool { return len(rs) > n }) // they are on their way
				}
				close(gates[i])
			}
		})
	}
	want := make([][]string, clients)
	var wg sync.WaitGroup
	for c := range clients {
		random := rand.New(rand.NewPCG(seed, uint64(c+1)))
		client, key := r.dial(), fmt.Sprint("/b/", c)
		wg.Go(func() {
			for i := range each {
				request := putRequest(key, fmt.Sprint(i, " ", pattern(random.IntN(100<<10))))
				switch random.IntN(4) {
				case 0:
					request = requestFor("DELETE", key)
				case 1:
					request = putRequest(key+"?tagging", fmt.Sprint(i))
				}
				head, body, _ := strings.Cut(request, "\r\n\r\n")
				method, _, _ := strings.Cut(head, " HTTP")
				want[c] = append(want[c], method+" "+body)
				client.Send(request)
				if a, err := client.ReadAnswer(); err != nil || a.Status/100 != 2 {
					t.Errorf("%s: %v %v", method, a, err)
				}
			}
		})
	}
	testkit.Finish(t, "the clients end", wg.Wait)
	testkit.Finish(t, "all gates are open", slow.Wait)
	if list := r.settled(); len(list) != 0 {
		t.Errorf("records: %+v", list)
	}
	for c := range clients {
		for _, s := range r.stores {
			got := slices.DeleteFunc(lines(s), func(l string) bool { return !strings.Contains(l, fmt.Sprint(" /b/", c)) })
			if !slices.Equal(got, want[c]) {
				t.Errorf("storage %s had other writes of key %d, or in another order", s.Addr(), c)
			}
		}
	}
	r.wantNoOverlaps()
}

// Where each backend still has one of two earlier writes, a small one waits for the first that
// is free, and a large one goes on at once: its client's answer comes first.
func TestR19AllBackendsAreBusy(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"three", pattern(1 << 20)} {
		r := newRig(t, 2)
		gates := [2][2]chan struct{}{} // by storage and write
		for i, s := range r.stores {
			gates[i] = [2]chan struct{}{make(chan struct{}), make(chan struct{})}
			s.BehaveNext(stub.Behaviour{Gate: gates[i][0]}, stub.Behaviour{Gate: gates[i][1]})
		}
		clients := []*stub.Client{r.dial(), r.dial()}
		for n, client := range clients {
			client.Send(putRequest("/b/k", fmt.Sprint("write ", n)))
			for _, s := range r.stores {
				s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == n+1 })
			}
		}
		for n, client := range clients {
			close(gates[n][n])
			if a, err := client.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
		}
		third := r.dial()
		third.Send(putRequest("/b/k", body))
		large := len(body) > 1000
		if large {
			if a, err := third.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
		} else {
			until(t, "its legs wait", func() bool { return r.e.InFlight() == 3 && r.waiting("b", "k") == 1 })
		}
		close(gates[0][1])
		if !large {
			if a, err := third.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
		}
		close(gates[1][0])
		// The first two overlapped, and the large one with either.
		if list, n := r.settled(), concurrentWrites(r.records.list()); len(list) != n || large && n < 2 || !large && n != 1 {
			t.Errorf("%d bytes: records: %+v", len(body), list)
		}
		r.wantNoOverlaps()
	}
}

// waiting is how many writes to a key wait for their turn at any backend.
func (r *rig) waiting(bucket, key string) (n int) {
	hash := hashKey(bucket, key)
	s := r.e.writes.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.findLocked(hash); k != nil {
		for w := k.turns; w != nil; w = w.next {
			if w.waits != 0 {
				n++
			}
		}
	}
	return n
}

// A conditional write's follower does not come to a backend either where an earlier write may still land, whose leg
// has ended without an answer while the decider was asked (R29).
func TestR19R29FollowerBehindAnUnsureLeg(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	fails, decides := make(chan struct{}), make(chan struct{})
	r.stores[1].BehaveNext(stub.Behaviour{Gate: fails, Cut: stub.CutReset, CutAt: stub.NoAnswer})
	wantStatus(t, r.put("/b/k", "one"), 200)
	r.stores[0].BehaveNext(stub.Behaviour{Gate: decides})
	c := r.dial()
	c.Send(conditional("PUT", "/b/k", "two"))
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	close(fails)
	until(t, "the first write has ended", func() bool { return r.e.InFlight() == 1 })
	close(decides)
	wantStatus(t, c.Answer(), 200)
	r.settled()
	if n := len(r.stores[1].Requests()); n != 1 {
		t.Errorf("%d came", n)
	}
	if n := r.metrics.count(OutcomeDeferred); n != 1 {
		t.Errorf("%d deferred", n)
	}
	if owed := r.journal.newest("b", "k").Owed; owed != 0b10 {
		t.Errorf("owed by %b", owed)
	}
}
