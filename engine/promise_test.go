package engine

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog/task"
)

// wantOwing checks what is owed at rest, as "method key backends reason".
func (r *rig) wantOwing(want ...string) []entry {
	r.t.Helper()
	r.settled()
	list := r.journal.owing()
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprintf("%s %s %b %s", e.Method, e.Key, e.Owed, e.Reason))
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		r.t.Fatalf("owed:\n%s\nwant:\n%s", g, w)
	}
	return list
}

// The client hears of a write whose legs are out only once that is written down.
func TestR20IntentBeforeAcknowledgement(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, request, method, target, key string
		size                               int64
		setups                             []setup
	}{
		{name: "PUT", request: putRequest("/b/a%20k", "one"), method: "PUT", target: "/b/a%20k", key: "a k", size: 3},
		{
			name: "PUT, answered by its handler", request: putRequest("/b/k", "one"), method: "PUT", target: "/b/k", key: "k", size: 3,
			setups: []setup{logged},
		},
		{name: "large PUT", request: putRequest("/b/k", pattern(1<<20)), method: "PUT", target: "/b/k", key: "k", size: 1 << 20},
		{name: "DELETE", request: requestFor("DELETE", "/b/k"), method: "DELETE", target: "/b/k", key: "k"},
		{name: "multi-object delete", request: deleteRequestOf("k"), method: "DELETE", key: "k"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2, tt.setups...)
			asked, go_ := make(chan []Promise, 1), make(chan struct{})
			goOn := sync.OnceFunc(func() { close(go_) })
			t.Cleanup(goOn)
			hold := func(es []Promise) {
				select {
				case asked <- append([]Promise(nil), es...):
					<-go_
				default:
				}
			}
			r.journal.promise.Store(&hold)
			open := gated(t, r.stores[1])
			nc, err := net.Dial("tcp", r.addr)
			testkit.MustDo(t, err)
			c := stub.NewClient(t, nc.(*net.TCPConn))
			c.Send(tt.request)
			es := testkit.Receive(t, "who asks", asked)
			if len(es) != 1 {
				t.Fatalf("%d entries", len(es))
			}
			p := es[0]
			if p.Method != tt.method || tt.target != "" && string(p.Target) != tt.target || string(p.Host) != "s3.test" || string(p.Bucket) != "b" ||
				string(p.Key) != tt.key || p.Size != tt.size || p.Owed != 0b10 || !p.Open || len(p.ETag) == 0 != (tt.method == "DELETE") ||
				len(p.ID) == 0 || tt.target != "" && p.Unacknowledged {
				t.Errorf("promised %+v", p)
			}
			// What was sent before is here by now. It cannot be too early: nothing comes
			// until the journal goes on.
			nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if n, err := nc.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("answered before the intent was written: %d bytes, %v", n, err)
			}
			goOn()
			a, err := c.ReadAnswerTo(tt.method)
			if err != nil || a.Status/100 != 2 {
				t.Fatal(a, err)
			}
			if list := r.journal.owing(); len(list) != 1 || !list[0].Open {
				t.Fatalf("the client has its answer, and the journal %+v", list)
			}
			open()
			r.wantOwing()
		})
	}
}

// Whatever has gone to a backend was noted before, and is until all legs have ended.
func TestR20UnderWayIsNoted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	var open []func()
	for _, s := range r.stores {
		open = append(open, gated(t, s))
	}
	for _, tt := range []struct{ request, want string }{
		{putRequest("/b/a%20k", "one"), "[b/a k]"},
		{requestFor("DELETE", "/b/k"), "[b/k]"},
		{requestFor("DELETE", "/b"), "[b/]"},
		{deleteRequestOf("x", "y z"), "[b/x b/y z]"},
		{requestFor("GET", "/b/k"), "[]"},
	} {
		c := r.dial()
		c.Send(tt.request)
		r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
		if got := fmt.Sprint(r.journal.underWay()); got != tt.want {
			t.Errorf("%.30s: under way are %s, want %s", tt.request, got, tt.want)
		}
		for _, o := range open {
			o()
		}
		if _, err := c.ReadAnswer(); err != nil {
			t.Error(err)
		}
		r.settled()
		if got := r.journal.underWay(); len(got) > 0 {
			t.Errorf("still under way: %v", got)
		}
		open = open[:0]
		for _, s := range r.stores {
			open = append(open, gated(t, s))
		}
	}
	for _, o := range open {
		o()
	}
}

