package cli

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// deleteKeys sends a multi-object delete through the proxy.
func (p *process) deleteKeys(t *testing.T, bucket string, keys ...string) {
	t.Helper()
	var b strings.Builder
	for _, key := range keys {
		b.WriteString("<Object><Key>" + key + "</Key></Object>")
	}
	testkit.MustSend(t, "POST", "http://"+p.Addr()+"/"+bucket+"?delete", "<Delete>"+b.String()+"</Delete>")
}

// Repair does not undo a multi-object delete, any more than it would undo a DELETE of each key
// (R24, R35): the backend that was away had the object.
func TestR24RepairKeepsDeletesOfManyKeys(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "ConnectionDialTimeout: 1s\n")
	p := mustStart(t, "-c", r.config)
	for _, key := range []string{"k", "l", "kept", "anew"} {
		p.putObject(t, key, "one")
	}
	r.stores[1].Stop()
	p.putObject(t, "k", "two") // the journal already has an entry for it
	p.deleteKeys(t, "bkt", "k", "l", "anew", "never")
	testkit.Eventually(t, "nothing in flight", func() bool { return p.InFlight() == 0 })
	p.putObject(t, "anew", "three")
	r.restart(1)
	testkit.Eventually(t, "both stores are in the pool", func() bool { return len(p.Out()) == 0 })
	stdout, _ := mustRun(t, exitOK, "repair", "-c", r.config)
	for key, want := range map[string]string{"k": "(none)", "l": "(none)", "never": "(none)", "kept": "one", "anew": "three"} {
		for i := range r.stores {
			if got := r.get(i, key); got != want {
				t.Errorf("%s is %q in the %s store, want %q\n%s", key, got, r.stores[i].Name, want, stdout)
			}
		}
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// The same with healthy backends that answer in random order.
func TestR24DeletesOfManyKeysWithJitter(t *testing.T) {
	t.Parallel()
	stores := []*moodyStore{newMoodyStore(t, 1, "bkt"), newMoodyStore(t, 2, "bkt")}
	config, _ := writeCommandConfig(t, []string{"http://" + stores[0].addr, "http://" + stores[1].addr},
		"Listen: 127.0.0.1:0\nAdminListen: 127.0.0.1:0\nCredentials: {AccessKey: AK, SecretKey: secret}\nRepair: {Enabled: true}\n")
	p := mustStart(t, "-c", config)
	for _, s := range stores {
		s.mood.Store(moodSlow)
		inner := s.inner
		s.inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.mood.Load() == moodSlow { // slow to act as well: in random order
				time.Sleep(time.Duration(s.dice(40)) * time.Millisecond) // this is the slowness
			}
			inner.ServeHTTP(w, r)
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	for i := range 30 {
		key := fmt.Sprint("k", i)
		testkit.MustSend(t, "PUT", "http://"+p.Addr()+"/bkt/"+key, "one")
		p.deleteKeys(t, "bkt", key)
		if want[key] = ""; random.IntN(3) == 0 {
			testkit.MustSend(t, "PUT", "http://"+p.Addr()+"/bkt/"+key, "two")
			want[key] = "two"
		}
	}
	for _, s := range stores {
		s.mood.Store(moodWell)
	}
	testkit.Eventually(t, "nothing is owed", func() bool { return p.InFlight() == 0 && p.JournalStatus().Pending == 0 })
	for key, value := range want {
		for i, s := range stores {
			if got := s.get(t, "/bkt/"+key); got != value {
				t.Errorf("%s is %q in store %d, want %q", key, got, i, value)
			}
		}
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// A parameter that names a read-only subresource does not make a PUT a subresource write (R35): the
// object is what the backend that accepted it has.
func TestR35ObjectPutWithAnyParameter(t *testing.T) {
	t.Parallel()
	r := newStoresRig(t, "ConnectionDialTimeout: 1s\n")
	p := mustStart(t, "-c", r.config)
	r.stores[1].Stop()
	for _, param := range []string{"delete", "policy"} {
		testkit.MustSend(t, http.MethodPut, "http://"+p.Addr()+"/bkt/"+param+"?"+param, "one")
	}
	testkit.Eventually(t, "nothing in flight", func() bool { return p.InFlight() == 0 })
	r.restart(1)
	testkit.Eventually(t, "both stores are in the pool", func() bool { return len(p.Out()) == 0 })
	mustRun(t, exitOK, "repair", "-c", r.config)
	for _, param := range []string{"delete", "policy"} {
		r.wantBoth(param, "one")
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}
