package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// listing is a rig of two storages whose writes end as the test says, and that is asked for a list.
type listing struct {
	*rig
	c     *stub.Client
	gates map[string]chan struct{} // by path: until when the storages hold it that are not the first to take it
	first map[string]int           // by path: the storage that takes it at once
	fails map[string]bool          // by path: the others refuse it
	list  string
}

const listOfB = "/b?list-type=2"

func newListing(t *testing.T, policy string, setups ...setup) *listing {
	l := &listing{
		rig: newRig(t, 2, append([]setup{reading(policy), waitsLong}, setups...)...), list: listOfB,
		gates: map[string]chan struct{}{}, first: map[string]int{}, fails: map[string]bool{},
	}
	for _, path := range []string{"/b/1", "/b/2", "/b/3", "/new"} {
		l.gates[path] = make(chan struct{})
	}
	for i, s := range l.stores {
		s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
			switch gate := l.gates[q.Target]; {
			case q.Method == "GET":
				return stub.Behaviour{Status: 200, Body: []byte("<L/>")}
			case gate == nil || l.first[q.Target] == i:
				return stub.Behaviour{}
			case l.fails[q.Target]:
				return stub.Behaviour{Gate: gate, Status: 500}
			default:
				return stub.Behaviour{Gate: gate}
			}
		})
	}
	l.c = l.dial()
	return l
}

// write sends a write that one storage takes at once; the other one has it then, and holds it.
func (l *listing) write(method, path string) {
	l.t.Helper()
	request, status := putRequest(path, "x"), 200
	if method == "DELETE" {
		request, status = requestFor(method, path), 204
	}
	other := l.stores[1-l.first[path]]
	held := other.Requests().Held()
	wantStatus(l.t, l.c.Do(request), status)
	other.Wait(l.t, func(q stub.Requests) bool { return q.Held() == held+1 })
}

// ask asks for the list, and returns once the journal was asked what the storages lack.
func (l *listing) ask() <-chan *stub.Answer {
	answers := make(chan *stub.Answer, 1)
	looks := l.journal.looks.Load()
	go func() { answers <- l.dial().Do(requestFor("GET", l.list)) }()
	until(l.t, "the journal is asked", func() bool { return l.journal.looks.Load() > looks })
	return answers
}

// wantWaiting checks that the list is waited for: the journal is asked over and over, and no storage.
func (l *listing) wantWaiting(when string) {
	l.t.Helper()
	looks := l.journal.looks.Load()
	until(l.t, "the journal is asked again "+when, func() bool { return l.journal.looks.Load() > looks+2 })
	for i, s := range l.stores {
		if asked(s, l.list) {
			l.t.Fatalf("storage %d is asked %s", i, when)
		}
	}
}

// wantFrom checks whose list it is.
func (l *listing) wantFrom(answers <-chan *stub.Answer, store int) {
	l.t.Helper()
	wantStatus(l.t, testkit.Receive(l.t, "the list", answers), 200)
	if asked(l.stores[1-store], l.list) || !asked(l.stores[store], l.list) {
		l.t.Errorf("it is not the list of storage %d", store)
	}
}

func (l *listing) open(paths ...string) {
	for _, path := range paths {
		close(l.gates[path])
	}
}

// lists runs a test for each policy.
func lists(t *testing.T, name any, test func(t *testing.T, policy string)) {
	t.Helper()
	for _, policy := range readPolicies {
		t.Run(fmt.Sprint(policy, " ", name), func(t *testing.T) {
			t.Parallel()
			test(t, policy)
		})
	}
}

// R30: a list comes from the backend that owes nothing but what is under way to it, also where another
// one owes fewer keys; and it has what was acknowledged before it began, whatever begins meanwhile.
func TestR30ListingAwaitsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"PUT", "DELETE"} {
		lists(t, method, func(t *testing.T, policy string) {
			l := newListing(t, policy)
			l.journal.owe("b", "completed", 0b01)
			l.write(method, "/b/1")
			l.write(method, "/b/2")
			answers := l.ask()
			l.wantWaiting("while both writes are under way")
			l.write(method, "/b/3") // no part of it
			l.open("/b/1")
			l.wantWaiting("while one of them is")
			l.open("/b/2")
			l.wantFrom(answers, 1)
			l.open("/b/3")
			l.settled()
		})
	}
}

