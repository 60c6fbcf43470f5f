package engine

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/s3"
)

func TestR29DecidersOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ asked, owing, ignoring, want uint64 }{
		{0b111, 0, 0, 0b111},
		{0b101, 0, 0, 0b101},
		{0b111, 0b001, 0, 0b110},
		{0b111, 0b111, 0, 0},
		{0b111, 0, 0b010, 0b101},
		{0b111, 0b101, 0b010, 0}, // another one can, but not now
		{0b010, 0, 0b010, 0},
		{0b111, 0b001, 0b111, 0b110}, // none can
	} {
		if got := decidersOf(tt.asked, tt.owing, tt.ignoring, 0b111); got != tt.want {
			t.Errorf("%+v: %b", tt, got)
		}
	}
}

func TestR29IsConditional(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, target, field string
		want                  bool
	}{
		{"PUT", "/b/k", "If-None-Match: *", true},
		{"PUT", "/b/k", `if-match: "e"`, true},
		{"PUT", "/b/k", "", false},
		{"PUT", "/b/k", `x-amz-copy-source-if-match: "e"`, false},
		{"PUT", "/b/k", `If-Range: "e"`, false},
		{"PUT", "/b/k?tagging", "If-None-Match: *", false},
		{"PUT", "/b/k?partNumber=1&uploadId=u", "If-None-Match: *", false},
		{"POST", "/b/k?uploads", "If-None-Match: *", false},
		{"POST", "/b/k?uploadId=u", "If-None-Match: *", true},
		{"POST", "/b?delete", "If-Match: *", false},
		{"DELETE", "/b/k", "If-Match: *", true},
		{"DELETE", "/b/k", "x-amz-if-match-size: 3", true},
		{"DELETE", "/b/k", "X-Amz-If-Match-Last-Modified-Time: now", true},
		{"DELETE", "/b/k?uploadId=u", "If-Match: *", false},
		{"DELETE", "/b/k", "", false},
		{"DELETE", "/b", "", true},
		{"DELETE", "/b/", "", true},
		{"DELETE", "/b?policy", "", false},
		{"PUT", "/b", "", false},
		{"GET", "/b/k", "If-Match: *", false},
		{"HEAD", "/b/k", "If-None-Match: *", false},
	} {
		t.Run(tt.method+" "+tt.target+" "+tt.field, func(t *testing.T) {
			fields := "Host: h\r\n"
			if tt.field != "" {
				fields += tt.field + "\r\n"
			}
			var h requestHead
			_, head, problem := buildHead(nil, tt.method, []byte(tt.target), []byte(fields+"\r\n"), nil)
			if problem != "" {
				t.Fatal(problem)
			}
			h.head, h.method = head, tt.method
			h.target = s3.ParseTarget([]byte(tt.target), h.host, nil)
			h.target.Sub = h.target.IsSubWrite(tt.method)
			h.kind = h.target.KindOf(tt.method, h.copySource)
			h.write = h.target.Writes(tt.method, h.kind)
			if got := h.isConditional(); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// conditional is a request with a condition; a body makes it a PUT.
func conditional(method, path, body string, fields ...string) string {
	raw := method + " " + path + " HTTP/1.1\r\nHost: s3.test\r\n"
	for _, f := range append([]string{"If-None-Match: *"}, fields...) {
		raw += f + "\r\n"
	}
	if method == "PUT" || method == "POST" {
		raw += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return raw + "\r\n" + body
}

// decidedBy makes backend 0 the primary of every bucket.
func decidedBy(o *Options, _ *limiter.Options) { o.Primary = []PrimaryRule{{"", 0}} }

// bodies are one that goes out in one write, and one that does not fit into the ring.
var bodies = map[string]string{"small": "body", "large": pattern(1 << 20)}

// The decider's answer is the client's, and nothing is stored anywhere where it refuses,
// whatever the others would say.
func TestR29DeciderRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range bodies {
		for _, ack := range []string{AckFirst, AckQuorum, AckAll} {
			for _, status := range []int{412, 409, 404, 403, 501, 503} {
				t.Run(fmt.Sprint(name, " ", ack, " ", status), func(t *testing.T) {
					r := newRig(t, 3, decidedBy, func(o *Options, _ *limiter.Options) { o.WriteAck = ack })
					r.stores[0].Behave(stub.Fails(status))
					wantStatus(t, r.dial().Do(conditional("PUT", "/b/k", body)), status)
					if d := r.settled(); len(d) != 0 {
						t.Errorf("recorded: %+v", d)
					}
					r.wantAllAbsent("/b/k")
					if owing := r.journal.owing(); len(owing) != 0 {
						t.Errorf("owed: %+v", owing)
					}
					r.wantNoBlame()
					r.wantNoOverlaps()
				})
			}
		}
	}
}

// A refusal in mid-body, before the others have had anything to say.
func TestR29DeciderRefusesEarly(t *testing.T) {
	t.Parallel()
	for _, during := range []stub.During{stub.AnswerAndClose, stub.AnswerAndFin, stub.AnswerAndDrain, stub.AnswerAndStop} {
		t.Run(fmt.Sprint(during), func(t *testing.T) {
			r := newRig(t, 2, decidedBy)
			r.stores[0].Behave(stub.Behaviour{During: during, After: 100 << 10, Status: 412})
			c := r.dial()
			raw := conditional("PUT", "/b/k", pattern(4<<20))
			c.Send(raw[:3<<20])
			wantStatus(t, c.Answer(), 412)
			c.Close()
			r.stores[0].Unhang()
			r.settled()
			wantAbsent(t, r.stores[1], "/b/k")
			r.wantNoOverlaps()
		})
	}
}

// Until the decider has said yes the others do not have the end of the message, and then
// they get it.
func TestR29FollowersAreHeldBack(t *testing.T) {
	t.Parallel()
	for name, body := range bodies {
		for _, method := range []string{"PUT", "DELETE"} {
			t.Run(name+" "+method, func(t *testing.T) {
				r := newRig(t, 3, decidedBy)
				gate := make(chan struct{})
				r.stores[0].Behave(stub.Behaviour{Gate: gate})
				for _, s := range r.stores[1:] {
					s.Put("/b/gone", nil)
				}
				path, want := "/b/k", body
				if method == "DELETE" {
					path, want = "/b/gone", ""
				}
				answers := make(chan *stub.Answer, 1)
				go func() { answers <- r.dial().Do(conditional(method, path, want)) }()
				r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && rs[0].Stage == stub.StageHeld })
				for i, s := range r.stores[1:] {
					if list := s.Requests(); len(list) > 0 && (method == "DELETE" || list[0].Stage == stub.StageDone) {
						t.Errorf("storage %d has %v", i+1, list)
					}
				}
				close(gate)
				if a := testkit.Receive(t, "an answer", answers); a.Status/100 != 2 {
					t.Fatalf("answer is %d", a.Status)
				}
				r.wantRecords(path, "")
				for _, s := range r.stores {
					if method == "DELETE" {
						wantAbsent(t, s, path)
					} else {
						wantStored(t, s, path, want)
					}
				}
			})
		}
	}
}

// A follower that refuses lags: it owes the key, and the client does not hear of it.
func TestR29FollowerRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range bodies {
		for _, early := range []bool{false, true} {
			for ack, want := range map[string]int{AckFirst: 200, AckQuorum: 200, AckAll: 503} {
				for _, status := range []int{412, 409} {
					t.Run(fmt.Sprint(name, " early ", early, " ", ack, " ", status), func(t *testing.T) {
						r := newRig(t, 3, decidedBy, func(o *Options, _ *limiter.Options) { o.WriteAck = ack })
						b := stub.Fails(status)
						if early {
							b = stub.Behaviour{During: stub.AnswerAndDrain, Status: status}
						}
						r.stores[1].Behave(b)
						wantStatus(t, r.dial().Do(conditional("PUT", "/b/k", body)), want)
						r.settled()
						wantStored(t, r.stores[0], "/b/k", body)
						wantAbsent(t, r.stores[1], "/b/k")
						wantStored(t, r.stores[2], "/b/k", body)
						if e := r.journal.newest("b", "k"); e.Owed&0b10 == 0 || e.Unacknowledged { // the decider has taken it
							t.Errorf("in the journal: %+v", e)
						}
					})
				}
			}
		}
	}
}