// An intent becomes a divergence where its leg ends badly.
func TestR20IntentThatEndsBadly(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	open := gated(t, r.stores[2])
	wantStatus(t, r.put("/b/k", "one"), 200)
	r.stores[2].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	r.stores[2].Down()
	open()
	list := r.settledOwing()
	if len(list) != 1 || list[0].Owed != 0b100 || list[0].Open || len(list[0].Reason) == 0 {
		t.Fatalf("owed: %+v", list)
	}
	r.wantRecords("/b/k", string(list[0].Reason), 2)
}

// What all backends have taken alike needs no entry that owes anything; what one
// of them has refused is written down before the client hears of it.
func TestR20AllLegsEndedFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, withAck(AckAll))
	wantStatus(t, r.put("/b/k", "one"), 200)
	r.wantOwing()

	r = newRig(t, 2)
	r.stores[1].Down()
	wantStatus(t, r.put("/b/k", "one"), 200)
	if list := r.settledOwing(); len(list) != 1 || list[0].Owed != 0b10 || !strings.Contains(string(list[0].Reason), "refused") {
		t.Fatalf("owed: %+v", list)
	}
	wantStatus(t, r.dial().Do(requestFor("DELETE", "/b/k")), 204)
	if list := r.settledOwing(); len(list) != 2 || list[1].Method != "DELETE" {
		t.Fatalf("owed: %+v", list)
	}
}

func (r *rig) settledOwing() []entry {
	r.settled()
	return r.journal.owing()
}

func TestR15SkippedIsOwed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(_ *Options, lo *limiter.Options) { lo.Maintained = 0b10 })
	wantStatus(t, r.put("/b/k", "one"), 200)
	r.wantOwing("PUT k 10 maintained")
}

func TestR18OwedByBoth(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, withAck(AckAll))
	for i, s := range r.stores {
		s.Behave(stub.Behaviour{Headers: stub.H("ETag", fmt.Sprintf(`"%d"`, i))})
	}
	wantStatus(t, r.put("/b/k", "one"), 200)
	r.wantOwing("PUT k 11 etag mismatch")
}

// A subresource is flagged, since the object's content is as it was.
func TestR20SubResource(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.stores[1].Down()
	wantStatus(t, r.put("/b/k?tagging", "one"), 200)
	if list := r.settledOwing(); len(list) != 1 || list[0].Aspect != task.Tags {
		t.Fatalf("owed: %+v", list)
	}
}

// Nobody was told that it succeeded, but a backend may have it.
func TestR20Unacknowledged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		first  stub.Behaviour
		second stub.Behaviour
		ack    string
		owed   uint64
	}{
		{"both refuse", stub.Fails(403), stub.Fails(503), AckFirst, 0},
		{"a server's error", stub.Fails(403), stub.Fails(500), AckFirst, 0b10},
		{"no answer", stub.Fails(503), stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer}, AckFirst, 0b10},
		{"all were wanted", stub.Behaviour{}, stub.Fails(403), AckAll, 0b10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, 2, withAck(tt.ack))
			r.stores[0].Behave(tt.first)
			r.stores[1].Behave(tt.second)
			if a := r.put("/b/k", "one"); a.Status < 400 {
				t.Fatalf("answer is %d", a.Status)
			}
			list := r.settledOwing()
			switch {
			case tt.owed == 0 && len(list) == 0:
			case len(list) != 1 || list[0].Owed != tt.owed || !list[0].Unacknowledged:
				t.Fatalf("owed: %+v", list)
			}
		})
	}
}

