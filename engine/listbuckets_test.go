package engine

import (
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

// The list of buckets does not come from a backend that has not removed one, or not made it (R30); what is owed
// in a bucket is no matter there.
func TestR30ListOfBuckets(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{ReadAll, ReadPrefer, ReadSpread, ReadFastest} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, reading(policy))
			list := func() { wantStatus(t, r.dial().Do(requestFor("GET", "/")), 200); r.settled() }
			for i, s := range r.stores {
				s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
					if i == 1 && q.Method == "DELETE" {
						return stub.Fails(409)
					}
					return stub.Behaviour{Status: 200}
				})
			}
			wantStatus(t, r.dial().Do(requestFor("DELETE", "/b")), 200)
			r.settled()
			for range 8 {
				list()
			}
			if asked(r.stores[1], "/") {
				t.Error("it comes from who has not removed a bucket")
			}
			r.journal.forget("b", "")
			r.stores[0].BehaveNext(stub.Fails(500))
			wantStatus(t, r.put("/b/k", "one"), 200) // which only the second one has
			r.settled()
			for range 64 {
				list()
			}
			r.journal.owe("b", "", 0b10) // as the synclog still says
			if policy == ReadAll || policy == ReadSpread {
				if !asked(r.stores[1], "/") {
					t.Error("who owes nothing of the list is not asked")
				}
			}
		})
	}
}