// A decider that gives no answer: nothing is stored anywhere else, and what it may have
// stored is written down.
func TestR29DeciderFails(t *testing.T) {
	t.Parallel()
	for name, body := range bodies {
		for what, b := range map[string]stub.Behaviour{
			"hangs":          {HangAfterBody: true},
			"closes":         {Cut: stub.CutClose, CutAt: stub.NoAnswer},
			"resets":         {Cut: stub.CutReset, CutAt: stub.NoAnswer},
			"dies in answer": {Cut: stub.CutReset, CutAt: stub.MidHead},
			"stores, fails":  {Status: 500, Store: stub.StoreAlways},
		} {
			for _, warm := range []bool{false, true} {
				slowly(t, fmt.Sprint(name, " ", what, " warm ", warm), 500*time.Millisecond, func(t testing.TB, unit time.Duration) {
					r := newRig(t, 2, decidedBy, func(o *Options, _ *limiter.Options) {
						if b.HangAfterBody { // the others end by themselves
							o.ConnectionTimeout = unit
						}
					})
					c := r.dial()
					if warm {
						wantStatus(t, c.Do(putRequest("/b/other", "x")), 200)
						r.settled()
					}
					r.stores[0].Behave(b)
					want := 503
					if b.Status != 0 {
						want = b.Status
					}
					wantStatus(t, c.Do(conditional("PUT", "/b/k", body)), want)
					r.stores[0].Unhang()
					r.settled()
					wantAbsent(t, r.stores[1], "/b/k")
					if e := r.journal.newest("b", "k"); e.Owed != 0b01 || !e.Unacknowledged {
						t.Errorf("in the journal: %+v", e)
					}
					if n := r.stores[0].Counts().Requests; n > 2 {
						t.Errorf("the decider was asked %d times", n)
					}
				})
			}
		}
	}
}