// Without its journal a write is not acknowledged, and the next one is refused
// before a backend hears of it; reading goes on.
func TestR20NoJournalNoWrite(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	wantStatus(t, r.put("/b/k", "one"), 200)
	r.settled()
	r.journal.broken.Store(true)
	open := gated(t, r.stores[1])
	a := r.put("/b/k", "two")
	wantStatus(t, a, 503)
	if !strings.Contains(string(a.Body), "<Code>ServiceUnavailable</Code>") {
		t.Errorf("body %q", a.Body)
	}
	open()
	r.settled()
	r.stores[1].Down() // all legs have ended before the answer, and one of them badly
	wantStatus(t, r.put("/b/k", "three"), 503)
	testkit.MustDo(t, r.stores[1].Up())
	r.settled()

	r.journal.failed.Store(true)
	r.wantRefused()
	r.journal.failed.Store(false)
	r.journal.full.Store(true)
	r.wantRefused()
}

// wantRefused: writes do not come through, reads do.
func (r *rig) wantRefused() {
	t := r.t
	t.Helper()
	before := len(r.stores[0].Requests())
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		a := r.dial().Do(method + " /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 0\r\n\r\n")
		wantStatus(t, a, 503)
	}
	wantStatus(t, r.dial().Do(deleteRequestOf("k")), 503)
	if n := len(r.stores[0].Requests()); n != before {
		t.Errorf("%d requests came through", n-before)
	}
	wantStatus(t, r.dial().Do(requestFor("GET", "/b/k")), 200)
}

func TestR24EachKeyIsOwed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	open := gated(t, r.stores[1])
	wantStatus(t, r.dial().Do(deleteRequestOf("a", "ü k")), 200)
	if list := r.journal.owing(); len(list) != 2 || !list[0].Open || !list[1].Open || string(list[1].Key) != "ü k" || list[1].Method != "DELETE" {
		t.Fatalf("promised: %+v", list)
	}
	open()
	r.wantOwing()
	r.stores[1].BehaveNext(deleteAnswer([]string{"a"}, "b|AccessDenied"))
	wantStatus(t, r.dial().Do(deleteRequestOf("a", "b")), 200)
	r.wantOwing("DELETE b 10 not deleted: AccessDenied")
}

