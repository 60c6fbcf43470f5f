package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// Once the decider has taken the write, and its client still waits for the others (WriteAck), a read is
// answered with it, and no answer of the others counts.
func TestR29R30ReadsWhileOthersAreToTakeIt(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, reading(policy, 1, 2), func(o *Options, _ *limiter.Options) { o.WriteAck = AckAll })
			for _, s := range r.stores {
				s.Put("/b/k", []byte("before"))
			}
			open := gatedNext(t, r.stores[1])
			writer, reader := r.dial(), r.dial()
			writer.Send(conditional("PUT", "/b/k", "after"))
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			wantRead(t, reader, "after")
			for range 4 { // who comes after one that was shown it does not ask who may lack it
				asked := len(r.stores[1].Requests())
				wantRead(t, reader, "after")
				if n := len(r.stores[1].Requests()); n != asked {
					t.Errorf("%d more were asked of the other one", n-asked)
				}
			}
			open()
			if a, err := writer.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
			r.settled()
		})
	}
}

func wantRead(t *testing.T, client *stub.Client, want string) {
	t.Helper()
	if a := client.Do(requestFor("GET", "/b/k")); a.Status != 200 || string(a.Body) != want {
		t.Errorf("it reads %d %q, want %q", a.Status, a.Body, want)
	}
}

// Where the decider is the only one in the pool its answer is given although it has not decided. Another one
// that comes back meanwhile is not asked: it has what was before.
func TestR29R30ReadsAfterOneThatWasShownIt(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, reading(policy, 1, 2), func(o *Options, _ *limiter.Options) { o.briefWait = 100 * time.Millisecond })
			for _, s := range r.stores {
				s.Put("/b/k", []byte("before"))
			}
			r.limiter.SetMaintained(1, true)
			open := gatedNext(t, r.stores[0])
			writer, reader := r.dial(), r.dial()
			writer.Send(conditional("PUT", "/b/k", "after"))
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			wantRead(t, reader, "after")
			r.limiter.SetMaintained(1, false)
			for range 4 {
				wantRead(t, reader, "after")
			}
			open()
			if a, err := writer.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
			wantRead(t, reader, "after")
			r.settled()
		})
	}
}

// What a decider has not got the end of it cannot show: nobody waits for the rest of an upload.
func TestR29R30ReadsBesideALongUpload(t *testing.T) {
	t.Parallel()
	some := strings.Repeat("x", 90000)
	for name, rest := range map[string]string{
		"of known length": "Content-Length: 100000\r\n\r\n" + some,
		"in chunks":       "Transfer-Encoding: chunked\r\n\r\n15f90\r\n" + some + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, waitsLong)
			r.stores[0].Put("/b/k", []byte("before"))
			r.journal.owe("b", "k", 0b10)
			writer, reader := r.dial(), r.dial()
			writer.Send("PUT /b/k HTTP/1.1\r\nHost: h\r\nIf-Match: \"x\"\r\n" + rest)
			r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && rs[0].BodyBytes >= 80000 })
			begun := time.Now()
			wantRead(t, reader, "before")
			if took := time.Since(begun); took > patience/2 {
				t.Errorf("that took %v", took)
			}
		})
	}
}

// The owner of an upload decides whether it may be completed, and is not to show it before that.
func TestR29R30ReadsBesideACompletion(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, reading(policy, 2, 1), func(o *Options, _ *limiter.Options) { o.briefWait = 100 * time.Millisecond })
			id, owner := r.initiate("/b/k")
			raw := completeRequest("/b/k", id, r.uploadPart("/b/k", id, 1, "part"))
			open := gatedNext(t, r.stores[owner])
			writer, reader := r.dial(), r.dial()
			writer.Send(strings.Replace(raw, "\r\n\r\n", "\r\nIf-None-Match: *\r\n\r\n", 1))
			r.stores[owner].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			wantStored(t, r.stores[owner], "/b/k", "part")
			for range 4 {
				if a := reader.Do(requestFor("GET", "/b/k")); a.Status != 404 {
					t.Fatalf("it reads %d %q", a.Status, a.Body)
				}
			}
			open()
			if a, err := writer.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
			for range 4 {
				wantRead(t, reader, "part")
			}
			r.settled()
		})
	}
}