// Who owes the key does not decide, nor who is out of the pool, nor who ignores conditions.
func TestR29WhoDecides(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		set  func(r *rig)
		want int // the decider, or -1
	}{
		{"the primary", func(*rig) {}, 0},
		{"it owes the key", func(r *rig) { r.journal.owe("b", "k", 0b001) }, -2},
		{"it owes another key", func(r *rig) { r.journal.owe("b", "other", 0b001) }, 0},
		{"it is under maintenance", func(r *rig) { r.limiter.SetMaintained(0, true) }, -2},
		{"it ignores conditions", func(r *rig) { r.e.SetIgnoring(0b001) }, -2},
		{"all ignore them", func(r *rig) { r.e.SetIgnoring(0b111) }, 0},
		{"all owe it", func(r *rig) { r.journal.owe("b", "k", 0b111) }, -1},
		{"the only one that does not ignore them owes it", func(r *rig) {
			r.e.SetIgnoring(0b011)
			r.journal.owe("b", "k", 0b100)
		}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wanted := make(chan string, 1)
			r := newRig(t, 3, decidedBy, func(o *Options, _ *limiter.Options) {
				o.Wanted = func(bucket, key string) { wanted <- bucket + "/" + key }
			})
			tt.set(r)
			for i, s := range r.stores {
				s.Behave(stub.Behaviour{Status: 412, Headers: stub.H("X-Store", fmt.Sprint(i))})
			}
			a := r.dial().Do(conditional("PUT", "/b/k", "body"))
			r.settled()
			if tt.want == -1 {
				wantStatus(t, a, 503)
				if got := testkit.Receive(t, "who wants the key", wanted); got != "b/k" {
					t.Errorf("repair is told of %q", got)
				}
				for _, s := range r.stores {
					if len(s.Requests()) > 0 {
						t.Errorf("asked: %v", s.Requests())
					}
				}
				return
			}
			wantStatus(t, a, 412)
			next := tt.want
			if next == -2 {
				next = r.e.current().primaries.first([]byte("b"), 0b110)
			}
			if got := a.Headers.Get("X-Store"); got != fmt.Sprint(next) {
				t.Errorf("storage %s has decided, want %d", got, next)
			}
		})
	}
}