// An entry is of the same kind as a DELETE of its key, of its version where it has one,
// and an acknowledged one only where the client is told that the key is deleted (R24, R35).
func TestR24EachKeyIsADelete(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first, second stub.Behaviour
		waits         bool     // the client's answer waits for the second one
		want          []string // key, target, flags and backends
	}{
		"a backend fails": {
			deleteAnswer(nil), stub.Fails(500), false,
			[]string{"a /b?delete 0 false 10", "b /b?delete 0 false 10", "a /b?delete&versionId=v%261 6 false 11"},
		},
		"the client hears of a failure": {
			deleteAnswer(nil, "a|AccessDenied"), deleteAnswer(nil, "b|InternalError", "a|InternalError|v&amp;1"), true,
			[]string{"a /b?delete 0 true 1", "b /b?delete 0 false 10", "a /b?delete&versionId=v%261 6 false 11"},
		},
		"the client hears of no failure": {
			deleteAnswer(nil, "a|AccessDenied"), deleteAnswer(nil), true,
			[]string{"a /b?delete 0 false 1", "a /b?delete&versionId=v%261 6 false 11"},
		},
		"another one fails": {
			deleteAnswer(nil), deleteAnswer(nil, "b|InternalError"), false,
			[]string{"b /b?delete 0 false 10", "a /b?delete&versionId=v%261 6 false 11"},
		},
		"both fail": {
			deleteAnswer(nil, "b|AccessDenied"), deleteAnswer(nil, "b|AccessDenied"), true,
			[]string{"a /b?delete&versionId=v%261 6 false 11"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.PrimaryWait = time.Millisecond })
			r.journal.busy.Store(true)
			first := make(chan struct{}, 1)
			gate := make(chan struct{})
			tt.second.Gate = gate
			r.stores[0].Behave(tt.first)
			r.stores[1].Behave(tt.second)
			note := func([]Promise) {
				select {
				case first <- struct{}{}:
				default:
				}
			}
			r.journal.promise.Store(&note)
			body := "<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object>" +
				"<Object><Key>a</Key><VersionId>v&amp;1</VersionId></Object></Delete>"
			answer := make(chan *stub.Answer, 1)
			go func(c *stub.Client) { answer <- c.Do(postDelete(body)) }(r.dial())
			if !tt.waits {
				testkit.Receive(t, "the first one", first) // the intents
			}
			close(gate)
			wantStatus(t, testkit.Receive(t, "the answer", answer), 200)
			r.settled()
			var got []string
			for _, e := range r.journal.owing() {
				got = append(got, fmt.Sprintf("%s %s %d %t %b", e.Key, e.Target, e.Aspect, e.Unacknowledged, e.Owed))
				if e.Method != "DELETE" {
					t.Errorf("entry %+v", e)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("owed:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// What nobody has deleted is no delete, also where all legs have ended before the answer.
func TestR24RefusedKeysAreNotDeleted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.stores[1].BehaveNext(stub.Fails(500))
	wantStatus(t, r.dial().Do(putRequest("/b/a", "one")), 200)
	r.settled()
	for range 10 {
		for _, s := range r.stores {
			s.BehaveNext(deleteAnswer([]string{"b"}, "a|AccessDenied"))
		}
		wantStatus(t, r.dial().Do(deleteRequestOf("a", "b")), 200)
		r.settled()
		if e := r.journal.newest("b", "a"); e.Method != "PUT" && !e.Unacknowledged {
			t.Fatalf("the newest write that is known: %+v", e)
		}
	}
}

// Of acknowledged writes that overlap, it is the one that began last that repair
// must know.
func TestR19LastBegunIsKnown(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	gate := make(chan struct{})
	c := r.dial()
	for _, s := range r.stores {
		s.BehaveNext(stub.Behaviour{Gate: gate}, stub.Behaviour{})
	}
	c.Send(putRequest("/b/k", "one"))
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	}
	wantStatus(t, r.put("/b/k", "two"), 200)
	until(t, "the second has ended", func() bool { return r.e.InFlight() == 1 })
	close(gate)
	if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
		t.Fatal(a, err)
	}
	r.settled()
	if list := r.journal.owing(); len(list) != 1 || list[0].Owed != 0b11 {
		t.Fatalf("owed: %+v", list)
	}
	if last := r.journal.newest("b", "k"); string(last.ETag) != etagOf("two") {
		t.Fatalf("the journal knows %+v, the last write's ETag is %s", last, etagOf("two"))
	}
}

// R19: repair stays away from a key that is being written, and learns of a write that began meanwhile. Such a write
// is no divergence: no two clients' writes overlap, and repair changes nothing any more.
func TestR19RepairAndClients(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	open := gated(t, r.stores[1])
	c := r.dial()
	wantStatus(t, c.Do(putRequest("/b/a%20k", "one")), 200)
	if r.e.BeginRepair("b", "a k") {
		t.Fatal("repair began while a client was writing")
	}
	open()
	r.settled()
	if !r.e.BeginRepair("b", "a k") || r.e.BeginRepair("b", "a k") {
		t.Fatal("repair could not begin, or could twice")
	}
	if !r.e.EndRepair("b", "a k") {
		t.Fatal("nobody wrote")
	}
	r.wantOwing()

	if !r.e.BeginRepair("b", "a k") {
		t.Fatal("repair could not begin")
	}
	wantStatus(t, c.Do(putRequest("/b/a%20k", "two")), 200)
	r.settled()
	if r.e.SealRepair("b", "a k") {
		t.Fatal("repair would copy what it has seen over what a client has written since")
	}
	if r.e.EndRepair("b", "a k") {
		t.Fatal("a client wrote")
	}
	r.wantOwing()

	if !r.e.BeginRepair("b", "k") {
		t.Fatal("repair could not begin")
	}
	gate := make(chan struct{})
	r.stores[0].BehaveNext(stub.Behaviour{Gate: gate})
	r.stores[1].BehaveNext(stub.Behaviour{Gate: gate})
	c.Send(requestFor("DELETE", "/b/k"))
	r.stores[1].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	if r.e.EndRepair("b", "k") {
		t.Fatal("a client is writing")
	}
	close(gate)
	if a, err := c.ReadAnswer(); err != nil || a.Status != 204 {
		t.Fatal(a, err)
	}
	if list := r.settled(); len(list) > 0 {
		t.Errorf("recorded: %+v", list)
	}
	r.wantOwing()
	r.wantNoOverlaps()
}

// Many clients and a backend that flaps: at rest, whatever differs is owed.
func TestR20WhateverDiffersIsOwed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	var mu sync.Mutex
	n := 0
	r.stores[1].BehaveFunc(func(*stub.Request) stub.Behaviour {
		mu.Lock()
		defer mu.Unlock()
		n++
		switch n % 7 {
		case 3:
			return stub.Fails(500)
		case 5:
			return stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer}
		}
		return stub.Behaviour{}
	})
	var wg sync.WaitGroup
	for c := range 8 {
		client := r.dial()
		wg.Go(func() {
			for i := range 50 {
				path := fmt.Sprint("/b/k", (i*7+c)%11)
				request := putRequest(path, fmt.Sprint("client ", c, " write ", i))
				if i%5 == 4 {
					request = requestFor("DELETE", path)
				}
				client.Send(request)
				if a, err := client.ReadAnswer(); err != nil || a.Status/100 != 2 {
					t.Errorf("%v %v", a, err)
					return
				}
			}
		})
	}
	testkit.Finish(t, "the clients end", wg.Wait)
	r.settled()
	owed := map[string]bool{}
	for _, e := range r.journal.owing() {
		owed["/b/"+string(e.Key)] = true
	}
	for i := range 11 {
		path := fmt.Sprint("/b/k", i)
		a, inA := r.stores[0].Object(path)
		b, inB := r.stores[1].Object(path)
		if (inA != inB || a.SHA256 != b.SHA256) && !owed[path] {
			t.Errorf("%s differs, and nobody owes it", path)
		}
	}
	r.wantNoOverlaps()
}

