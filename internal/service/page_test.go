package service

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/task"
)

// R35: "Try again" un-parks a key, and nothing but a parked key.
func TestR35PageRetries(t *testing.T) {
	j := ledgertest.MustOpen(t, t.TempDir(), "a:1", "b:1")
	p := &Proxy{journal: j}
	add := task.Task{Bucket: "bkt", Key: "k", Writes: []task.Write{{Aspect: task.Found, Owed: []string{"b:1"}}}}
	testkit.MustDo(t, j.Add(&add))
	retry := admin.Decision{Bucket: "bkt", Key: []byte("k"), Retry: true}
	if _, err := p.settle(retry); err == nil || !strings.Contains(err.Error(), "not parked") {
		t.Errorf("of a key that is not parked: %v", err)
	}
	found, _, ok, err := j.Find("bkt", "k")
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	found.Parked, found.Tries = task.Failed, 20
	if ok, err := j.Note(&found); !ok || err != nil {
		t.Fatal(ok, err)
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

// settleRig is a proxy with a conflict at bkt/k, which two backends answer about once goOn is closed.
func settleRig(t *testing.T, log io.Writer) (r *reloadRig, decision admin.Decision, asked, goOn chan struct{}) {
	t.Helper()
	asked, goOn = make(chan struct{}), make(chan struct{})
	var once sync.Once
	r = &reloadRig{t: t, dir: t.TempDir()}
	for range 2 {
		r.backends = append(r.backends, testkit.NewBackend(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/bkt/k" {
				once.Do(func() { close(asked) })
				<-goOn
			}
			w.WriteHeader(http.StatusNotFound)
		}))
	}
	r.write("Repair: {Enabled: false}\nCredentials: {AccessKey: a, SecretKey: s}\n")
	c, err := config.Load(r.file())
	testkit.MustDo(t, err)
	r.Proxy, err = New(c, logs.Plain(log, io.Discard), "test")
	testkit.MustDo(t, err)
	testkit.MustDo(t, r.Start())
	names := r.names()
	testkit.MustDo(t, r.journal.Add(&task.Task{Bucket: "bkt", Key: "k", Writes: []task.Write{{Aspect: task.Found, Owed: names[1:]}}}))
	found, _, ok, err := r.journal.Find("bkt", "k")
	if testkit.MustDo(t, err); !ok {
		t.Fatal("it is not pending")
	}
	found.Parked = task.Conflict
	_, err = r.journal.Note(&found)
	testkit.MustDo(t, err)
	return r, admin.Decision{Bucket: "bkt", Key: []byte("k"), Take: names[0]}, asked, goOn
}

// R22: a decision that waits for a backend does not hold up the end of the proxy.
func TestR22StopEndsASettlement(t *testing.T) {
	t.Parallel()
	r, decision, asked, goOn := settleRig(t, io.Discard)
	t.Cleanup(func() { close(goOn) })
	settled := make(chan error, 1)
	go func() {
		_, err := r.settle(decision)
		settled <- err
	}()
	testkit.Receive(t, "who asks", asked)
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

// R35: a decision that takes longer than the page waits is carried out all the same, once, and the log
// says what came of it.
func TestR35PageSettlesForLong(t *testing.T) {
	t.Parallel()
	log := testkit.NewTranscript()
	r, decision, asked, goOn := settleRig(t, log)
	if said, err := r.settleWithin(decision, time.Millisecond); err != nil || !strings.Contains(said, "is being settled") {
		t.Errorf("%q, %v", said, err)
	}
	testkit.Receive(t, "who asks", asked)
	if said, err := r.settleWithin(decision, time.Millisecond); err == nil || !strings.Contains(err.Error(), "earlier decision") {
		t.Errorf("the second: %q, %v", said, err)
	}
	close(goOn)
	testkit.Eventually(t, "it is settled", func() bool { return r.journal.Journal.Stats().Pending == 0 })
	log.WaitFor(t, "a decision about a parked key has been carried out")
	r.Stop()
}

// The bytes that the page shows are those of the keys beside them, and a look that takes long is not
// repeated every second.
func TestOwedBytesAreOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, took := range []time.Duration{0, 50 * time.Millisecond} {
			var b owedBytes
			looks := 0
			look := func() {
				t.Helper()
				got := b.get(func() journal.Owing {
					time.Sleep(took) // in the bubble, as all here
					looks++
					return journal.Owing{Bytes: []int64{1}}
				})
				if !slices.Equal(got, []int64{1}) {
					t.Errorf("it shows %d", got)
				}
			}
			look()
			time.Sleep(owedBytesRest * took)
			if look(); took > 0 && looks != 1 {
				t.Errorf("after a look of %v it does not rest", took)
			}
			time.Sleep(time.Nanosecond)
			if look(); looks != 2 {
				t.Errorf("after a look of %v it still rests: %d looks", took, looks)
			}
		}
	})
}
