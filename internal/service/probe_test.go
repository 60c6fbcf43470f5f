package service

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/online"
	"github.com/akubra/akubra/internal/testkit"
)

// The probe finds the backends that ignore conditions, asks again those that cannot be asked, and
// leaves nothing behind.
func TestR29Probe(t *testing.T) {
	var stored, asked, down atomic.Int64
	down.Store(1)
	serve := func(keeps bool) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			switch {
			case keeps && down.Load() > 0:
				w.WriteHeader(503)
			case r.Method == "DELETE":
				if keeps {
					stored.Add(-1)
				}
				w.WriteHeader(204)
			case keeps && (r.Header.Get("If-Match") != "" || stored.Load() > 0):
				w.WriteHeader(412)
			default:
				if keeps {
					stored.Add(1)
				}
			}
		}))
		t.Cleanup(s.Close)
		return s
	}
	keeps, ignores := serve(true), serve(false)
	c := config.Default()
	c.Backends = []string{keeps.URL, ignores.URL}
	c.DataDir, c.ProbeBucket = t.TempDir(), "bucket"
	c.Credentials.AccessKey, c.Credentials.SecretKey = "access", "secret-key"
	testkit.MustDo(t, c.Complete())
	p, err := newConditionsProbe(c, nil)
	testkit.MustDo(t, err)
	found, told := make(chan uint64, 9), make(chan string, 9)
	p.interval = time.Millisecond
	p.found = func(ignoring uint64) { found <- ignoring }
	p.log = func(backend, what, _ string) { told <- backend + " " + what }
	p.start()
	defer p.close()
	want := func(what string) {
		t.Helper()
		if got := testkit.Receive(t, "what is told", told); got != what {
			t.Fatalf("%q, want %q", got, what)
		}
	}
	names := c.BackendNames()
	want(names[0] + " " + online.ConditionsUnknown)
	if set := testkit.Receive(t, "what is found", found); set != 0b10 {
		t.Fatalf("%b ignore conditions", set)
	}
	want(names[1] + " " + online.ConditionsIgnored)
	down.Store(0)
	want(names[0] + " " + online.ConditionsKept)
	testkit.Receive(t, "the end of the probe", p.done)
	if n := stored.Load(); n > 0 {
		t.Errorf("%d objects are left", n)
	}
	if len(found) > 0 {
		t.Errorf("%b ignore conditions", testkit.Receive(t, "what is found", found))
	}
}

func TestR29NoProbeWithoutABucketOrKeys(t *testing.T) {
	c := config.Default()
	c.Backends, c.DataDir = []string{"http://127.0.0.1:1"}, t.TempDir()
	if p, err := newConditionsProbe(c, nil); p != nil || err != nil {
		t.Errorf("without a bucket: %v, %v", p, err)
	}
	c.ProbeBucket = "bucket"
	p, err := newConditionsProbe(c, nil)
	testkit.MustDo(t, err)
	p.start() // asks nobody
	testkit.Receive(t, "the end of the probe", p.done)
	p.close()
}
