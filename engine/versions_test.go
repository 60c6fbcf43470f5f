package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// versioned has each storage tell a version's id of its own, and more.
func (r *rig) versioned(more func(i int, b *stub.Behaviour)) {
	for i, s := range r.stores {
		b := stub.Behaviour{Headers: stub.H("x-amz-version-id", fmt.Sprint("v", i))}
		if more != nil {
			more(i, &b)
		}
		s.Behave(b)
	}
}

// awaitHeld waits until a storage holds a request.
func (r *rig) awaitHeld(i int) {
	r.t.Helper()
	r.stores[i].Wait(r.t, func(rs stub.Requests) bool { return rs.Held() == 1 })
}

// The primary's id goes to the client, if it comes soon, and no other one's.
func TestR28VersionOfThePrimary(t *testing.T) {
	t.Parallel()
	for _, ack := range []string{AckFirst, AckQuorum, AckAll} {
		for _, method := range []string{"PUT", "DELETE"} {
			for _, log := range []bool{false, true} {
				t.Run(fmt.Sprint(ack, " ", method, " ", log), func(t *testing.T) {
					setups := []setup{decidedBy, func(o *Options, _ *limiter.Options) { o.WriteAck = ack }}
					if log {
						setups = append(setups, logged)
					}
					r := newRig(t, 3, setups...)
					gate := make(chan struct{})
					r.versioned(func(i int, b *stub.Behaviour) {
						if i == 0 {
							b.Gate = gate
						}
					})
					request := putRequest("/b/k", "body")
					if method == "DELETE" {
						request = requestFor("DELETE", "/b/k")
					}
					answers := make(chan *stub.Answer, 1)
					go func() { answers <- r.dial().Do(request) }()
					r.legsEnded(OutcomePositive, 2)
					select {
					case a := <-answers:
						t.Fatalf("answered without the primary: %v", a.Headers)
					default:
					}
					close(gate)
					if got := testkit.Receive(t, "an answer", answers).Headers.Get("x-amz-version-id"); got != "v0" {
						t.Errorf("version %q", got)
					}
					r.settled()
				})
			}
		}
	}
}

// The same of an ETag that is the backend's own: the decider knows no other one (R29).
func TestR28ETagOfThePrimary(t *testing.T) {
	t.Parallel()
	for _, sse := range []string{sseC, sseKMS} {
		for _, method := range []string{"PUT", "HEAD"} {
			t.Run(sse+" "+method, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2, decidedBy)
				gate := make(chan struct{})
				name, value, _ := strings.Cut(sse, ": ")
				for i, s := range r.stores {
					b := stub.Behaviour{Status: 200, Headers: stub.H("ETag", fmt.Sprintf(`"e%d"`, i), name, value)}
					if i == 0 {
						b.Gate = gate
					}
					s.Behave(b)
				}
				request := requestFor("HEAD", "/b/k")
				if method == "PUT" {
					request = putRequest("/b/k", "body")
				}
				answers := make(chan *stub.Answer, 1)
				go func() { answers <- r.dial().Do(request) }()
				r.legsEnded(OutcomePositive, 1)
				close(gate)
				if a := testkit.Receive(t, "an answer", answers); a.Headers.Get("ETag") != `"e0"` {
					t.Errorf("%d %v", a.Status, a.Headers)
				}
				if list := r.settled(); len(list) > 0 {
					t.Errorf("recorded: %+v", list)
				}
			})
		}
	}
}

// A primary that is late, refuses or fails does not keep the client waiting for ever.
func TestR28PrimaryIsLate(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]stub.Behaviour{
		"late": {HangAfterBody: true}, "refuses": stub.Fails(503), "dies": {Cut: stub.CutReset, CutAt: stub.NoAnswer},
	} {
		for _, log := range []bool{false, true} {
			t.Run(fmt.Sprint(name, log), func(t *testing.T) {
				setups := []setup{decidedBy, func(o *Options, _ *limiter.Options) { o.PrimaryWait = 20 * time.Millisecond }}
				if log {
					setups = append(setups, logged)
				}
				r := newRig(t, 2, setups...)
				r.versioned(func(i int, was *stub.Behaviour) {
					if i == 0 {
						*was = b
					}
				})
				a := r.put("/b/k", "body")
				wantStatus(t, a, 200)
				if got := a.Headers.Get("x-amz-version-id"); got != "v1" {
					t.Errorf("version %q", got)
				}
				if b.HangAfterBody {
					r.awaitHeld(0)
				}
				r.stores[0].Unhang()
				r.settled()
			})
		}
	}
}

