package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// What a decider may have stored that gave no answer is not shown, nor decides it the next
// condition: repair may undo it.
func TestR29R30AnUndecidedWriteIsNotShown(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		for what, b := range map[string]stub.Behaviour{
			"no answer": {Store: stub.StoreAlways, Cut: stub.CutReset, CutAt: stub.NoAnswer},
			"500":       {Store: stub.StoreAlways, Status: 500},
		} {
			t.Run(policy+" "+what, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 3, decidedBy, reading(policy))
				for _, s := range r.stores {
					s.Put("/b/k", []byte("before"))
				}
				r.stores[0].BehaveNext(b)
				client := r.dial()
				if a := client.Do(conditional("PUT", "/b/k", "undecided")); a.Status < 500 {
					t.Fatalf("answer is %d", a.Status)
				}
				wantStored(t, r.stores[0], "/b/k", "undecided")
				for range 8 {
					a := client.Do(requestFor("GET", "/b/k"))
					wantStatus(t, a, 200)
					if string(a.Body) != "before" {
						t.Fatalf("it reads %q", a.Body)
					}
				}
				r.stores[0].BehaveFunc(func(q *stub.Request) stub.Behaviour {
					if q.Method == "PUT" { // what it had was undecided
						return stub.Behaviour{Status: 412}
					}
					return stub.Behaviour{}
				})
				wantStatus(t, client.Do(conditional("PUT", "/b/k", "decided")), 200)
				if a := client.Do(requestFor("GET", "/b/k")); string(a.Body) != "decided" {
					t.Errorf("then it reads %q", a.Body)
				}
				r.settled()
			})
		}
	}
}

// While a conditional write is being decided the decider may show it already, and is not asked; who
// is asked once its client was told is who has it.
func TestR29R30ReadsBesideADecision(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, reading(policy))
			for _, s := range r.stores {
				s.Put("/b/k", []byte("before"))
			}
			held := make(chan struct{})
			defer close(held)
			open := gatedNext(t, r.stores[0])
			writer, reader := r.dial(), r.dial()
			writer.Send(conditional("PUT", "/b/k", "after"))
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			wantStored(t, r.stores[0], "/b/k", "after")
			for range 8 {
				if a := reader.Do(requestFor("GET", "/b/k")); string(a.Body) != "before" {
					t.Fatalf("it reads %q", a.Body)
				}
			}
			r.stores[1].BehaveFunc(func(q *stub.Request) stub.Behaviour {
				if q.Method == "PUT" {
					return stub.Behaviour{Gate: held}
				}
				return stub.Behaviour{}
			})
			open()
			if a, err := writer.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
			for range 8 {
				if a := reader.Do(requestFor("GET", "/b/k")); string(a.Body) != "after" {
					t.Fatalf("once it was told it reads %q", a.Body)
				}
			}
		})
	}
}

// A read that was on its way to the decider before the write, and sees it there, is answered once that
// is decided: else who reads after it, and is asked elsewhere, would see less.
func TestR29R30ReadsOvertakenByADecision(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		undecided bool
		late      bool // the answer comes once it is decided
		want      string
	}{
		"it is taken": {false, false, "after"}, "nobody knows": {true, false, "before"},
		"it was taken": {false, true, "after"}, "nobody knew": {true, true, "before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, reading(ReadPrefer, 2, 1), waitsLong)
			for _, s := range r.stores {
				s.Put("/b/k", []byte("before"))
			}
			answers, gate, decision := make(chan struct{}), make(chan struct{}), make(chan struct{})
			answer, decide := sync.OnceFunc(func() { close(gate) }), sync.OnceFunc(func() { close(decision) })
			defer answer()
			defer decide()
			r.stores[0].BehaveFunc(func(q *stub.Request) stub.Behaviour {
				switch {
				case q.Method == "GET":
					return stub.Behaviour{Gate: gate, Body: []byte("after")}
				case tt.undecided:
					return stub.Behaviour{Gate: decision, Store: stub.StoreAlways, Cut: stub.CutReset, CutAt: stub.NoAnswer}
				}
				return stub.Behaviour{Gate: decision}
			})
			var first *stub.Answer
			go func() {
				defer close(answers)
				first = r.dial().Do(requestFor("GET", "/b/k"))
			}()
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			writer := r.dial()
			writer.Send(conditional("PUT", "/b/k", "after"))
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 2 })
			if !tt.late {
				answer()
				r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			}
			if a := r.dial().Do(requestFor("GET", "/b/k")); string(a.Body) != "before" {
				t.Errorf("who comes later reads %q", a.Body)
			}
			select {
			case <-answers:
				t.Errorf("the first one has read %q by then", first.Body)
			default:
			}
			decide()
			if _, err := writer.ReadAnswer(); err != nil {
				t.Error(err)
			}
			answer()
			if testkit.Receive(t, "an answer", answers); string(first.Body) != tt.want {
				t.Errorf("it reads %d %q", first.Status, first.Body)
			}
			r.settled()
		})
	}
}