// While repair changes a key, a client's write to it waits and then goes on; it is
// refused where that takes too long, and repair where a client was first.
func TestRepairSealsItsKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, func(o *Options, _ *limiter.Options) { o.SlotTimeout = 100 * time.Millisecond })
	if r.e.SealRepair("b", "k") {
		t.Fatal("sealed without BeginRepair")
	}
	if !r.e.BeginRepair("b", "k") || !r.e.SealRepair("b", "k") || r.e.SealRepair("b", "k") {
		t.Fatal("repair could not seal, or could twice")
	}
	wantStatus(t, r.put("/b/other", "one"), 200)
	for _, request := range []string{putRequest("/b/k", "one"), deleteRequestOf("k")} {
		wantStatus(t, r.dial().Do(request), 503)
	}
	r.e.UnsealRepair("b", "k")
	wantStatus(t, r.put("/b/k", "two"), 200)
	if r.e.SealRepair("b", "k") {
		t.Fatal("sealed though a client has come")
	}
	if r.e.EndRepair("b", "k") {
		t.Fatal("a client wrote")
	}
	r.settled()
	for _, s := range r.stores {
		wantStored(t, s, "/b/k", "two")
	}
	r.wantNoOverlaps()
}

// A write whose answer is late does not pass for the last one: whoever took it may
// have missed another one, that began after it and was acknowledged before.
func TestR20OverlappingWritesAreInTheOrderOfTheirBeginnings(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	gate := make(chan struct{})
	for i, s := range r.stores {
		s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
			switch early := q.Headers.Get("X-Early") != ""; {
			case early && i == 0:
				return stub.Behaviour{Gate: gate}
			case early != (i == 0): // the early one at storage 1, the other one at storage 0
				return stub.Behaviour{Status: 503}
			}
			return stub.Behaviour{}
		})
	}
	early := r.dial()
	early.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nX-Early: 1\r\nContent-Length: 5\r\n\r\nearly")
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Held() == 1 })
	wantStatus(t, r.put("/b/k", "later"), 200)
	close(gate)
	wantStatus(t, early.Answer(), 200)
	r.settled()
	if last := r.journal.newest("b", "k"); last.Owed != 1 || last.Size != int64(len("later")) || string(last.ETag) != etagOf("later") {
		t.Errorf("the last write is %+v", last)
	}
}

