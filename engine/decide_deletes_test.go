package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// conditionalDelete is a request to delete these keys, each under a condition.
func conditionalDelete(keys ...string) string {
	var b strings.Builder
	b.WriteString("<Delete>")
	for i, k := range keys {
		condition := []string{"<ETag>e</ETag>", "<Size>1</Size>", "<LastModifiedTime>Thu, 01 Jan 2026 00:00:00 GMT</LastModifiedTime>"}[i%3]
		b.WriteString("<Object><Key>" + k + "</Key>" + condition + "</Object>")
	}
	return postDelete(b.String() + "</Delete>")
}

// deletedKeys are some few, and more than fit into the ring.
func deletedKeys() map[string][]string {
	many := []string{"a", "b", "c"}
	for i := range 900 {
		many = append(many, fmt.Sprintf("%0100d", i))
	}
	return map[string][]string{"few": {"a", "b", "c"}, "many": many}
}

func (r *rig) putAll(keys []string) {
	for _, s := range r.stores {
		for _, k := range keys {
			s.Put("/b/"+k, []byte("x"))
		}
	}
}

func smallRing(o *Options, _ *limiter.Options) { o.RingSize = 16 << 10 }

// R29: one backend decides the conditions in a multi-object delete. The others get the list if
// it has deleted all; if not, they owe what it has deleted, and delete nothing else.
func TestR29Deletes(t *testing.T) {
	t.Parallel()
	for name, keys := range deletedKeys() {
		for _, tt := range []struct {
			name   string
			answer stub.Behaviour
			status int
			others bool     // they get the list
			owed   []string // of the others
		}{
			{"all deleted", stub.Behaviour{}, 200, true, nil},
			{"not there", deleteAnswer(nil, "a|NoSuchKey"), 200, true, nil},
			{"some refused", deleteAnswer(nil, append([]string{"b|PreconditionFailed"}, refusedKeys(keys[3:])...)...), 200, false, []string{"a", "c"}},
			{"all refused", deleteAnswer(nil, refusedKeys(keys)...), 200, false, nil},
			{"refused", stub.Fails(403), 403, false, nil},
			{"overloaded", stub.Fails(503), 503, false, nil},
		} {
			for _, ack := range []string{AckFirst, AckAll} {
				t.Run(fmt.Sprint(name, " ", tt.name, " ", ack), func(t *testing.T) {
					r := newRig(t, 3, decidedBy, smallRing, func(o *Options, _ *limiter.Options) { o.WriteAck = ack })
					r.putAll(keys)
					r.stores[0].Behave(tt.answer)
					wantStatus(t, r.dial().Do(conditionalDelete(keys...)), tt.status)
					r.settled()
					for _, s := range r.stores[1:] {
						if n := len(s.Objects()); tt.others != (n == 0) || !tt.others && n != len(keys) {
							t.Errorf("%d objects are left of %d", n, len(keys))
						}
					}
					var owed []string
					for _, e := range r.journal.owing() {
						if owed = append(owed, string(e.Key)); e.Owed != 0b110 || e.Unacknowledged {
							t.Errorf("of %s is owed %b, unacknowledged %v", e.Key, e.Owed, e.Unacknowledged)
						}
					}
					if slices.Sort(owed); !slices.Equal(owed, tt.owed) {
						t.Errorf("owed are %d, the first ones %q; want %q", len(owed), owed[:min(3, len(owed))], tt.owed)
					}
					r.wantNoOverlaps()
				})
			}
		}
	}
}

func refusedKeys(keys []string) (list []string) {
	for _, k := range keys {
		list = append(list, k+"|PreconditionFailed")
	}
	return list
}

