package engine

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/limiter"
)

// removed has a bucket whose removal one of the storages owes.
type removed struct {
	owed, underWay atomic.Uint64
	asked          atomic.Pointer[func()] // may be nil
}

func (s *removed) setup(o *Options, _ *limiter.Options) {
	o.Removing = func(bucket []byte) (owed, underWay uint64) {
		if string(bucket) != "old" {
			return 0, 0
		}
		if asked := s.asked.Load(); asked != nil {
			defer (*asked)()
		}
		return s.owed.Load() | s.underWay.Load(), s.underWay.Load()
	}
}

// Where a storage owes the removal of a bucket, it has the old one: nothing that is done in the bucket goes
// there, but is owed, and it answers no read (R17, R30).
func TestR17OldBucketIsNotAsked(t *testing.T) {
	t.Parallel()
	var old removed
	r := newRig(t, 2, decidedBy, old.setup)
	old.owed.Store(2)
	client := r.dial()
	writes := []string{
		putRequest("/old", ""), putRequest("/old?versioning", "<v/>"), putRequest("/old/k", "one"), conditional("PUT", "/old/l", "one"),
		copyRequest("/b/n", "/old/k"), requestFor("DELETE", "/old/k?versionId=7"), requestFor("DELETE", "/old"),
		strings.ReplaceAll(deleteRequestOf("k"), "/b?", "/old?"), requestFor("POST", "/old/k?uploads"),
	}
	for _, request := range writes {
		if a := client.Do(request); a.Status/100 != 2 {
			t.Errorf("%.40q: %d %s", request, a.Status, a.Body)
		}
	}
	reads := []string{"/old/k", "/old", "/old?versions", "/old?versioning", "/old/k?versionId=7"}
	for _, target := range reads {
		if a := client.Do(requestFor("GET", target)); a.Status >= 500 { // the other one's answer
			t.Errorf("GET %s: %d %s", target, a.Status, a.Body)
		}
	}
	wantStatus(t, client.Do(putRequest("/b/k", "one")), 200) // of another bucket
	for _, d := range r.settled() {
		if d.Error != ReasonRemoval && d.Error != ReasonSource && d.Error != outcome.VersionOfAnother || d.FailedHost != r.host(1) {
			t.Errorf("record: %+v", d)
		}
	}
	if got := lines(r.stores[1]); !slices.Equal(got, []string{"PUT /b/k one"}) {
		t.Errorf("the storage had %q", got)
	}
	if got := lines(r.stores[0]); len(got) != len(writes)+len(reads)+1 {
		t.Errorf("the other one had %d: %q", len(got), got)
	}
	if list := r.journal.owing(); len(list) != 8 {
		t.Errorf("%d are owed: %+v", len(list), list)
	}
	old.owed.Store(0) // it is done
	wantStatus(t, client.Do(putRequest("/old/k", "two")), 200)
	r.settled()
	if got := lines(r.stores[1]); !slices.Contains(got, "PUT /old/k two") {
		t.Errorf("after it the storage had %q", got)
	}
}

// Where there is nobody else, the client is told to try again, also under StaleReads.
func TestR17NobodyButTheOldBucket(t *testing.T) {
	t.Parallel()
	var old removed
	r := newRig(t, 2, old.setup, func(o *Options, _ *limiter.Options) { o.StaleReads = StaleAllow })
	old.owed.Store(3)
	for _, request := range []string{putRequest("/old", ""), putRequest("/old/k", "one"), requestFor("GET", "/old/k"), requestFor("GET", "/old"), requestFor("HEAD", "/old")} {
		if a := r.dial().Do(request); a.Status != 503 {
			t.Errorf("%.40q: %d", request, a.Status)
		}
	}
	for _, s := range r.stores {
		if got := lines(s); len(got) != 0 {
			t.Errorf("storage %s had %q", s.Addr(), got)
		}
	}
}

// A write waits briefly for a leg that is just removing the bucket: the storage gets it then.
func TestR17RemovalUnderWay(t *testing.T) {
	t.Parallel()
	var old removed
	asked := func() { old.underWay.Store(0) } // it is done when it is asked about again
	old.asked.Store(&asked)
	r := newRig(t, 2, old.setup, waitsLong)
	old.underWay.Store(2)
	wantStatus(t, r.dial().Do(putRequest("/old", "")), 200)
	if list := r.settled(); len(list) != 0 {
		t.Errorf("records: %+v", list)
	}
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
	}
}

// A bucket's removal comes behind the writes in it that clients were told of, on each storage: one that gets it in
// between may make the bucket anew for what it is storing just then. So does a setting of it, such as the one that
// each write makes a version (R19).
func TestR19RemovalAndSettingsComeLast(t *testing.T) {
	t.Parallel()
	for _, request := range []string{requestFor("DELETE", "/old"), putRequest("/old?versioning", "<v/>")} {
		t.Run(request[:strings.IndexByte(request, ' ')], func(t *testing.T) {
			t.Parallel()
			var old removed
			began := make(chan bool, 1) // whether the write was still under way
			r := newRig(t, 2, decidedBy, waitsLong, old.setup)
			asked := func() { began <- r.e.writes.underWayIn([]byte("old"), r.e.all, nil) }
			old.asked.Store(&asked)
			open := gatedNext(t, r.stores[1])
			client := r.dial()
			r.e.o.Journal.(*ledger).busy.Store(true) //nolint:forcetypeassert // the rig's
			wantStatus(t, client.Do(putRequest("/old/k", "one")), 200)
			<-began
			go func() {
				select { // what does not wait is seen
				case early := <-began:
					began <- early
				case <-time.After(100 * time.Millisecond):
				}
				open()
			}()
			if a := client.Do(request); a.Status/100 != 2 {
				t.Errorf("answered %d", a.Status)
			}
			if <-began {
				t.Error("it began while the write was under way")
			}
			if list := r.settled(); len(list) != 0 {
				t.Errorf("records: %+v", list)
			}
		})
	}
}
