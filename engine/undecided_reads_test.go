package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
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
