package engine

import (
	"fmt"
	"testing"

	"github.com/akubra/akubra/backends/stub"
)

// What the others call a version that a client names later is known to the journal, for each
// of them has an id of its own; what an answer only repeats is none.
func TestR35JournalKnowsTheVersionsOfTheOthers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		made, then string
		want       string
	}{
		{putRequest("/b/k", "body"), requestFor("DELETE", "/b/k?versionId=v0"), "1 v1, 2 v2"},
		{putRequest("/b/k", "body"), requestFor("DELETE", "/b/k?tagging&versionId=v0"), "1 v1, 2 v2"},
		{putRequest("/b/k", "body"), postDelete("<Delete><Object><Key>k</Key><VersionId>v0</VersionId></Object></Delete>"), "1 v1, 2 v2"},
		{requestFor("DELETE", "/b/k"), requestFor("DELETE", "/b/k?versionId=v0"), "1 v1, 2 v2"}, // a delete marker
		{putRequest("/b/k", "body"), requestFor("DELETE", "/b/k?versionId=other"), ""},
		{putRequest("/b/k?tagging", "body"), requestFor("DELETE", "/b/k?versionId=v0"), ""},
		{requestFor("DELETE", "/b/k?versionId=v0"), requestFor("DELETE", "/b/k?versionId=v0"), ""},
	} {
		r := newRig(t, 3, decidedBy)
		r.versioned(func(_ int, b *stub.Behaviour) { b.Body = []byte("<DeleteResult/>") })
		r.dial().Do(tt.made)
		r.settled()
		r.dial().Do(tt.then)
		r.settled()
		got := ""
		e := r.journal.newest("b", "k")
		for i, x := range e.ETags {
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprint(x.Backend, " ", string(x.ETag))
		}
		if got != tt.want {
			t.Errorf("%q, then %q: %q, want %q (%+v)", tt.made[:30], tt.then[:30], got, tt.want, e)
		}
	}
}
