package engine

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/s3"
)

func copyRequest(path, source string) string {
	return "PUT " + path + " HTTP/1.1\r\nHost: s3.test\r\nx-amz-copy-source: " + source + "\r\nContent-Length: 0\r\n\r\n"
}

// wanted are the keys that repair was told of.
type wanted struct {
	mu   sync.Mutex
	keys []string
}

func (w *wanted) setup(o *Options, _ *limiter.Options) {
	o.Wanted = func(bucket, key string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.keys = append(w.keys, bucket+"/"+key)
	}
}

func (w *wanted) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := strings.Join(w.keys, " ")
	w.keys = nil
	return keys
}

// uploadFrom begins an upload that store owner has.
func (r *rig) uploadFrom(owner int) (path, id string) {
	r.t.Helper()
	for i := range 64 {
		path = fmt.Sprintf("/to%d/k", i)
		if id, on := r.initiate(path); on == owner {
			return path, id
		}
	}
	r.t.Fatalf("no upload goes to storage %d", owner)
	return "", ""
}

// A part is copied by one backend alone: one that owes the source says so until it has
// been repaired, and neither that there is none nor what it had before.
func TestR30PartCopyWaitsForItsSource(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"/b/a%20src", "b/a%20src", "b%2Fa%20src", "/b/a%20src?versionId=null", "/b/a+src"} {
		for _, stale := range []bool{false, true} {
			t.Run(fmt.Sprint(source, stale), func(t *testing.T) {
				var w wanted
				r := newRig(t, 2, w.setup)
				if stale {
					r.stores[1].Put("/b/a%20src", []byte("older"))
				}
				path, id := r.uploadFrom(1)
				r.stores[1].BehaveNext(stub.Fails(500))
				wantStatus(t, r.put("/b/a%20src", "source"), 200)
				r.settled()
				asked := len(r.stores[1].Requests())
				request := copyRequest(path+"?partNumber=1&uploadId="+id, source)
				a := r.dial().Do(request)
				wantXMLError(t, a, 503)
				if code := s3.ErrorCode(a.Body); code != "SlowDown" {
					t.Errorf("code %q", code)
				}
				if n := len(r.stores[1].Requests()) - asked; n != 0 {
					t.Errorf("it was asked %d times", n)
				}
				if got := w.take(); got != "b/a src" && !(strings.Contains(source, "+") && got == "b/a+src b/a src") {
					t.Errorf("wanted: %q", got)
				}
				// Repaired:
				r.journal.forget("b", "a src")
				for _, s := range r.stores {
					s.Put("/"+strings.TrimPrefix(source, "/"), []byte("source"))
					s.Put("/b/a%20src", []byte("source"))
				}
				wantStatus(t, r.dial().Do(request), 200)
				if got := w.take(); got != "" {
					t.Errorf("wanted: %q", got)
				}
				r.settled()
				r.journal.owe("b", "a src", 0b10) // as the synclog still says
			})
		}
	}
}

// An acknowledged write whose leg is still out is owed, too: the copy waits for it.
func TestR30PartCopyOfAWriteUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, waitsLong)
	path, id := r.uploadFrom(1)
	gate := make(chan struct{})
	r.stores[1].BehaveNext(stub.Behaviour{Gate: gate})
	wantStatus(t, r.put("/b/src", "source"), 200)
	request := copyRequest(path+"?partNumber=1&uploadId="+id, "/b/src")
	r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	answers := make(chan *stub.Answer, 1)
	go func() { answers <- r.dial().Do(request) }()
	until(t, "the copy is being handled", func() bool { return r.e.handling.Load() == 1 })
	close(gate)
	wantStatus(t, testkit.Receive(t, "an answer", answers), 200)
	r.settled()
}

// A copy goes to those that have the source, and is owed by the others.
func TestR30CopySkipsWhoOwesItsSource(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.stores[1].Put("/b/src", []byte("older"))
	r.stores[1].BehaveNext(stub.Fails(500))
	wantStatus(t, r.put("/b/src", "source"), 200)
	r.settled()
	wantStatus(t, r.dial().Do(copyRequest("/b/k", "/b/src")), 200)
	r.settled()
	wantStored(t, r.stores[0], "/b/k", "source")
	wantStored(t, r.stores[2], "/b/k", "source")
	wantAbsent(t, r.stores[1], "/b/k")
	r.wantOwing("PUT src 10 answered 500", "PUT k 10 "+ReasonSource)
	if d := r.records.list(); len(d) != 2 || d[1].FailedHost != r.host(1) || d[1].Error != ReasonSource || d[1].Key != "k" || d[1].Size != 0 {
		t.Fatalf("recorded: %+v", d)
	}
	// It was deleted, and that is owed: what is gone is gone.
	r.stores[2].BehaveNext(stub.Fails(500))
	wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/src")), 204)
	r.settled()
	wantStatus(t, r.dial().Do(copyRequest("/b/l", "/b/src")), 404)
	wantAbsent(t, r.stores[2], "/b/l")
}