// Of many that create one key at the same time one is told that it did.
func TestR29OneWinner(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	for _, s := range r.stores {
		var mu sync.Mutex
		there := map[string]bool{}
		s.BehaveFunc(func(q *stub.Request) stub.Behaviour { // a storage that knows conditions
			mu.Lock()
			defer mu.Unlock()
			if q.Method != "PUT" || !there[q.Target] {
				there[q.Target] = true
				return stub.Behaviour{}
			}
			return stub.Fails(412)
		})
	}
	const keys, clients = 20, 4
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[string]string{}
	for i := range keys {
		for c := range clients {
			wg.Go(func() {
				path, body := fmt.Sprintf("/b/k%d", i), fmt.Sprintf("client %d", c)
				switch a := r.dial().Do(conditional("PUT", path, body)); a.Status {
				case http.StatusOK:
					mu.Lock()
					defer mu.Unlock()
					if won[path] != "" {
						t.Errorf("%s: %s and %s have won", path, won[path], body)
					}
					won[path] = body
				case http.StatusPreconditionFailed:
				default:
					t.Errorf("answer is %d", a.Status)
				}
			})
		}
	}
	testkit.Finish(t, "the clients end", wg.Wait)
	if d := r.settled(); len(d) != 0 {
		t.Errorf("recorded: %+v", d)
	}
	for i := range keys {
		path := fmt.Sprintf("/b/k%d", i)
		r.wantAllStored(path, won[path])
	}
	r.wantNoOverlaps()
}

// One whose follower hangs does not keep the next one waiting for long; who owes the key
// does not decide that.
func TestR29HangingFollower(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	r.stores[1].BehaveNext(stub.Behaviour{HangAfterBody: true})
	for _, body := range []string{"one", "two"} {
		wantStatus(t, r.dial().Do(conditional("PUT", "/b/k", body)), 200)
	}
	wantStored(t, r.stores[0], "/b/k", "two")
	r.stores[1].Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 && rs.Held() == 1 }) // the other one waits (R19)
	r.stores[1].Unhang()
	r.wantRecords("/b/k", "")
	wantStored(t, r.stores[1], "/b/k", "two")
}

// A follower that waits for the decider is neither stalled, nor does it make the decider a
// laggard.
func TestR29HeldIsNotStalled(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 50*time.Millisecond, func(t testing.TB, unit time.Duration) {
		r := newRig(t, 2, decidedBy, func(o *Options, _ *limiter.Options) {
			o.StallTimeout, o.RingSize = unit, 16<<10
		})
		body := pattern(2 << 20)
		r.stores[0].Behave(stub.Behaviour{ReadRate: int(time.Duration(len(body)) * time.Second / (20 * unit))}) // 20 times as long
		wantStatus(t, r.dial().Do(conditional("PUT", "/b/k", body)), 200)
		r.wantRecords("/b/k", "")
		r.wantAllStored("/b/k", body)
		if n := r.metrics.count(OutcomeStalled); n != 0 {
			t.Errorf("%d were cut", n)
		}
	})
}

