package main

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// send sends one request to a backend, on a connection of its own.
func send(t *testing.T, s *backend, c *Case) error {
	t.Helper()
	cl := &client{dial: dialer(s.addr, nil), timeout: 20 * time.Second, progress: func(int) {}, fresh: true}
	defer cl.close()
	var req request
	newStubSource(c, s.addr, 0).next(&req)
	return cl.do(&req)
}

func TestHang(t *testing.T) {
	s := newTestBackend(t)
	s.setFault(newFault(faultHang))
	answered := make(chan error, 1)
	go func() { answered <- send(t, s, &Case{Method: "PUT", Size: 10}) }()
	select {
	case err := <-answered:
		t.Fatalf("it answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if n := s.take().requests(); n != 0 {
		t.Fatalf("it counted %d requests", n)
	}
	s.setFault(newFault(faultNone))
	testkit.MustDo(t, <-answered)
}

func TestDeadAndBack(t *testing.T) {
	s := newTestBackend(t)
	c := Case{Method: "PUT", Size: 10, Conns: 1}
	l := newTestLoad(t, s, &c, 3)
	if r := l.run(context.Background(), time.Minute, nil); r.failed.Load() != 0 {
		t.Fatal(r.errors)
	}
	s.setFault(newFault(faultDead))
	if r := l.run(context.Background(), time.Minute, nil); r.failed.Load() != 3 || r.errors["cannot connect"] != 2 {
		t.Fatalf("one should have been cut and two refused: %v", r.errors)
	}
	s.setFault(newFault(faultNone))
	if r := l.run(context.Background(), time.Minute, nil); r.failed.Load() != 0 {
		t.Fatal(r.errors)
	}
}

func TestFlap(t *testing.T) {
	s := newTestBackend(t)
	f := newFault(faultFlap)
	f.period = 10 * time.Millisecond
	s.setFault(f)
	there := func() bool {
		nc, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	}
	await := func(want bool) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("there: %v", want), func() bool { return there() == want })
	}
	for range 3 {
		await(false)
		await(true)
	}
	s.setFault(newFault(faultDead))
	await(false)
	s.setFault(newFault(faultNone))
	await(true)
	testkit.MustDo(t, send(t, s, &Case{Method: "PUT", Size: 10}))
}

func TestTrickleLosesNothing(t *testing.T) {
	s := newTestBackend(t)
	f := newFault(faultTrickle)
	f.rate = 1 << 20
	s.setFault(f)
	for _, method := range []string{"PUT", "GET"} {
		start := time.Now()
		if err := send(t, s, &Case{Method: method, Size: 120_000}); err != nil {
			t.Fatal(method, err)
		}
		if passed := time.Since(start); passed < 90*time.Millisecond {
			t.Errorf("%s of 120,000 bytes at 1 MiB/s took %v", method, passed)
		}
	}
	if seen := s.take(); seen.Puts != 1 || seen.Gets != 1 || seen.Bytes != 120_000 {
		t.Errorf("%+v", seen)
	}
	// Ended on the way, the rest comes at once.
	answered := make(chan error, 1)
	slow := newFault(faultTrickle)
	slow.rate = 1
	s.setFault(slow)
	go func() { answered <- send(t, s, &Case{Method: "PUT", Size: 1 << 20}) }()
	s.setFault(newFault(faultNone))
	testkit.MustDo(t, <-answered)
}

func TestFaultAsText(t *testing.T) {
	f := newFault(faultFlap)
	f.rate, f.period = 123, 1500*time.Millisecond
	got, err := parseFault(f.String())
	if err != nil || got.mode != f.mode || got.rate != f.rate || got.period != f.period {
		t.Fatalf("%v, %v", got, err)
	}
	for _, wrong := range []string{"", "hang", "hang 1", "hang x 1s", "hang 1 x", "hang 0 1s", "hang 1 0s"} {
		if f, err := parseFault(wrong); err == nil {
			t.Errorf("%q is read as %v", wrong, f)
		}
	}
}
