package engine

import (
	"fmt"
	"sync"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// leftOf is what the process would leave behind of conditional writes, in turn: "a may have it", or "a has
// it, b is to get it".
func (l *ledger) leftOf() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.left {
		if p.Unacknowledged {
			list = append(list, fmt.Sprintf("%b may have it", p.Owed))
		} else {
			list = append(list, fmt.Sprintf("%b has it, %b is to get it", p.Took, p.Owed))
		}
	}
	return list
}

// R29: a process that is killed leaves behind who decides before that may have the write, and that it has
// taken it before any other one may have it.
func TestR29LeavesTheDecision(t *testing.T) {
	t.Parallel()
	for name, body := range bodies {
		for _, refuses := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " refused ", refuses), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 3, decidedBy)
				gate := make(chan struct{})
				open := sync.OnceFunc(func() { close(gate) })
				defer open()
				r.stores[0].Behave(stub.Behaviour{Gate: gate})
				want := []string{"1 may have it"}
				if refuses {
					r.stores[0].Behave(stub.Behaviour{Gate: gate, Status: 412})
				} else {
					want = append(want, "1 has it, 110 is to get it")
				}
				for _, s := range r.stores[1:] {
					s.BehaveFunc(func(*stub.Request) stub.Behaviour {
						// Of a large one they have all but the end.
						if got := r.journal.leftOf(); name == "small" && fmt.Sprint(got) != fmt.Sprint(want) {
							t.Errorf("when another one has it: %q", got)
						}
						return stub.Behaviour{}
					})
				}
				client := r.dial()
				client.Send(conditional("PUT", "/b/k", body))
				r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
				if got := r.journal.leftOf(); fmt.Sprint(got) != fmt.Sprint(want[:1]) {
					t.Errorf("while it is being decided: %q", got)
				}
				open()
				if _, err := client.ReadAnswer(); err != nil {
					t.Fatal(err)
				}
				r.settled()
				if got := r.journal.leftOf(); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("in the end: %q, want %q", got, want)
				}
			})
		}
	}
}

// So it does where another one has taken the decider's place; of a plain write there is nothing to say.
func TestR29LeavesWhoDecidesInstead(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	r.stores[0].Down()
	client := r.dial()
	wantStatus(t, client.Do(putRequest("/b/other", "body")), 200)
	wantStatus(t, client.Do(conditional("PUT", "/b/k", "body")), 200)
	r.settled()
	if got := fmt.Sprint(r.journal.leftOf()); got != "[1 may have it 10 may have it]" && got != "[1 may have it 10 may have it 10 has it, 1 is to get it]" {
		t.Errorf("it leaves %s", got)
	}
}

// R29, R30: what the decider has taken is shown from there, and brought to the others, also where the
// client was told that too few have it (WriteAck): a read may have shown it before.
func TestR29R30TakenAndNotAcknowledged(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, reading(policy, 1, 2), func(o *Options, _ *limiter.Options) { o.WriteAck = AckAll })
			for _, s := range r.stores {
				s.Put("/b/k", []byte("before"))
			}
			r.stores[1].BehaveNext(stub.Fails(503))
			client := r.dial()
			wantStatus(t, client.Do(conditional("PUT", "/b/k", "after")), 503)
			for range 4 {
				wantRead(t, client, "after")
			}
			r.settled()
			if e := r.journal.newest("b", "k"); e.Unacknowledged || e.Took != 1 || e.Owed != 2 {
				t.Errorf("in the journal: %+v", e)
			}
		})
	}
}
