package engine

import (
	"fmt"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// A decider that has surely not decided, since it cannot be reached or had not the whole
// message, is replaced by the next one in the bucket's order at once (R29).

// orderOf is the order of the bucket's backends behind the one that decidedBy fixes.
func (r *rig) orderOf(bucket string) (order []int) {
	for left := r.e.all; left != 0; {
		b := r.e.current().primaries.first([]byte(bucket), left)
		order = append(order, b)
		left &^= 1 << b
	}
	return order
}

// unreachable is how a decider fails that has not decided.
var unreachable = map[string]struct {
	large bool // with a body that does not fit into a socket's buffer alone
	fail  func(s *stub.Server)
}{
	"refuses dials":      {false, (*stub.Server).Down},
	"resets connections": {true, func(s *stub.Server) { s.RefuseAccept(true); s.CloseIdle() }},
	"dies in mid-body":   {true, func(s *stub.Server) { s.Behave(stub.Behaviour{During: stub.ResetThere, After: 100 << 10}) }},
	"closes in mid-body": {true, func(s *stub.Server) { s.Behave(stub.Behaviour{During: stub.CloseThere, After: 100 << 10}) }},
}

func TestR29NextDecides(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{"small": "body", "large": pattern(16 << 20)}
	for how, f := range unreachable {
		for name, body := range bodies {
			if f.large && name != "large" {
				continue
			}
			for down := 1; down <= 3; down++ {
				for _, status := range []int{200, 412} {
					for _, ack := range []string{AckFirst, AckAll} {
						t.Run(fmt.Sprint(how, " ", name, " ", down, " ", status, " ", ack), func(t *testing.T) {
							t.Parallel()
							testNextDecides(t, body, f.fail, down, status, ack)
						})
					}
				}
			}
		}
	}
}

func testNextDecides(t *testing.T, body string, fail func(*stub.Server), down, status int, ack string) {
	r := newRig(t, 3, decidedBy, func(o *Options, _ *limiter.Options) { o.WriteAck = ack })
	c := r.dial()
	wantStatus(t, c.Do(putRequest("/b/other", "x")), 200)
	r.settled()
	for _, s := range r.stores {
		s.WaitDone(t, 1) // its connection is idle then, and can be closed
	}
	order := r.orderOf("b")
	if order[0] != 0 {
		t.Fatalf("the order is %v", order)
	}
	for i, b := range order {
		if i < down {
			fail(r.stores[b])
		} else if i == down && status != 200 {
			r.stores[b].Behave(stub.Fails(status))
		}
	}
	want := status
	switch {
	case down == 3, status == 200 && ack == AckAll:
		want = 503
	}
	wantStatus(t, c.Do(conditional("PUT", "/b/k", body)), want)
	r.settled()
	var owed uint64
	for i, b := range order {
		if i >= down && status == 200 {
			wantStored(t, r.stores[b], "/b/k", body)
			continue
		}
		wantAbsent(t, r.stores[b], "/b/k")
		owed |= 1 << b
	}
	switch e := r.journal.newest("b", "k"); {
	case down == 3 || status != 200: // nothing is stored anywhere
		if owing := r.journal.owing(); len(owing) != 0 {
			t.Errorf("owed: %+v", owing)
		}
	case e.Owed != owed || e.Unacknowledged: // who has decided has taken it
		t.Errorf("in the journal: %+v, want %b owed", e, owed)
	}
	r.wantNoOverlaps()
}

// What a follower has refused before the decider fails decides, and one that has failed by
// then is passed over.
func TestR29NextHasAnswered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		second  stub.Behaviour
		outcome string
		want    int
	}{
		{"it has refused", stub.Behaviour{During: stub.AnswerAndDrain, Status: 412}, OutcomeNegative, 412},
		{"it has failed", stub.Behaviour{During: stub.ResetThere, After: 10 << 10}, OutcomeFailed, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 3, decidedBy)
			order := r.orderOf("b")
			r.stores[0].Behave(stub.Behaviour{During: stub.ResetThere, After: 1 << 20})
			r.stores[order[1]].Behave(tt.second)
			body := pattern(16 << 20)
			raw := conditional("PUT", "/b/k", body)
			c := r.dial()
			c.Send(raw[:1<<19])
			until(t, "the second one has ended", func() bool { return r.metrics.count(tt.outcome) == 1 })
			c.Send(raw[1<<19:])
			wantStatus(t, c.Answer(), tt.want)
			r.settled()
			for i, s := range r.stores {
				if i == order[2] && tt.want == 200 {
					wantStored(t, s, "/b/k", body)
				} else {
					wantAbsent(t, s, "/b/k")
				}
			}
			r.wantNoOverlaps()
		})
	}
}

// So it is with what has no body.
func TestR29NextDecidesADelete(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/b/k", "/b"} {
		r := newRig(t, 3, decidedBy)
		order := r.orderOf("b")
		for _, s := range r.stores {
			s.Put(path, nil)
		}
		r.stores[0].Down()
		r.stores[order[1]].Behave(stub.Fails(409))
		wantStatus(t, r.dial().Do(conditional("DELETE", path, "")), 409)
		r.settled()
		if n := len(r.stores[order[2]].Requests()); n != 0 {
			t.Errorf("%s: the last one was asked %d times", path, n)
		}
		r.stores[order[1]].Behave(stub.Behaviour{})
		wantStatus(t, r.dial().Do(conditional("DELETE", path, "")), 204)
		r.settled()
		wantAbsent(t, r.stores[order[2]], path)
	}
}

// Who owes the key, or ignores conditions, is not the next one.
func TestR29WhoIsNext(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(r *rig, b uint64){
		"it owes the key":       func(r *rig, b uint64) { r.journal.owe("b", "k", b) },
		"it ignores conditions": func(r *rig, b uint64) { r.e.SetIgnoring(b) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 3, decidedBy)
			order := r.orderOf("b")
			set(r, 1<<order[1])
			r.stores[0].Down()
			r.stores[order[1]].Behave(stub.Fails(409))
			r.stores[order[2]].Behave(stub.Fails(412))
			wantStatus(t, r.dial().Do(conditional("PUT", "/b/k", "body")), 412)
			r.settled()
			wantAbsent(t, r.stores[order[1]], "/b/k")
		})
	}
}