// What a follower refuses it owes, and the client does not hear of it.
func TestR29DeletesFollowerRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	r.putAll([]string{"a", "b"})
	r.stores[1].Behave(deleteAnswer([]string{"a"}, "b|PreconditionFailed"))
	a := r.dial().Do(conditionalDelete("a", "b"))
	if wantStatus(t, a, 200); strings.Contains(string(a.Body), "Error") {
		t.Errorf("the client is told %s", a.Body)
	}
	r.settled()
	if e := r.journal.newest("b", "b"); e.Owed != 0b10 {
		t.Errorf("in the journal: %+v", e)
	}
	if e := r.journal.newest("b", "a"); e.Owed != 0 {
		t.Errorf("in the journal: %+v", e)
	}
}

// Who decides, with and without 100 Continue.
func TestR29WhoDecidesDeletes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		set  func(r *rig)
		want int // the decider's place in the order, or -1
	}{
		{"the primary", func(*rig) {}, 0},
		{"it owes a key with a condition", func(r *rig) { r.journal.owe("b", "k", 0b001) }, 1},
		{"it owes a key without", func(r *rig) { r.journal.owe("b", "plain", 0b001) }, 0},
		{"it ignores conditions", func(r *rig) { r.e.SetIgnoring(0b001) }, 1},
		{"it refuses dials", func(r *rig) { r.stores[0].Down() }, 1},
		{"all owe a key", func(r *rig) { r.journal.owe("b", "k", 0b111) }, -1},
	} {
		for _, expect := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, " ", expect), func(t *testing.T) {
				wanted := make(chan string, 1)
				r := newRig(t, 3, decidedBy, func(o *Options, _ *limiter.Options) {
					o.Wanted = func(bucket, key string) { wanted <- bucket + "/" + key }
				})
				order := r.orderOf("b")
				tt.set(r)
				for i, s := range r.stores {
					b := stub.Fails(403)
					b.Headers = stub.H("X-Store", fmt.Sprint(i))
					s.Behave(b)
				}
				raw := postDelete("<Delete><Object><Key>plain</Key></Object><Object><Key>k</Key><ETag>e</ETag></Object></Delete>")
				if expect {
					raw = strings.Replace(raw, "Host:", "Expect: 100-continue\r\nHost:", 1)
				}
				a := r.dial().Do(raw)
				r.settled()
				if tt.want < 0 {
					wantStatus(t, a, 503)
					if got := testkit.Receive(t, "who wants the key", wanted); got != "b/k" {
						t.Errorf("repair is told of %q", got)
					}
				} else if wantStatus(t, a, 403); a.Headers.Get("X-Store") != fmt.Sprint(order[tt.want]) {
					t.Errorf("storage %s has decided, want %d", a.Headers.Get("X-Store"), order[tt.want])
				}
				r.wantNoOverlaps()
			})
		}
	}
}

// Conditional writes to one key run one after another, also those of lists; lists that name the
// same keys in another order do not wait for one another.
func TestR29DeletesRunAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	r.putAll([]string{"a", "b", "c"})
	gate := make(chan struct{})
	r.stores[0].BehaveNext(stub.Behaviour{Gate: gate})
	answers := make(chan *stub.Answer, 3)
	send := func(raw string) { go func() { answers <- r.dial().Do(raw) }() }
	send(conditionalDelete("a", "b"))
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && rs[0].Stage == stub.StageHeld })
	for _, key := range []string{"a", "b", "c"} { // a plain one does not wait
		if n := r.e.writes.underWay(hashKey([]byte("b"), key)); n != (key != "c") {
			t.Errorf("%s under way: %v", key, n)
		}
	}
	send(conditionalDelete("b", "a"))
	send(conditional("DELETE", "/b/b", ""))
	wantStatus(t, r.dial().Do(putRequest("/b/c", "plain")), 200)
	// The decider has the delete, and what is not about its keys.
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 2 })
	close(gate)
	for range 3 {
		if a := testkit.Receive(t, "an answer", answers); a.Status/100 != 2 {
			t.Errorf("answer is %d", a.Status)
		}
	}
	r.settled()
	for _, s := range r.stores {
		wantAbsent(t, s, "/b/a")
		wantAbsent(t, s, "/b/b")
	}
	r.wantNoOverlaps()
}
