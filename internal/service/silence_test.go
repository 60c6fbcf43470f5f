package service

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/link"
	"github.com/akubra/akubra/limiter"
)

func TestR13VerdictOnSilence(t *testing.T) {
	const s, patience = int64(time.Second), 3 * int64(time.Second)
	now := 100 * s
	for _, tt := range []struct {
		name    string
		silence int64
		s       suspicion
		want    verdict
	}{
		{"not silent", 0, suspicion{}, justWait},
		{"for a moment", s, suspicion{}, justWait},
		{"half of its time", 3 * s / 2, suspicion{}, beginProbe},
		{"a probe is in progress", 2 * s, suspicion{result: make(chan error), began: now - s}, justWait},
		{"its time is over, and no probe was begun", 9 * s, suspicion{}, beginProbe},
		{"a probe has just begun", 9 * s, suspicion{result: make(chan error), began: now}, justWait},
		{"a probe is not answered", 3 * s, suspicion{result: make(chan error), began: now - 3*s/2}, demoteIt},
		{"a probe has failed early", 2 * s, suspicion{failed: true}, beginProbe},
		{"a probe has failed", 3 * s, suspicion{failed: true}, demoteIt},
		{"one has failed, another one is in progress", 3 * s, suspicion{failed: true, result: make(chan error), began: now}, demoteIt},
	} {
		if got := tt.s.verdict(tt.silence, now, patience); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	probed := suspicion{failed: true, result: make(chan error)}
	if probed.verdict(s, now, patience); probed.failed || probed.result != nil {
		t.Error("what was suspected before is not forgotten")
	}
}

// silentOne is a backend, and all that the watch knows of it, in a test's own time.
type silentOne struct {
	mu             sync.Mutex
	now            int64
	silence        int64
	unacknowledged int64
	state          string
	busy           int
	letGo          []bool
	demotions      int
	heard          int
	waits          int64
	renewed        int
	probes         int
	probe          chan error
	unreachable    []error
}

func (o *silentOne) Now() int64            { return o.now }
func (o *silentOne) LetGo(_ int, all bool) { o.letGo = append(o.letGo, all) }
func (o *silentOne) State(int) string      { return o.state }
func (o *silentOne) Busy(int) int          { return o.busy }

func (o *silentOne) Silence(_ int, now int64, unacknowledged func(int, int64) int64) int64 {
	return max(o.silence, unacknowledged(0, now))
}

func (o *silentOne) Waits(int, int64) int64          { return o.waits }
func (o *silentOne) Renew(int, int64, int64)         { o.renewed++ }
func (o *silentOne) Unacknowledged(int, int64) int64 { return o.unacknowledged }

func (o *silentOne) Heard(int, int64)           { o.heard++; o.silence = 0 }
func (o *silentOne) Close()                     {}
func (o *silentOne) unreached(_ int, err error) { o.unreachable = append(o.unreachable, err) }

func (o *silentOne) DemoteSilent(int, int64) bool {
	o.demotions++
	o.state = limiter.StateDemoted
	return true
}

func (o *silentOne) Probe(time.Duration) error {
	o.mu.Lock()
	o.probes++
	o.mu.Unlock()
	return <-o.probe
}

func (o *silentOne) probed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.probes
}

