package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/synclog/repair"
)

// testFence is a table of writes in flight, strict about being used in pairs.
type testFence struct {
	mu     sync.Mutex
	busy   map[string]bool // keys that a client is writing
	begun  map[string]bool
	unfair []string // what was ended without being begun
}

func (f *testFence) Begin(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := bucket + "/" + key
	if f.busy[name] || f.begun[name] {
		return false
	}
	if f.begun == nil {
		f.begun = map[string]bool{}
	}
	f.begun[name] = true
	return true
}

func (f *testFence) Seal(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begun[bucket+"/"+key] && !f.busy[bucket+"/"+key]
}

func (f *testFence) Unseal(string, string) {}

func (f *testFence) End(bucket, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := bucket + "/" + key
	if !f.begun[name] {
		f.unfair = append(f.unfair, name)
	}
	delete(f.begun, name)
	return !f.busy[name]
}

func (f *testFence) setBusy(name string, busy bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy == nil {
		f.busy = map[string]bool{}
	}
	f.busy[name] = busy
}

func (f *testFence) want(t testing.TB, begun ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var got []string
	for name := range f.begun {
		got = append(got, name)
	}
	slices.Sort(got)
	if !slices.Equal(got, begun) || f.unfair != nil {
		t.Errorf("begun are %q, want %q; ended without a beginning: %q", got, begun, f.unfair)
	}
}

func newTestSessions(fence repair.Fence) *journalAdmin {
	return newJournalAdmin(journalAdminOptions{Fence: fence})
}

func mustOpenSession(t testing.TB, a *journalAdmin) string {
	t.Helper()
	session, err := a.open()
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func TestRepairSession(t *testing.T) {
	f := &testFence{}
	a := newTestSessions(f)
	session := mustOpenSession(t, a)
	if _, err := a.open(); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("a second session: %v", err)
	}
	key, other := wireKey{"b", "k\xff"}, wireKey{"b", "other"}
	if ok, err := a.begin(session, key); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := a.begin(session, key); ok || err != nil {
		t.Errorf("begun twice: %t, %v", ok, err)
	}
	if _, err := a.begin("x", other); !errors.Is(err, errSession) {
		t.Errorf("another's session: %v", err)
	}
	if _, err := a.finish("", key); !errors.Is(err, errSession) {
		t.Errorf("no session: %v", err)
	}
	if clean, err := a.finish(session, other); clean || err != nil {
		t.Errorf("ended without a beginning: %t, %v", clean, err)
	}
	f.want(t, "b/k\xff")
	if clean, err := a.finish(session, key); !clean || err != nil {
		t.Errorf("ended: %t, %v", clean, err)
	}
	f.setBusy("b/other", true)
	if ok, err := a.begin(session, other); ok || err != nil {
		t.Errorf("a client writes, and it has begun: %t, %v", ok, err)
	}
	f.setBusy("b/other", false)
	_, _ = a.begin(session, key)
	_, _ = a.begin(session, other)
	f.setBusy("b/other", true)
	if clean, err := a.finish(session, other); clean || err != nil {
		t.Errorf("a client has written: %t, %v", clean, err)
	}
	if err := a.end("x"); !errors.Is(err, errSession) {
		t.Errorf("another's end: %v", err)
	}
	if err := a.end(session); err != nil {
		t.Error(err)
	}
	f.want(t)

	second := mustOpenSession(t, a)
	if _, err := a.begin(session, key); !errors.Is(err, errSession) {
		t.Errorf("the old session: %v", err)
	}
	_, _ = a.begin(second, key)
	a.Close()
	a.Close()
	f.want(t)
	if _, err := a.open(); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("after Close: %v", err)
	}
	if _, err := a.begin("", key); !errors.Is(err, errSession) {
		t.Errorf("after Close: %v", err)
	}
}

// A repair that was killed must not keep its keys.
func TestRepairSessionFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &testFence{}
		a := newTestSessions(f)
		session := mustOpenSession(t, a)
		_, _ = a.begin(session, wireKey{"b", "k"})
		for range 3 {
			time.Sleep(sessionTimeout - time.Second)
			if err := a.in(session, func() {}); err != nil {
				t.Fatal(err)
			}
		}
		f.want(t, "b/k")
		time.Sleep(sessionTimeout + time.Second)
		synctest.Wait()
		f.want(t)
		if err := a.in(session, func() {}); !errors.Is(err, errSession) {
			t.Errorf("silent for too long: %v", err)
		}
		// The timer of an ended session must not end the next one.
		second := mustOpenSession(t, a)
		if err := a.end(second); err != nil {
			t.Fatal(err)
		}
		third := mustOpenSession(t, a)
		time.Sleep(sessionTimeout - time.Second)
		if err := a.in(third, func() {}); err != nil {
			t.Error(err)
		}
		a.Close()
	})
}

// mustReach is a repair beside the rig's proxy.
func (r *adminRig) mustReach() *remoteJournal {
	r.t.Helper()
	remote := newRemoteJournal(r.addr, func(err error) { r.t.Errorf("warning: %v", err) })
	r.t.Cleanup(remote.Close)
	return remote
}