// A read that a decision overtakes is answered by a backend that lacks the write only where there is no other
// answer, and only where the client is told that it may be (StaleReads).
func TestR30StaleReadsOvertakenByADecision(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		for _, method := range []string{"GET", "HEAD"} {
			for what, decider := range map[string]stub.Behaviour{
				"no answer": {Cut: stub.CutReset, CutAt: stub.NoAnswer}, "500": {Status: 500}, "404": {Status: 404},
			} {
				for _, size := range []int{10, 1 << 20} {
					t.Run(fmt.Sprint(policy, " ", method, " ", what, " ", size), func(t *testing.T) {
						t.Parallel()
						a := overtakenRead(t, method, pattern(size), decider, reading(policy, 1, 2), allowStale)
						stale := a.Headers.Get("X-Akubra-Stale")
						if what == "404" {
							wantStatus(t, a, 404)
							if stale != "" {
								t.Error("it is marked as stale")
							}
							return
						}
						wantStatus(t, a, 200)
						if stale != "1" || a.Length != int64(size) || method == "GET" && string(a.Body) != pattern(size) {
							t.Errorf("it is marked %q, with %d bytes", stale, a.Length)
						}
					})
				}
				t.Run(fmt.Sprint(policy, " ", method, " ", what, " refused"), func(t *testing.T) {
					t.Parallel()
					a := overtakenRead(t, method, "before", decider, reading(policy, 1, 2))
					if a.Status < 404 || a.Headers.Get("X-Akubra-Stale") != "" {
						t.Errorf("it is answered %d, marked %q", a.Status, a.Headers.Get("X-Akubra-Stale"))
					}
				})
			}
		}
	}
}

// overtakenRead reads a key beside a conditional write, to which one backend alone, the decider, says yes. It
// answers the read as it is told, and the other one with what it had before.
func overtakenRead(t *testing.T, method, before string, decider stub.Behaviour, setups ...setup) *stub.Answer {
	t.Helper()
	r := newRig(t, 2, append(setups, decidedBy, waitsLong)...)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	decider.Gate = gate
	reads, writes := [2]stub.Behaviour{decider, {Gate: gate}}, [2]stub.Behaviour{{}, stub.Fails(503)}
	for i, s := range r.stores {
		s.Put("/b/k", []byte(before))
		s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
			if q.Method == method {
				return reads[i]
			}
			return writes[i]
		})
	}
	answered := make(chan *stub.Answer, 1)
	go func() { answered <- r.readOnce(method, "/b/k") }()
	until(t, "it is asked for", func() bool { return r.stores[0].Requests().Held()+r.stores[1].Requests().Held() > 0 })
	wantStatus(t, r.dial().Do(conditional("PUT", "/b/k", "after")), 200)
	open()
	a := testkit.Receive(t, "the answer", answered)
	r.settled()
	return a
}

// So it is where the decider has taken the write, and its client waits for the others for long.
func TestR30StaleReadsWhileOthersAreToTakeIt(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy, reading(policy, 1, 2), allowStale, func(o *Options, _ *limiter.Options) {
				o.WriteAck, o.briefWait = AckAll, 100*time.Millisecond
			})
			for _, s := range r.stores {
				s.Put("/b/k", []byte("before"))
			}
			gate := make(chan struct{})
			open := sync.OnceFunc(func() { close(gate) })
			defer open()
			r.stores[1].BehaveNext(stub.Behaviour{Gate: gate, Store: stub.StoreNever})
			writer := r.dial()
			writer.Send(conditional("PUT", "/b/k", "after"))
			r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
			r.stores[0].Behave(stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer})
			if a := r.readOnce("GET", "/b/k"); a.Status != 200 || string(a.Body) != "before" || a.Headers.Get("X-Akubra-Stale") != "1" {
				t.Errorf("it reads %d %q, marked %q", a.Status, a.Body, a.Headers.Get("X-Akubra-Stale"))
			}
			open()
			if a, err := writer.ReadAnswer(); err != nil || a.Status != 200 {
				t.Fatal(a, err)
			}
			r.settled()
		})
	}
}
