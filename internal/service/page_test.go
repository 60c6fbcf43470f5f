package service

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// R35: "Try again" un-parks a key, and nothing but a parked key.
func TestR35PageRetries(t *testing.T) {
	j := ledgertest.MustOpen(t, t.TempDir(), "a:1", "b:1")
	p := &Proxy{journal: j}
	add := task.Task{Bucket: "bkt", Key: "k", Writes: []task.Write{{Aspect: task.Found, Owed: []string{"b:1"}}}}
	if err := j.Add(&add); err != nil {
		t.Fatal(err)
	}
	retry := admin.Decision{Bucket: "bkt", Key: []byte("k"), Retry: true}
	if _, err := p.settle(retry); err == nil || !strings.Contains(err.Error(), "not parked") {
		t.Errorf("of a key that is not parked: %v", err)
	}
	found, _, ok, err := j.Find("bkt", "k")
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	found.Parked, found.Tries = task.Failed, 20
	if err := j.Note(&found); err != nil {
		t.Fatal(err)
	}
	if s := j.Journal.Stats(); s.Parked != 1 {
		t.Fatalf("parked are %d", s.Parked)
	}
	if _, err := p.settle(retry); err != nil {
		t.Error(err)
	}
	if s := j.Journal.Stats(); s.Parked != 0 || s.Pending != 1 {
		t.Errorf("parked %d, pending %d", s.Parked, s.Pending)
	}
	if _, err := p.settle(admin.Decision{Bucket: "bkt", Key: []byte("other"), Retry: true}); err == nil {
		t.Error("of a key that nothing is pending of: no error")
	}
}

// R22: a decision that waits for a backend does not hold up the end of the proxy.
func TestR22StopEndsASettlement(t *testing.T) {
	t.Parallel()
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r := &reloadRig{t: t, dir: t.TempDir()}
	for range 2 {
		r.backends = append(r.backends, testkit.NewBackend(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/bkt/k" {
				once.Do(func() { close(asked) })
				<-goOn
			}
			w.WriteHeader(http.StatusNotFound)
		}))
	}
	t.Cleanup(func() { close(goOn) })
	r.write("Repair: {Enabled: false}\nCredentials: {AccessKey: a, SecretKey: s}\n")
	c, err := config.Load(r.file())
	testkit.MustDo(t, err)
	r.Proxy, err = New(c, logs.Plain(io.Discard, io.Discard), "test")
	testkit.MustDo(t, err)
	testkit.MustDo(t, r.Start())
	names := r.names()
	testkit.MustDo(t, r.journal.Add(&task.Task{Bucket: "bkt", Key: "k", Writes: []task.Write{{Aspect: task.Found, Owed: names[1:]}}}))
	found, _, ok, err := r.journal.Find("bkt", "k")
	if testkit.MustDo(t, err); !ok {
		t.Fatal("it is not pending")
	}
	found.Parked = task.Conflict
	testkit.MustDo(t, r.journal.Note(&found))
	settled := make(chan error, 1)
	go func() {
		_, err := r.settle(admin.Decision{Bucket: "bkt", Key: []byte("k"), Take: names[0]})
		settled <- err
	}()
	<-asked
	r.Stop()
	select {
	case err := <-settled:
		if err == nil {
			t.Error("it is settled")
		}
	case <-time.After(settlePatience / 2):
		t.Error("it goes on")
	}
}