// A client that goes away, or a proxy that stops, leaves nothing behind.
func TestR29ClientGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, decidedBy)
	raw := conditional("PUT", "/b/k", pattern(2<<20))
	c := r.dial()
	c.Send(raw[:1<<20])
	for _, s := range r.stores {
		s.Wait(t, func(rs stub.Requests) bool { return len(rs) == 1 })
	}
	c.Close()
	r.settled()
	r.wantAllAbsent("/b/k")
	r.wantNoOverlaps()
}

// A DELETE of a bucket goes to one backend first. Another one may take all that is in it
// along.
func TestR29DeleteOfABucket(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, decidedBy)
	for _, s := range r.stores {
		s.Put("/b", nil)
	}
	r.stores[0].Behave(stub.Fails(409))
	wantStatus(t, r.dial().Do(requestFor("DELETE", "/b")), 409)
	r.settled()
	if _, ok := r.stores[1].Object("/b"); !ok || len(r.stores[1].Requests()) != 0 {
		t.Error("the other one was asked")
	}
	r.stores[0].Behave(stub.Behaviour{})
	wantStatus(t, r.dial().Do(requestFor("DELETE", "/b")), 204)
	r.settled()
	wantAbsent(t, r.stores[1], "/b")
	// Who owes a key in it cannot say that it is empty.
	r.journal.owe("b2", "k", 0b01)
	r.stores[1].Behave(stub.Fails(409))
	wantStatus(t, r.dial().Do(requestFor("DELETE", "/b2")), 409)
}

// The completion of an upload is decided by its owner, unless that owes the key.
func TestR29Complete(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	id, owner := r.initiate("/b/k")
	etag := r.uploadPart("/b/k", id, 1, "part")
	raw := strings.Replace(completeRequest("/b/k", id, etag), "\r\n\r\n", "\r\nIf-None-Match: *\r\n\r\n", 1)
	r.journal.owe("b", "k", 1<<owner)
	wantStatus(t, r.dial().Do(raw), 503)
	r.journal.forget("b", "k")
	wantStatus(t, r.dial().Do(raw), 200)
	r.settled()
	wantStored(t, r.stores[owner], "/b/k", "part")
	r.wantNoOverlaps()
}

// A copy is decided before the others begin it.
func TestR29Copy(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, decidedBy)
	for _, s := range r.stores {
		s.Put("/b/source", []byte("body"))
	}
	r.stores[0].Behave(stub.Fails(412))
	wantStatus(t, r.dial().Do(conditional("PUT", "/b/k", "", "x-amz-copy-source: /b/source")), 412)
	r.settled()
	r.wantAllAbsent("/b/k")
	r.stores[0].Behave(stub.Behaviour{})
	wantStatus(t, r.dial().Do(conditional("PUT", "/b/k", "", "x-amz-copy-source: /b/source")), 200)
	r.settled()
	r.wantAllStored("/b/k", "body")
}

// A follower that is yet to be connected when the decider refuses may look at the message just before it is cut:
// it may not have the whole of it then, either (R29).
func TestR29RefusedFollowerNeverHasTheWholeMessage(t *testing.T) {
	t.Parallel()
	for state, may := range map[voteState]bool{voteNegative: false, voteFailed: false, votePositive: true} {
		r := newRequest(newRig(t, 2).e)
		r.legs = r.legs[:2]
		for i := range r.legs {
			r.legs[i].r, r.legs[i].index = r, i
		}
		r.race.enter(2)
		r.race.decideBy(0, 0b01)
		r.race.keep(followHeld)
		follower := &r.legs[1]
		if follower.mayHaveWhole() {
			t.Error("before the decider has answered it may have the whole message")
		}
		r.race.votes[0] = vote{State: state, Order: 1}
		if _, how, no := r.takeFollowers(); how != followHeld || (no == nil) != may {
			t.Errorf("%d: the followers are told %v, %v", state, how, no)
		}
		if follower.mayHaveWhole() != may {
			t.Errorf("%d: that it may have the whole message is %v", state, !may)
		}
		if _, how, _ := r.takeFollowers(); how != followNone {
			t.Errorf("%d: they are told twice", state)
		}
	}
}