func TestRemoteJournal(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	mustPromise(t, r.journal, "PUT", "b", "one\xff", 0b10, "stalled\n")
	mustPromise(t, r.journal, "DELETE", "b", "two", 0b01, "demoted")
	r.limiter.SetMaintained(1, true)
	remote := r.mustReach()
	if err := remote.check(context.Background(), r.journal.dir); err != nil {
		t.Fatal(err)
	}
	if err := remote.check(context.Background(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "is this the configuration of the running proxy?") {
		t.Errorf("another journal: %v", err)
	}

	// Looking needs no session.
	first, next, ok, err := remote.Next(0)
	if err != nil || !ok || first.Key != "one\xff" || first.Reason != "stalled\n" || fmt.Sprint(first.Owed) != "[b:9000]" {
		t.Fatalf("Next: %+v, %t, %v", first, ok, err)
	}
	second, next, ok, err := remote.Next(next)
	if err != nil || !ok || second.Key != "two" {
		t.Fatalf("Next: %+v, %t, %v", second, ok, err)
	}
	if _, _, ok, err := remote.Next(next); ok || err != nil {
		t.Errorf("Next at the end: %t, %v", ok, err)
	}
	if _, err := remote.Resolve(&first); err == nil || !strings.Contains(err.Error(), "session") {
		t.Errorf("Resolve without a session: %v", err)
	}

	if err := remote.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !remote.Out("b:9000") || remote.Out("a:9000") {
		t.Error("the backend in maintenance is to be left alone, the other one is not")
	}
	if !remote.Begin("b", "one\xff") {
		t.Error("not begun")
	}
	r.fence.want(t, "b/one\xff")
	if !remote.End("b", "one\xff") || remote.End("b", "one\xff") {
		t.Error("the first end is clean, the second one none")
	}
	second.Tries, second.LastError = 2, "no\xff"
	if err := remote.Note(&second); err != nil {
		t.Fatal(err)
	}
	if ok, err := remote.Resolve(&first); !ok || err != nil {
		t.Errorf("Resolve: %t, %v", ok, err)
	}
	remote.Resolved(&first, "copied")
	if err := remote.Add(&repair.Task{Bucket: "b", Key: "three", Owed: []string{"a:9000"}, Reason: "missing"}); err != nil {
		t.Fatal(err)
	}
	if err := remote.Add(&repair.Task{Bucket: "b", Key: "four", Owed: []string{"x:9000"}}); err == nil || !strings.Contains(err.Error(), `"x:9000"`) {
		t.Errorf("Add of a backend that is not known: %v", err)
	}
	all := r.journal.tasks(t)
	if objects(all) != "b/two b/three" || all[0].Tries != 2 {
		t.Errorf("tasks: %+v", all)
	}
	r.mu.Lock()
	if fmt.Sprintf("%q", r.resolved) != `["b/one\xff copied"]` {
		t.Errorf("resolved: %q", r.resolved)
	}
	r.mu.Unlock()
	s, err := remote.status(context.Background())
	if err != nil || s.Pending != 2 || !s.Repairing || s.Backends["a:9000"] != 2 || s.Backends["b:9000"] != 0 || s.Oldest == nil {
		t.Errorf("status %+v, %v", s, err)
	}

	other := r.mustReach()
	if err := other.open(context.Background()); err == nil || !strings.Contains(err.Error(), "another `akubra repair`") {
		t.Errorf("a second repair: %v", err)
	}
	remote.Begin("b", "two")
	remote.Close()
	r.fence.want(t)
	if err := other.Start(context.Background()); err != nil {
		t.Errorf("after the first one's end: %v", err)
	}
}

func TestRemoteJournalWithoutProxy(t *testing.T) {
	var warned []error
	remote := newRemoteJournal(mustFreeAddr(t), func(err error) { warned = append(warned, err) })
	defer remote.Close()
	const want = "cannot reach the proxy at AdminListen (http://127.0.0.1:"
	for name, call := range map[string]func() error{
		"Start":   func() error { return remote.Start(context.Background()) },
		"Next":    func() error { _, _, _, err := remote.Next(0); return err },
		"Resolve": func() error { _, err := remote.Resolve(&repair.Task{}); return err },
		"Note":    func() error { return remote.Note(&repair.Task{}) },
		"Add":     func() error { return remote.Add(&repair.Task{}) },
	} {
		if err := call(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if remote.Begin("b", "k") || remote.End("b", "k") || len(warned) != 2 {
		t.Errorf("a fence that nobody keeps; warned: %v", warned)
	}
}

func TestAdminJournal(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	mustPromise(t, r.journal, "PUT", "b", "k", 0b11, "stalled")
	var s journalStatus
	r.want(http.StatusOK, &s, "GET", "/journal", "")
	if s.Pending != 1 || s.Dir != r.journal.dir || s.ID == "" || s.Failed || s.Backends["b:9000"] != 1 || s.Written == 0 {
		t.Errorf("journal %+v", s)
	}
	var all struct {
		Journal journalStatus `json:"journal"`
		Repair  struct {
			Resolved int `json:"resolved"`
		} `json:"repair"`
	}
	r.want(http.StatusOK, &all, "GET", "/status", "")
	if all.Journal.Pending != 1 || all.Repair.Resolved != 7 {
		t.Errorf("status %+v", all)
	}
	var p problem
	r.want(http.StatusBadRequest, &p, "POST", "/journal/next", "{")
	if !strings.HasPrefix(p.Error, "cannot read the call: ") {
		t.Errorf("problem %+v", p)
	}
	r.want(http.StatusConflict, &p, "POST", "/journal/begin", `{"session":"x"}`)
	if p.Error != errSession.Error() {
		t.Errorf("problem %+v", p)
	}
	r.want(http.StatusForbidden, &p, "POST", "/journal/open", "{}", "Origin", "http://evil.example.com")
	if _, err := r.session.open(); err != nil {
		t.Errorf("a page of another site has begun a session: %v", err)
	}
}

func TestAdminJournalBusy(t *testing.T) {
	a := newJournalAdmin(journalAdminOptions{Busy: "the proxy repairs by itself"})
	if _, err := a.open(); err == nil || err.Error() != "the proxy repairs by itself" {
		t.Errorf("a session beside the proxy's own repair: %v", err)
	}
}