// R30: a write is under way until the journal knows how it has ended: there is no moment between.
func TestR30ListingWhileAWriteIsSettled(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		lists(t, fails, func(t *testing.T, policy string) {
			l := newListing(t, policy)
			l.fails["/b/1"] = fails
			l.journal.owe("b", "completed", 0b01)
			settling, settle := make(chan struct{}, 2), make(chan struct{})
			hold := func(uint64) {
				settling <- struct{}{}
				<-settle
			}
			l.journal.settle.Store(&hold)
			l.write("PUT", "/b/1")
			l.write("PUT", "/b/2")
			answers := l.ask()
			l.wantWaiting("while the writes are under way")
			l.open("/b/1")
			testkit.Receive(t, "who settles it", settling)
			l.wantWaiting("while one of them is settled")
			close(settle)
			if fails { // it owes as much as the other one now, and is not done
				l.wantFrom(answers, 0)
				l.open("/b/2")
			} else {
				l.wantWaiting("while the other one is under way")
				l.open("/b/2")
				l.wantFrom(answers, 1)
			}
			l.settled()
		})
	}
}

// R30: of two backends to which writes are under way the one lists that is done with them first.
func TestR30ListingByWhoIsDoneFirst(t *testing.T) {
	t.Parallel()
	for _, first := range []int{0, 1} {
		lists(t, first, func(t *testing.T, policy string) {
			l := newListing(t, policy)
			l.first["/b/1"], l.first["/b/2"] = 0, 1
			l.write("PUT", "/b/1")
			l.write("PUT", "/b/2")
			answers := l.ask()
			l.wantWaiting("while each one has a write under way")
			l.open([]string{"/b/2", "/b/1"}[first])
			l.wantFrom(answers, first)
			l.open([]string{"/b/1", "/b/2"}[first])
			l.settled()
		})
	}
}

// R30: nobody waits where a backend has everything, nor for a write whose client was not told.
func TestR30ListingWaitsForNothing(t *testing.T) {
	t.Parallel()
	lists(t, "", func(t *testing.T, policy string) {
		l := newListing(t, policy)
		l.first["/b/2"] = -1 // nobody
		c := l.dial()
		c.Send(putRequest("/b/2", "x"))
		for _, s := range l.stores {
			s.Wait(t, func(q stub.Requests) bool { return q.Held() == 1 })
		}
		l.journal.owe("b", "completed", 0b01)
		l.wantFrom(l.ask(), 1)
		l.list = "/b?list-type=2&prefix=next"
		l.journal.forget("b", "completed")
		l.write("PUT", "/b/1")
		l.wantFrom(l.ask(), 0)
		l.open("/b/1", "/b/2")
		wantStatus(t, c.Answer(), 200)
		l.settled()
	})
}

// R30: it is not waited for long. Then whoever lacks the fewest lists.
func TestR30ListingDoesNotWaitForLong(t *testing.T) {
	t.Parallel()
	soon := func(o *Options, _ *limiter.Options) { o.briefWait = 10 * time.Millisecond }
	for _, lacks := range []int{1, 3} {
		lists(t, lacks, func(t *testing.T, policy string) {
			l := newListing(t, policy, soon)
			for i := range lacks {
				l.journal.owe("b", fmt.Sprint("completed", i), 0b01)
			}
			l.write("PUT", "/b/1")
			l.write("PUT", "/b/2")
			store := 0
			if lacks > 2 {
				store = 1
			}
			l.wantFrom(l.ask(), store)
			l.open("/b/1", "/b/2")
			l.settled()
		})
	}
}

// R30: so it is with the list of buckets.
func TestR30ListOfBucketsAwaitsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	lists(t, "", func(t *testing.T, policy string) {
		l := newListing(t, policy)
		l.list = "/"
		l.journal.owe("missed", "", 0b01)
		l.write("PUT", "/new")
		answers := l.ask()
		l.wantWaiting("while a bucket is made")
		l.open("/new")
		l.wantFrom(answers, 1)
		l.settled()
	})
}

// R30: a list that takes long is not asked of a backend that lacks some of it, neither for good nor for now.
func TestR30ListingIsNotHedgedByWhoLacksSome(t *testing.T) {
	t.Parallel()
	for _, owes := range []bool{false, true} {
		for _, policy := range []string{ReadPrefer, ReadSpread, ReadFastest} {
			t.Run(fmt.Sprint(policy, " ", owes), func(t *testing.T) {
				t.Parallel()
				l := newListing(t, policy, func(o *Options, _ *limiter.Options) { o.HedgeAfter, o.HedgeBudget = 1, 1 })
				if owes {
					l.journal.owe("b", "completed", 0b10)
				} else {
					l.write("PUT", "/b/1")
				}
				list := make(chan struct{})
				l.stores[0].BehaveNext(stub.Behaviour{Gate: list, Status: 200, Body: []byte("<L/>")})
				answers := l.ask()
				l.stores[0].Wait(t, func(q stub.Requests) bool { return q.Held() == 1 })
				wantStatus(t, l.c.Do(requestFor("HEAD", "/b/none")), 404) // a hedge has begun by then
				close(list)
				l.wantFrom(answers, 0)
				l.open("/b/1")
				l.settled()
			})
		}
	}
}
