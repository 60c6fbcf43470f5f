package remote

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

func newTestSessions(fence repair.Fence) *Server {
	return NewServer(ServerOptions{Fence: fence})
}

func mustOpenSession(t testing.TB, a *Server) string {
	t.Helper()
	session, err := a.open(false)
	testkit.MustDo(t, err)
	return session
}

func TestRepairSession(t *testing.T) {
	f := &testkit.Fence{}
	a := newTestSessions(f)
	session := mustOpenSession(t, a)
	if _, err := a.open(false); err == nil || !strings.Contains(err.Error(), "another") {
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
	f.Want(t, "b/k\xff")
	if clean, err := a.finish(session, key); !clean || err != nil {
		t.Errorf("ended: %t, %v", clean, err)
	}
	f.SetBusy("b/other", true)
	if ok, err := a.begin(session, other); ok || err != nil {
		t.Errorf("a client writes, and it has begun: %t, %v", ok, err)
	}
	f.SetBusy("b/other", false)
	_, _ = a.begin(session, key)
	_, _ = a.begin(session, other)
	f.SetBusy("b/other", true)
	if clean, err := a.finish(session, other); clean || err != nil {
		t.Errorf("a client has written: %t, %v", clean, err)
	}
	if err := a.end("x"); !errors.Is(err, errSession) {
		t.Errorf("another's end: %v", err)
	}
	if err := a.end(session); err != nil {
		t.Error(err)
	}
	f.Want(t)

	second := mustOpenSession(t, a)
	if _, err := a.begin(session, key); !errors.Is(err, errSession) {
		t.Errorf("the old session: %v", err)
	}
	_, _ = a.begin(second, key)
	a.Close()
	a.Close()
	f.Want(t)
	if _, err := a.open(false); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("after Close: %v", err)
	}
	if _, err := a.begin("", key); !errors.Is(err, errSession) {
		t.Errorf("after Close: %v", err)
	}
}

// A repair that was killed must not keep its keys.
func TestRepairSessionFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &testkit.Fence{}
		a := newTestSessions(f)
		session := mustOpenSession(t, a)
		_, _ = a.begin(session, wireKey{"b", "k"})
		for range 3 {
			time.Sleep(sessionTimeout - time.Second) // of the bubble's, as all here
			testkit.MustDo(t, a.in(session, func() {}))
		}
		f.Want(t, "b/k")
		time.Sleep(sessionTimeout + time.Second) // in the bubble
		synctest.Wait()
		f.Want(t)
		if err := a.in(session, func() {}); !errors.Is(err, errSession) {
			t.Errorf("silent for too long: %v", err)
		}
		// The timer of an ended session must not end the next one.
		second := mustOpenSession(t, a)
		testkit.MustDo(t, a.end(second))
		third := mustOpenSession(t, a)
		time.Sleep(sessionTimeout - time.Second)
		if err := a.in(third, func() {}); err != nil {
			t.Error(err)
		}
		a.Close()
	})
}

func TestClientWithoutProxy(t *testing.T) {
	var warned []error
	remote := NewClient(testkit.MustFreeAddr(t), func(err error) { warned = append(warned, err) })
	defer remote.Close()
	const want = "cannot reach the proxy at AdminListen (http://127.0.0.1:"
	for name, call := range map[string]func() error{
		"Start":   func() error { return remote.Start(context.Background()) },
		"Next":    func() error { _, _, _, err := remote.Next(0); return err },
		"Resolve": func() error { _, err := remote.Resolve(&task.Task{}); return err },
		"Note":    func() error { _, err := remote.Note(&task.Task{}); return err },
		"Add":     func() error { return remote.Add(&task.Task{}) },
	} {
		if err := call(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if remote.Begin("b", "k") || remote.End("b", "k") || len(warned) != 2 {
		t.Errorf("a fence that nobody keeps; warned: %v", warned)
	}
}

func TestServerBusy(t *testing.T) {
	a := NewServer(ServerOptions{Busy: func() string { return "the proxy repairs by itself" }})
	if _, err := a.open(false); err == nil || err.Error() != "the proxy repairs by itself" {
		t.Errorf("a session beside the proxy's own repair: %v", err)
	}
}