// Those that have the source are out: it is neither gone nor what another one had.
func TestR30CopyWhereWhoHasItsSourceIsOut(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]func(r *rig){
		"maintained": func(r *rig) { r.limiter.SetMaintained(0, true) },
		"down":       func(r *rig) { r.stores[0].Down() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			r.stores[1].BehaveNext(stub.Fails(500))
			wantStatus(t, r.put("/b/src", "source"), 200)
			r.settled()
			out(r)
			wantXMLError(t, r.dial().Do(copyRequest("/b/k", "/b/src")), 503)
			r.settled()
		})
	}
}

// Where all owe the source, none is known to have it better than another one; but that
// there is none is not to be believed.
func TestR30CopyOfWhatAllOwe(t *testing.T) {
	t.Parallel()
	var w wanted
	r := newRig(t, 2, w.setup)
	r.journal.owe("b", "src", 0b11)
	wantXMLError(t, r.dial().Do(copyRequest("/b/k", "/b/src")), 503)
	if got := w.take(); !strings.Contains(got, "b/src") {
		t.Errorf("wanted: %q", got)
	}
	r.stores[1].Put("/b/src", []byte("source"))
	wantStatus(t, r.dial().Do(copyRequest("/b/k", "/b/src")), 200)
	r.settled()
	wantStored(t, r.stores[1], "/b/k", "source")
}

// What nobody owes is not there, and a version's id is one backend's own.
func TestR30CopyOfNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	wantStatus(t, r.dial().Do(copyRequest("/b/k", "/b/src")), 404)
	r.journal.owe("b", "src", 0b11)
	wantStatus(t, r.dial().Do(copyRequest("/b/k", "/b/src?versionId=v")), 404)
	path, id := r.uploadFrom(1)
	r.journal.owe("b", "other", 0b10)
	wantStatus(t, r.dial().Do(copyRequest(path+"?partNumber=1&uploadId="+id, "/b/src2")), 404)
	r.settled()
}

// Only a copy has a source, whatever else carries the field: a write that went to fewer
// backends for it would be owed by none.
func TestR15SourceOfWhatIsNoCopy(t *testing.T) {
	t.Parallel()
	for _, request := range []string{"DELETE /b/k", "PUT /b/k?acl", "GET /b/k"} {
		t.Run(request, func(t *testing.T) {
			r := newRig(t, 2)
			for _, s := range r.stores {
				s.Put("/b/src", []byte("source"))
				s.Behave(stub.Behaviour{Status: 200})
			}
			r.journal.owe("b", "src", 0b10)
			wantStatus(t, r.dial().Do(request+" HTTP/1.1\r\nHost: s3.test\r\nx-amz-copy-source: /b/src\r\n\r\n"), 200)
			r.settled()
			if n := len(r.stores[1].Requests()); n != 1 {
				t.Errorf("the other backend was asked %d times", n)
			}
		})
	}
}

// A copy takes along the tags of its source, unless it gets others (R30, R35): who owes these owes
// the copy, and where nobody else is left the client has to wait. What all owe nobody has better.
func TestR30CopyOfTagsThatAreOwed(t *testing.T) {
	t.Parallel()
	var owed atomic.Uint64
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) {
		o.OwedPart = func(bucket, key, _ []byte) uint64 {
			if string(bucket) != "b" || string(key) != "src" {
				return 0
			}
			return owed.Load()
		}
	})
	wantStatus(t, r.put("/b/src", "source"), 200)
	r.settled()
	owed.Store(0b10)
	wantStatus(t, r.dial().Do(copyRequest("/b/k", "/b/src")), 200)
	r.settled()
	wantAbsent(t, r.stores[1], "/b/k")
	r.wantOwing("PUT k 10 " + ReasonSource)
	replaces := strings.Replace(copyRequest("/b/l", "/b/src"), "\r\n\r\n", "\r\nx-amz-tagging-directive: REPLACE\r\n\r\n", 1)
	wantStatus(t, r.dial().Do(replaces), 200)
	r.settled()
	wantStored(t, r.stores[1], "/b/l", "source")
	r.limiter.SetMaintained(0, true)
	wantXMLError(t, r.dial().Do(copyRequest("/b/m", "/b/src")), 503)
	owed.Store(0b11)
	wantStatus(t, r.dial().Do(copyRequest("/b/m", "/b/src")), 200)
	r.settled()
}
