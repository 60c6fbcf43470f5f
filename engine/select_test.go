package engine

import (
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// SelectObjectContent is a POST, but reads: what the backends make of it is no
// divergence (R15) and owed to nobody, and its events come as they come (R3).
func TestR15SelectIsNoWrite(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	gate := make(chan struct{})
	const events = "one event and another"
	r.stores[0].Behave(stub.Behaviour{Status: 501})
	r.stores[1].Behave(stub.Behaviour{Status: 200, Spaces: 5, BodyGate: gate, Body: []byte(events)})
	r.stores[2].Behave(stub.Behaviour{Status: 404})
	var begun []string
	for range 2 { // a connection that is new, and one that was used
		c := r.dial()
		for _, length := range []int{10, 200 << 10} {
			query := strings.Repeat("q", length)
			c.Send(strings.Replace(putRequest("/b/k?select&select-type=2", query), "PUT", "POST", 1))
			a, err := c.ReadHeadTo("POST")
			testkit.MustDo(t, err)
			wantStatus(t, a, 200)
			select {
			case <-gate:
			default:
				if _, err := c.ReadSome(a, 5); err != nil {
					t.Fatalf("no event came while there was none behind it: %v", err)
				}
				begun = append(begun, r.journal.underWay()...)
				close(gate)
			}
			if err := c.ReadBody(a); err != nil || strings.TrimLeft(string(a.Body), " ") != events {
				t.Fatalf("answer is %q, %v", a.Body, err)
			}
		}
	}
	r.wantNoRecords()
	if owed := r.journal.owing(); len(owed)+len(begun) > 0 || r.journal.last.Load() > 0 {
		t.Errorf("owed: %+v, begun: %v, stamps: %d", owed, begun, r.journal.last.Load())
	}
}

// Records and journal know a bucket by its name, however it is written (R27).
func TestR27RecordsHaveTheBucketsName(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.Domains = []string{"s3.test"} })
	r.stores[1].Behave(stub.Behaviour{Status: 500})
	for _, request := range []string{
		putRequest("/b%75cket/a%20k", "v"),
		strings.Replace(putRequest("/a%20k", "v"), "s3.test", "bucket.s3.test", 1),
		strings.Replace(putRequest("http://s3.test/b%75cket/a%20k", "v"), "PUT", "DELETE", 1),
	} {
		if a := r.dial().Do(request); a.Status/100 != 2 {
			t.Fatalf("answer is %d: %s", a.Status, a.Body)
		}
		r.settled()
	}
	list := r.records.list()
	if len(list) != 3 {
		t.Fatalf("%d records: %+v", len(list), list)
	}
	for _, d := range list {
		if d.Bucket != "bucket" || d.Key != "a k" {
			t.Errorf("bucket %q, key %q in the record of %s", d.Bucket, d.Key, d.Path)
		}
	}
	if got := r.journal.newest("bucket", "a k"); got.Owed == 0 {
		t.Errorf("the journal does not know what is owed: %+v", r.journal.owing())
	}
}