// What a PUT brings beside content is told to the journal, where a backend that keeps it would
// show it (R35).
func TestR35JournalKnowsWhatAPutBrings(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, tt := range []struct {
		header string
		want   task.Carried
	}{
		{"X-Any: 1", 0}, {"Cache-Control: no-store", task.CarriedMetadata}, {"cache-control:", 0}, {"Cache-Control:  ", 0},
		{"x-amz-meta-a: 1", task.CarriedMetadata}, {"x-amz-meta-a:", 0}, {"X-Amz-Tagging: a=1", task.CarriedTags}, {"X-Amz-Tagging: ", 0},
		{"x-amz-object-lock-legal-hold: ON", task.CarriedLock}, {"x-amz-object-lock-legal-hold: OFF", 0},
	} {
		r.stores[1].Behave(stub.Fails(503))
		r.dial().Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 4\r\n" + tt.header + "\r\n\r\nbody")
		r.settled()
		if e := r.journal.newest("b", "k"); e.Carried != tt.want || e.Took != 1 {
			t.Errorf("%s: %+v, want %b", tt.header, e, tt.want)
		}
	}
}

// That a client bypassed a retention is told to the journal with each kind of delete, and with nothing else (R35).
func TestR35JournalKnowsOfABypass(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	const bypass = "x-amz-bypass-governance-retention: true\r\n"
	deletes := string(deleteRequestOf("k"))
	multi := strings.Replace(deletes, "\r\n", "\r\n"+bypass, 1)
	for _, tt := range []struct {
		name, request string
		want          task.Carried
	}{
		{"DELETE", "DELETE /b/k HTTP/1.1\r\nHost: s3.test\r\n" + bypass + "\r\n", task.CarriedBypass},
		{"DELETE of a version", "DELETE /b/k?versionId=7 HTTP/1.1\r\nHost: s3.test\r\n" + bypass + "\r\n", task.CarriedBypass},
		{"DeleteObjects", multi, task.CarriedBypass},
		{"no bypass", "DELETE /b/k HTTP/1.1\r\nHost: s3.test\r\nx-amz-bypass-governance-retention: false\r\n\r\n", 0},
		{"DeleteObjects without", deletes, 0},
		{"PUT", "PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 4\r\n" + bypass + "\r\nbody", 0},
	} {
		r.stores[1].Behave(stub.Fails(503))
		if strings.HasPrefix(tt.request, "POST") {
			r.stores[0].Behave(deleteAnswer([]string{"k"}))
		}
		r.dial().Do(tt.request)
		r.settled()
		if e := r.journal.newest("b", "k"); e.Carried != tt.want || e.Took != 1 {
			t.Errorf("%s: %+v, want %b", tt.name, e, tt.want)
		}
	}
}

// R35: the journal is told which version a write has made on each backend that took it: a client
// may delete it by that id before repair has looked.
func TestR35JournalKnowsTheVersionThatAPutMade(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ids  [2]string
		null uint64
		want string
	}{{[2]string{"", ""}, 3, "[]"}, {[2]string{"null", "x"}, 1, "[1 x]"}, {[2]string{"x", "y"}, 0, "[0 x 1 y]"}} {
		r := newRig(t, 3)
		for i, id := range tt.ids {
			if id != "" {
				r.stores[i].Behave(stub.Behaviour{Status: 200, Headers: stub.H("x-amz-version-id", id)})
			}
		}
		r.stores[2].Behave(stub.Fails(503))
		wantStatus(t, r.dial().Do("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 4\r\n\r\nbody"), 200)
		r.settled()
		e := r.journal.newest("b", "k")
		var made []string
		for _, x := range e.Made {
			made = append(made, fmt.Sprint(x.Backend, " ", string(x.ETag)))
		}
		slices.Sort(made)
		if fmt.Sprint(made) != tt.want || e.MadeNull != tt.null {
			t.Errorf("%q: made %v, null %b", tt.ids, made, e.MadeNull)
		}
	}
}