// Where nobody tells a version's id, nobody waits: the version "null" is none.
func TestR28UnversionedDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "null"} {
		r := newRig(t, 2, decidedBy)
		r.stores[0].Behave(stub.Behaviour{HangAfterBody: true})
		if id != "" {
			r.stores[1].Behave(stub.Behaviour{Headers: stub.H("x-amz-version-id", id)})
		}
		wantStatus(t, r.put("/b/k", "body"), 200)
		r.awaitHeld(0)
		r.stores[0].Unhang()
		r.settled()
	}
}

// In a bucket where a write was given a version's id, the primary is waited for although a quicker backend tells none:
// one that lacks the object makes no delete marker, and says yes all the same.
func TestR28PrimaryOfABucketWithVersions(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"DELETE", "PUT", "DeleteObjects"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, decidedBy)
			r.versioned(nil)
			wantStatus(t, r.put("/b/k", "body"), 200)
			r.settled()
			gate := make(chan struct{})
			request, answer := requestFor("DELETE", "/b/k"), stub.Behaviour{Status: 200}
			switch method {
			case "PUT":
				request = putRequest("/b/k", "other")
			case "DeleteObjects":
				request, answer = deleteRequestOf("k"), deleteAnswer([]string{"k"})
			}
			r.stores[1].Behave(answer)
			answer.Headers, answer.Gate = stub.H("x-amz-version-id", "marker"), gate
			r.stores[0].Behave(answer)
			answers := make(chan *stub.Answer, 1)
			go func() { answers <- r.dial().Do(request) }()
			r.legsEnded(OutcomePositive, 3) // one of this request's
			close(gate)
			if got := testkit.Receive(t, "an answer", answers).Headers.Get("x-amz-version-id"); got != "marker" {
				t.Errorf("version %q", got)
			}
			r.settled()
		})
	}
}

// A request that names a version goes to who gave the id; nobody knows an unknown one, and
// so each is asked.
func TestR28VersionIsAskedWhereItCameFrom(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t, 3, decidedBy)
			r.versioned(nil)
			wantStatus(t, r.put("/b/k", "body"), 200)
			r.settled()
			asked := func(id string) (n [3]int) {
				for i, s := range r.stores {
					n[i] = -len(s.Requests())
				}
				c := r.dial()
				c.Send(requestFor(method, "/b/k?versionId="+id))
				if a, err := c.ReadAnswerTo(method); err != nil || a.Status/100 != 2 {
					t.Fatalf("answer is %v, %v", a, err)
				}
				r.settled()
				for i, s := range r.stores {
					n[i] += len(s.Requests())
				}
				return n
			}
			if got := asked("v0"); got != [3]int{1, 0, 0} {
				t.Errorf("asked %v times", got)
			}
			if got := asked("unknown"); got != [3]int{1, 1, 1} {
				t.Errorf("an unknown one was asked %v times", got)
			}
		})
	}
}

// A version that was deleted where it was is still what the others have made of it.
func TestR28R35DeletedVersionIsOwedByTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, decidedBy)
	r.versioned(nil)
	wantStatus(t, r.put("/b/k", "body"), 200)
	r.settled()
	wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k?versionId=v0")), 204)
	list := r.settled()
	if len(list) != 2 || list[0].Error != outcome.VersionOfAnother || list[0].SuccessHost != r.host(0) {
		t.Errorf("recorded: %+v", list)
	}
	if e := r.journal.newest("b", "k"); e.Owed != 0b110 {
		t.Errorf("in the journal: %+v", e)
	}
}

// Listings of versions and of uploads are the primary's, or whoever's stands in for it.
func TestR28ListingsOfThePrimary(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/b?versions", "/b?prefix=x&versions=", "/b?uploads"} {
		r := newRig(t, 3, decidedBy)
		for want := range 2 {
			for i, s := range r.stores {
				s.Behave(stub.Behaviour{Status: 200, Headers: stub.H("X-Store", fmt.Sprint(i))})
			}
			a := r.dial().Do(requestFor("GET", target))
			wantStatus(t, a, 200)
			if want == 1 {
				want = r.e.current().primaries.first([]byte("b"), 0b110)
			}
			if got := a.Headers.Get("X-Store"); got != fmt.Sprint(want) {
				t.Errorf("%s comes from %s, want %d", target, got, want)
			}
			r.limiter.SetMaintained(0, true)
		}
		r.settled()
		if n := len(r.stores[1].Requests()) + len(r.stores[2].Requests()); n != 1 {
			t.Errorf("%s: the others were asked %d times", target, n)
		}
	}
}
