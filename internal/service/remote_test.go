package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// remoteRig is the protocol for repairs beside a proxy, with a real admin listener and journal.
type remoteRig struct {
	t       testing.TB
	addr    string
	journal *ledger.NamedJournal
	fence   *testkit.Fence
	server  *remote.Server

	mu       sync.Mutex
	resolved []string
	out      []string
}

func newRemoteRig(t testing.TB, names ...string) *remoteRig {
	t.Helper()
	testkit.NoLeaks(t)
	r := &remoteRig{t: t, journal: ledgertest.MustOpen(t, t.TempDir(), names...), fence: &testkit.Fence{}}
	r.server = remote.NewServer(remote.ServerOptions{
		Journal: r.journal, Store: r.journal.Journal, Names: names, Dir: r.journal.Dir, Fence: r.fence,
		Resolved: func(task *task.Task, action string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.resolved = append(r.resolved, task.Bucket+"/"+task.Key+" "+action)
		},
		Out: func() []string {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.out
		},
	})
	listener := admin.New(admin.Options{
		JournalStatus: func() any { return r.server.Status() }, JournalCalls: remote.Calls, JournalCall: r.server.Answer,
		MaxConfig: config.MaxSize,
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	r.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- listener.Serve(ln) }()
	t.Cleanup(func() {
		r.server.Close()
		if err := listener.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := testkit.Receive(t, "the end of Serve", served); err != nil {
			t.Error(err)
		}
	})
	return r
}

// mustReach is a repair beside the rig's proxy.
func (r *remoteRig) mustReach() *remote.Client {
	r.t.Helper()
	remote := remote.NewClient(r.addr, func(err error) { r.t.Errorf("warning: %v", err) })
	r.t.Cleanup(remote.Close)
	return remote
}

func TestRemoteJournal(t *testing.T) {
	r := newRemoteRig(t, "a:9000", "b:9000")
	ledgertest.MustPromise(t, r.journal, "PUT", "b", "one\xff", 0b10, "stalled\n")
	ledgertest.MustPromise(t, r.journal, "DELETE", "b", "two", 0b01, "demoted")
	r.out = []string{"b:9000"}
	remote := r.mustReach()
	testkit.MustDo(t, remote.Check(context.Background(), r.journal.Dir))
	if err := remote.Check(context.Background(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "is this the configuration of the running proxy?") {
		t.Errorf("another journal: %v", err)
	}

	// Reading needs no session.
	first, next, ok, err := remote.Next(0)
	if err != nil || !ok || first.Key != "one\xff" || first.Newest().Reason != "stalled\n" || fmt.Sprint(first.Owed()) != "[b:9000]" {
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

	testkit.MustDo(t, remote.Start(context.Background()))
	if !remote.Out("b:9000") || remote.Out("a:9000") {
		t.Error("the backend in maintenance is to be left alone, the other one is not")
	}
	if !remote.Begin("b", "one\xff") {
		t.Error("not begun")
	}
	r.fence.Want(t, "b/one\xff")
	if !remote.End("b", "one\xff") || remote.End("b", "one\xff") {
		t.Error("the first end is clean, the second one none")
	}
	second.Tries, second.LastError = 2, "no\xff"
	if ok, err := remote.Note(&second); !ok || err != nil {
		t.Fatalf("Note: %t, %v", ok, err)
	}
	if ok, err := remote.Resolve(&first); !ok || err != nil {
		t.Errorf("Resolve: %t, %v", ok, err)
	}
	if ok, err := remote.Note(&first); ok || err != nil {
		t.Errorf("Note of what is resolved: %t, %v", ok, err)
	}
	remote.Resolved(&first, "copied")
	testkit.MustDo(t, remote.Add(&task.Task{Bucket: "b", Key: "three", Writes: []task.Write{{Aspect: task.Found, Owed: []string{"a:9000"}, Reason: "missing"}}}))
	if err := remote.Add(&task.Task{Bucket: "b", Key: "four", Writes: []task.Write{{Aspect: task.Found, Owed: []string{"x:9000"}}}}); err == nil || !strings.Contains(err.Error(), `"x:9000"`) {
		t.Errorf("Add of a backend that is not known: %v", err)
	}
	all := ledgertest.Tasks(t, r.journal)
	if ledgertest.Objects(all) != "b/two b/three" || all[0].Tries != 2 {
		t.Errorf("tasks: %+v", all)
	}
	r.mu.Lock()
	if fmt.Sprintf("%q", r.resolved) != `["b/one\xff copied"]` {
		t.Errorf("resolved: %q", r.resolved)
	}
	r.mu.Unlock()
	s, err := remote.Status(context.Background())
	if err != nil || s.Pending != 2 || !s.Repairing || s.Backends["a:9000"] != 2 || s.Backends["b:9000"] != 0 || s.Oldest == nil {
		t.Errorf("status %+v, %v", s, err)
	}

	other := r.mustReach()
	if _, _, err := r.server.Answer("open", []byte("{}"), ""); err == nil || !strings.Contains(err.Error(), "another `akubra repair`") {
		t.Errorf("a second repair: %v", err)
	}
	remote.Begin("b", "two")
	remote.Close()
	r.fence.Want(t)
	if err := other.Start(context.Background()); err != nil {
		t.Errorf("after the first one's end: %v", err)
	}
}

func TestJournalPages(t *testing.T) {
	r := newRemoteRig(t, "a:9000", "b:9000")
	ledgertest.MustPromise(t, r.journal, "PUT", "b", "k", 0b11, "stalled")
	var s remote.Status
	testkit.MustDo(t, json.Unmarshal([]byte(testkit.MustSend(t, "GET", "http://"+r.addr+"/journal", "")), &s))
	if s.Pending != 1 || s.Dir != r.journal.Dir || s.ID == "" || s.Failed || s.Backends["b:9000"] != 1 || s.Written == 0 {
		t.Errorf("journal %+v", s)
	}
	status, answer, err := testkit.Send("POST", "http://"+r.addr+"/journal/next", "{")
	if err != nil || status != http.StatusBadRequest || !strings.Contains(answer, "cannot read the call: ") {
		t.Errorf("no JSON: %d %s, %v", status, answer, err)
	}
	status, answer, err = testkit.Send("POST", "http://"+r.addr+"/journal/begin", `{"session":"x"}`)
	if err != nil || status != http.StatusConflict || !strings.Contains(answer, "this repair's session has ended") {
		t.Errorf("no session: %d %s, %v", status, answer, err)
	}
}
