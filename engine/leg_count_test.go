package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// legsAt are what metrics were told of the legs to one backend.
func (r *rig) legsAt(backend int) (legs []LegEnd) {
	r.metrics.mu.Lock()
	defer r.metrics.mu.Unlock()
	for _, l := range r.metrics.legs {
		if l.backend == backend {
			legs = append(legs, l.LegEnd)
		}
	}
	return legs
}

// TestR36LegsAreCounted: each leg is counted once, with its class, its result, and bytes and times only
// where there was an answer.
func TestR36LegsAreCounted(t *testing.T) {
	t.Parallel()
	put := putRequest("/b/k", "content")
	for _, tt := range []struct {
		name    string
		request string
		behave  stub.Behaviour // of the second backend
		class   Class
		result  Result
	}{
		{"taken", put, stub.Behaviour{}, ClassWrite, Result2xx},
		{"deleted", requestFor("DELETE", "/b/k"), stub.Behaviour{}, ClassWrite, Result2xx},
		{"denied", put, stub.Fails(403), ClassWrite, Result4xx},
		{"broken", put, stub.Fails(500), ClassWrite, Result5xx},
		{"redirected", put, stub.Fails(307), ClassWrite, Result3xx},
		{"read", requestFor("GET", "/b/there"), stub.Behaviour{}, ClassGet, Result2xx},
		{"not found", requestFor("GET", "/b/nowhere"), stub.Behaviour{}, ClassGet, Result404},
		{"head", requestFor("HEAD", "/b/there"), stub.Behaviour{}, ClassHead, Result2xx},
		{"listed", requestFor("GET", "/b?list-type=2"), stub.Fails(200), ClassList, Result2xx},
		{"options", requestFor("OPTIONS", "/b/there"), stub.Fails(403), ClassOther, Result4xx},
		{"reset", put, stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}, ClassWrite, ResultReset},
		{"no answer", put, stub.Behaviour{Raw: []byte("SSH-2.0-OpenSSH_9.2\r\n\r\n")}, ClassWrite, ResultMalformed},
		{"error in a 200", "PUT /b/copy HTTP/1.1\r\nHost: s3.test\r\nX-Amz-Copy-Source: /b/there\r\nContent-Length: 0\r\n\r\n",
			stub.ErrorIn200("InternalError"), ClassWrite, ResultErrorIn2xx},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			for _, s := range r.stores {
				s.Put("/b/there", []byte("content"))
			}
			r.stores[1].Behave(tt.behave)
			r.dial().Do(tt.request)
			r.settled()
			legs := r.legsAt(1)
			if len(legs) != 1 || len(r.legsAt(0)) != 1 {
				t.Fatalf("%d legs were counted, and %d at the other backend, want one each", len(legs), len(r.legsAt(0)))
			}
			l := legs[0]
			if l.Class != tt.class || l.Result != tt.result {
				t.Errorf("it is counted as %v, %v, want %v, %v", l.Class, l.Result, tt.class, tt.result)
			}
			answered := tt.result != ResultReset && tt.result != ResultMalformed
			if (l.Total > 0) != answered || (l.First > 0) != answered || l.First > l.Total || answered && l.Received == 0 || l.Sent < int64(len("PUT / HTTP/1.1")) {
				t.Errorf("sent %d bytes, received %d, first after %v, last after %v", l.Sent, l.Received, l.First, l.Total)
			}
		})
	}
}

// TestR36UnbegunLegsAreCounted: a backend that a request had to do without is counted for it.
func TestR36UnbegunLegsAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(_ *Options, lo *limiter.Options) { lo.Maintained = 0b10 })
	wantStatus(t, r.put("/b/k", "content"), 200)
	r.settled()
	if legs := r.legsAt(1); fmt.Sprint(legs) != fmt.Sprint([]LegEnd{{Class: ClassWrite, Result: ResultSkipped}}) {
		t.Errorf("in maintenance: %+v", legs)
	}

	r = newRig(t, 2)
	r.full(1)
	wantStatus(t, r.put("/b/k", strings.Repeat("x", largeBody)), 200)
	r.settled()
	if legs := r.legsAt(1); fmt.Sprint(legs) != fmt.Sprint([]LegEnd{{Class: ClassWrite, Result: ResultDeferred}}) {
		t.Errorf("deferred: %+v", legs)
	}
	if s := r.e.Lanes()[1]; s.Deferred != 1 || !s.Over || s.Rate != 1 || s.Bodies != 0 {
		t.Errorf("its lane is %+v", s)
	}
}

func TestR36DialsAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.stores[1].Down()
	wantStatus(t, r.put("/b/k", "content"), 200)
	r.settled()
	if legs := r.legsAt(1); len(legs) != 1 || legs[0].Result != ResultDial || legs[0].Total != 0 {
		t.Errorf("nobody listens: %+v", legs)
	}
}

// TestR36OwnErrorsAreCounted: what the client hears from the proxy alone is told apart from backends' errors.
func TestR36OwnErrorsAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Behave(stub.Fails(500))
	}
	wantStatus(t, r.put("/b/k", "content"), 500)
	for reason := range Refusals() {
		if n := r.metrics.count("refused " + reason); n != 0 {
			t.Errorf("a backend's 500 counts as %q", reason)
		}
	}
	for _, s := range r.stores {
		s.Down()
	}
	wantStatus(t, r.put("/b/k", "content"), 503)
	wantStatus(t, r.dial().Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400)
	r.settled()
	if n, m := r.metrics.count("refused no_backend"), r.metrics.count("refused malformed"); n != 1 || m != 1 {
		t.Errorf("%d without backends and %d malformed ones were counted, want one each", n, m)
	}
}
