package engine

import (
	"net/url"
	"testing"
	"time"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/link"
	"github.com/akubra/akubra/limiter"
)

// TestR12R13LostConnection: a middlebox has forgotten a kept-alive connection. Nobody is told, and the leg that uses
// it begins again on a fresh one, unless its backend may act on it twice.
func TestR12R13LostConnection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, raw string
		status    int
		again     bool
	}{
		{"a read", requestFor("GET", "/b/none"), 404, true},
		{"a write", putRequest("/b/k", "x"), 200, true},
		{"one that is not repeated", "POST /b/k?restore HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 1\r\n\r\nx", 200, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			way, r := newFarRig(t)
			wantStatus(t, r.dial().Do(putRequest("/b/first", "x")), 200) // which leaves a connection
			r.settled()
			before := len(r.stores[1].Requests())
			way.Cut()
			way.Mend(true)
			c := r.dial()
			c.Send(tt.raw)
			done := make(chan struct{})
			go func() {
				defer close(done)
				wantStatus(t, c.Answer(), tt.status)
				r.settled()
			}()
			testkit.Eventually(t, "its connection is given up", func() bool {
				r.e.Renew(0, r.e.now(), 1)
				r.e.Renew(1, r.e.now(), int64(time.Millisecond))
				select {
				case <-done:
					return true
				default:
					return false
				}
			})
			asked := len(r.stores[1].Requests()) - before
			if tt.again != (asked == 1) {
				t.Errorf("the backend got it %d times", asked)
			}
			if tt.again {
				r.wantRecords("/b/k", "")
			}
		})
	}
}

// A backend that is merely slow is none: it has acknowledged what it was sent.
func TestR12SlowIsNotLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.stores[1].Behave(stub.Behaviour{HangAfterBody: true})
	wantStatus(t, r.dial().Do(putRequest("/b/k", "x")), 200)
	r.stores[1].Wait(t, func(all stub.Requests) bool { return all.Held() > 0 })
	for range 3 {
		r.e.Renew(1, r.e.now()+int64(time.Hour), 1)
	}
	r.stores[1].Unhang()
	r.settled()
	r.wantRecords("/b/k", "")
	if n := len(r.stores[1].Requests()); n != 1 {
		t.Errorf("the backend got it %d times", n)
	}
}

// newFarRig has a link before its second backend.
func newFarRig(t *testing.T) (*link.Link, *rig) {
	t.Helper()
	stores := []*stub.Server{stub.New(t), stub.New(t)}
	way, err := link.New(stores[1].Addr(), link.Direction{}, link.Direction{})
	testkit.MustDo(t, err)
	t.Cleanup(way.Close)
	watcher := netio.NewWatcher()
	watcher.Start()
	t.Cleanup(watcher.Close)
	b, err := backends.New(backends.Options{URL: &url.URL{Scheme: "http", Host: way.Addr()}, DialTimeout: patience, ReadBuffer: 16 << 10, Watcher: watcher})
	testkit.MustDo(t, err)
	t.Cleanup(b.Close)
	return way, newRigOn(t, stores, func(o *Options, lo *limiter.Options) {
		o.Backends[1], lo.Backends[1] = testBackend{b}, b.Name()
	})
}