// Where the decider alone owes nothing it is asked all the same.
func TestR29R30ReadsOfTheOnlyDecider(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	r.stores[0].Put("/b/k", []byte("new"))
	r.stores[1].Put("/b/k", []byte("old"))
	r.journal.owe("b", "k", 0b10)
	gate := make(chan struct{})
	r.stores[0].BehaveNext(stub.Behaviour{Gate: gate, Store: stub.StoreNever, Status: 412})
	writer := r.dial()
	writer.Send(conditional("PUT", "/b/k", "after"))
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	if a := r.dial().Do(requestFor("GET", "/b/k")); a.Status != 200 || string(a.Body) != "new" {
		t.Errorf("it reads %d %q", a.Status, a.Body)
	}
	close(gate)
	if a, err := writer.ReadAnswer(); err != nil || a.Status != 412 {
		t.Fatal(a, err)
	}
	if n := r.e.writes.alone.Load(); n != 0 {
		t.Errorf("%d are being decided at rest", n)
	}
}

// A gateway that has given up waiting has not ended what it was waiting for: what follows does not
// go there (R19). A storage's own error has.
func TestR19BehindAGatewaysTimeout(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int{500: 2, 502: 1, 503: 2, 504: 1} {
		r := newRig(t, 2)
		gate := make(chan struct{})
		r.stores[1].BehaveNext(stub.Behaviour{Gate: gate, Status: status})
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/b/k", "one")), 200)
		wantStatus(t, client.Do(putRequest("/b/k", "two")), 200)
		close(gate)
		r.settled()
		if n := len(r.stores[1].Requests()); n != want {
			t.Errorf("after %d: %d came", status, n)
		}
		if e := r.journal.newest("b", "k"); want == 1 && e.Owed != 0b10 {
			t.Errorf("after %d: in the journal: %+v", status, e)
		}
	}
}

// A message that went out on a kept-alive connection may have been acted on, although the second
// connection could not be made (R12).
func TestR12R19FirstAttemptCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.warm(stub.Behaviour{})
	gate := make(chan struct{})
	defer close(gate)
	r.stores[0].BehaveNext(stub.Behaviour{Status: 403})
	r.stores[1].BehaveNext(stub.Behaviour{Store: stub.StoreAlways, Gate: gate})
	client := r.dial()
	client.Send(putRequest("/b/k", "one"))
	r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	wantStored(t, r.stores[1], "/b/k", "one")
	r.stores[1].Down()
	wantStatus(t, client.Answer(), 403)
	r.settled()
	if e := r.journal.newest("b", "k"); e.Owed&0b10 == 0 || !e.Unacknowledged {
		t.Errorf("in the journal: %+v", e)
	}
}

// A backend that is at an earlier write of the key for long takes the next one out of turn where the
// client's answer depends on it. What that leaves of their order is recorded.
func TestR19OutOfTurnRatherThanRefused(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 100*time.Millisecond, func(t testing.TB, unit time.Duration) {
		r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.ConnectionTimeout, o.StallTimeout = unit, time.Hour })
		const size = 200 << 10 // that takes the second one 20 units
		r.stores[1].BehaveNext(stub.Behaviour{ReadRate: int(size * time.Second / (20 * unit))})
		client := r.dial()
		wantStatus(t, client.Do(putRequest("/b/k", pattern(size))), 200)
		r.stores[0].BehaveNext(stub.Behaviour{Status: 503})
		wantStatus(t, client.Do(putRequest("/b/k", "two")), 200)
		if n := r.e.InFlight(); n != 1 {
			t.Errorf("%d are under way: the first one did not take longer", n)
		}
		var all []string
		for _, d := range r.settled() {
			all = append(all, fmt.Sprint(d.Status, " ", d.Error))
		}
		if got := strings.Join(all, ", "); !strings.Contains(got, outcome.OutOfOrder) || !strings.Contains(got, "503 answered 503") {
			t.Errorf("records: %s", got)
		}
		if e := r.journal.newest("b", "k"); e.Owed == 0 {
			t.Errorf("in the journal: %+v", e)
		}
	})
}