func TestR13SilentBackend(t *testing.T) {
	watch := func() (*silentOne, *silenceWatch, *suspicion, func(seconds float64)) {
		o := &silentOne{state: limiter.StateActive, probe: make(chan error, 9)}
		w := newSilenceWatch(make([]*backends.Backend, 1), nil, o, &healthWatch{}, 3*time.Second)
		w.limiter, w.targets, w.unreached = o, []probed{o}, o.unreached
		var s suspicion
		return o, w, &s, func(seconds float64) {
			d := int64(seconds * float64(time.Second))
			o.now, o.silence = o.now+d, o.silence+d
			w.look(0, &s)
		}
	}
	t.Run("a link that was cut", func(t *testing.T) {
		o, w, s, pass := watch()
		pass(1)
		if o.probed() > 0 || s.result != nil {
			t.Fatal("probed at once")
		}
		pass(0.6)
		testkit.Eventually(t, "it is probed", func() bool { return o.probed() == 1 })
		pass(1)
		if o.demotions > 0 {
			t.Fatal("demoted before its time")
		}
		pass(0.5)
		if o.demotions != 1 || len(o.unreachable) != 1 || !strings.Contains(o.unreachable[0].Error(), "nothing has come for 3.1s") ||
			!errors.Is(o.unreachable[0], os.ErrDeadlineExceeded) { // so that its cause is told as a timeout (R36)
			t.Fatalf("%d demotions, %v", o.demotions, o.unreachable)
		}
		o.probe <- nil
		w.probes.Wait()
	})
	t.Run("a refused probe", func(t *testing.T) {
		o, w, _, pass := watch()
		for range cap(o.probe) {
			o.probe <- errors.New("refused")
		}
		pass(1.6)
		w.probes.Wait()
		pass(0.1)
		pass(0.1) // begins another one if the second has been refused by now
		w.probes.Wait()
		if o.demotions > 0 {
			t.Fatal("demoted before its time")
		}
		pass(1.3)
		if o.demotions != 1 || len(o.unreachable) != 1 || !strings.Contains(o.unreachable[0].Error(), "refused") {
			t.Fatalf("%d demotions, %v", o.demotions, o.unreachable)
		}
	})
	t.Run("a slow request", func(t *testing.T) {
		o, w, _, pass := watch()
		for range 5 {
			o.probe <- nil
			pass(1.6)
			w.probes.Wait()
			pass(0.2)
		}
		if o.demotions > 0 || o.heard == 0 {
			t.Fatalf("%d demotions, heard %d times", o.demotions, o.heard)
		}
	})
	t.Run("what was sent does not arrive", func(t *testing.T) {
		o, w, _, pass := watch()
		for range cap(o.probe) {
			o.probe <- errors.New("refused")
		}
		for o.demotions == 0 && o.now < int64(time.Minute) {
			pass(0.25)
			w.probes.Wait()
			o.silence, o.unacknowledged = 0, o.now
		}
		if o.demotions != 1 || o.now > 5*int64(time.Second) {
			t.Fatalf("%d demotions after %v", o.demotions, time.Duration(o.now))
		}
	})
	t.Run("one leg waits, and others end well", func(t *testing.T) {
		o, _, _, pass := watch()
		o.waits = int64(time.Second)
		for range 3 {
			pass(1)
			o.silence = 0
		}
		if o.renewed > 0 {
			t.Fatal("not for long")
		}
		o.waits = int64(2 * time.Second)
		pass(0.2)
		if o.renewed != 1 || o.probed() > 0 {
			t.Fatalf("renewed %d times, probed %d times", o.renewed, o.probed())
		}
		o.silence = int64(2 * time.Second)
		o.probe <- nil
		pass(0.1)
		if o.renewed != 1 {
			t.Fatal("nobody knows whether it answers others")
		}
	})
	t.Run("who waits for one that is out is let go", func(t *testing.T) {
		o, _, _, pass := watch()
		o.state = limiter.StateDemoted
		pass(1)
		if len(o.letGo) > 0 {
			t.Error("nobody waits for it")
		}
		o.busy = 1
		pass(1)
		if fmt.Sprint(o.letGo) != "[false]" || o.probed() > 0 {
			t.Errorf("let go: %v", o.letGo)
		}
	})
}

// TestR13SilentLink: a link that is cut without a word ends nobody's requests, however few there are: its
// backend leaves the pool, hanging reads go elsewhere, and it comes back with the link.
func TestR13SilentLink(t *testing.T) {
	t.Parallel()
	far, near := stub.New(t, stub.KeepRequests(100)), stub.New(t, stub.KeepRequests(100))
	for _, s := range []*stub.Server{far, near} {
		s.Put("/b/k", []byte("content"))
	}
	way, err := link.New(far.Addr(), link.Direction{Delay: 5 * time.Millisecond}, link.Direction{Delay: 5 * time.Millisecond})
	testkit.MustDo(t, err)
	t.Cleanup(way.Close)
	transcript := testkit.NewTranscript()
	c := config.Default()
	c.Listen, c.AdminListen, c.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	c.Backends = []string{"http://" + way.Addr(), near.URL()}
	c.ReadPolicy, c.HedgeAfter, c.FailureLimit = "prefer", "off", 0
	c.ReadFrom = map[string]string{c.Backends[0]: "10", c.Backends[1]: "1"}
	c.ConnectionDialTimeout = 900 * time.Millisecond
	c.ConnectionTimeout = 10 * time.Minute
	c.ShutdownTimeout = 10 * time.Millisecond
	testkit.MustDo(t, c.Complete())
	p, err := New(c, logs.Plain(transcript, io.Discard), "test")
	testkit.MustDo(t, err)
	testkit.MustDo(t, p.Start())
	t.Cleanup(p.Stop)

	client := &http.Client{Timeout: time.Minute} // it keeps its connection
	get := func() {
		t.Helper()
		resp, err := client.Get("http://" + p.Addr() + "/b/k")
		testkit.MustDo(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("answer is %d", resp.StatusCode)
		}
	}
	state := func() string { return p.limiter.State(0) }
	get()
	for _, forgetful := range []bool{false, true} {
		way.Cut()
		get() // hangs, and goes elsewhere
		testkit.Eventually(t, "its backend leaves the pool", func() bool { return state() == limiter.StateDemoted })
		get()
		way.Mend(forgetful)
		testkit.Eventually(t, "it is back", func() bool { return state() == limiter.StateActive })
		before := len(far.Requests())
		get()
		if len(far.Requests()) == before {
			t.Error("it is back, but was not asked")
		}
	}
	if !strings.Contains(transcript.String(), `"reason":"silent"`) {
		t.Errorf("the log says %s", transcript.String())
	}
}
