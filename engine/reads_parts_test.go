package engine

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// What is owed of a part of an object, or of a setting of a bucket, is not read where it is owed; the rest is (R30).
func TestR30ReadsOfParts(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{ReadAll, ReadPrefer, ReadSpread, ReadFastest} {
		for path, owing := range map[string]string{
			"/b/k?tagging": "tagging", "/b/k?acl": "acl", "/b/k?retention": "retention", "/b/k?legal-hold": "legal-hold",
			"/b?policy": "policy", "/b/?versioning": "versioning", "/b/k": "acl", "/b?list-type=2": "policy", "/b/k?tagging&x=y": "acl",
		} {
			t.Run(policy+" "+path, func(t *testing.T) {
				t.Parallel()
				var owed atomic.Uint64
				r := newRig(t, 2, decidedBy, reading(policy), func(o *Options, _ *limiter.Options) {
					o.OwedPart = func(bucket, _, target []byte) uint64 {
						if string(bucket) != "b" || !strings.Contains(string(target), owing) {
							return 0
						}
						return owed.Load()
					}
				})
				for _, s := range r.stores {
					s.Behave(stub.Behaviour{Status: 200})
				}
				r.journal.busy.Store(true)
				is := strings.Contains(path, owing)
				ask := func(status int) {
					t.Helper()
					for range 16 {
						wantStatus(t, r.dial().Do(requestFor("GET", path)), status)
					}
					r.settled()
				}
				owed.Store(0b01)
				ask(200)
				if asked(r.stores[0], path) == is {
					t.Errorf("who owes %s was asked for %s: %v", owing, path, is)
				}
				r.limiter.SetMaintained(1, true)
				if is {
					ask(503)
				} else {
					ask(200)
				}
			})
		}
	}
}
