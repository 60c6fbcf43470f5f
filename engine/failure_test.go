package engine

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// Setups for rigs.

func withAck(ack string) setup {
	return func(o *Options, _ *limiter.Options) { o.WriteAck = ack }
}

func withConnectionTimeout(d time.Duration) setup {
	return func(o *Options, _ *limiter.Options) { o.ConnectionTimeout = d }
}

func withStallTimeout(d time.Duration) setup {
	return func(o *Options, _ *limiter.Options) { o.StallTimeout = d }
}

func withRing(size int) setup {
	return func(o *Options, _ *limiter.Options) { o.RingSize = size }
}

// answering is an answer on its way to a client.
type answering struct {
	done chan struct{}
	a    *stub.Answer
	err  error
}

// later reads the answer to a request in the background.
func later(c *stub.Client, method string) *answering {
	w := &answering{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.a, w.err = c.ReadAnswerTo(method)
	}()
	return w
}

func (w *answering) here() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// get waits for the answer.
func (w *answering) get(t testing.TB) *stub.Answer {
	t.Helper()
	testkit.Receive(t, "the answer", w.done)
	if w.err != nil {
		t.Fatalf("cannot read the answer: %v", w.err)
	}
	return w.a
}

// until waits for something that cannot be waited for in a better way.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	testkit.Eventually(t, what, cond)
}

// legsEnded waits until n legs have ended with this outcome, of all requests.
func (r *rig) legsEnded(outcome string, n int) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("%d legs %s", n, outcome), func() bool { return r.metrics.count(outcome) >= n })
}

// failures are those that the limiter counted for each backend in a row.
func (r *rig) failures() []int {
	var n []int
	for _, s := range r.limiter.Status(r.e.now()) {
		n = append(n, s.Failures)
	}
	return n
}

// wantRecords checks that the records about path name these stores, once each,
// with errors that begin with why.
func (r *rig) wantRecords(path, why string, stores ...int) {
	r.t.Helper()
	var got, want []string
	for _, d := range r.settled() {
		if d.Path == path {
			got = append(got, d.FailedHost)
			if !strings.HasPrefix(d.Error, why) {
				r.t.Errorf("record about %s says %q, want %q", path, d.Error, why)
			}
			if d.Op != OpStoring || d.SuccessHost == "" || d.SuccessHost == d.FailedHost || d.ID == "" {
				r.t.Errorf("record %+v", d)
			}
		}
	}
	for _, i := range stores {
		want = append(want, r.host(i))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Fatalf("records about %s name %v, want %v", path, got, want)
	}
}

// wantXMLError checks an error of the proxy's own (R4).
func wantXMLError(t testing.TB, a *stub.Answer, status int) {
	t.Helper()
	wantStatus(t, a, status)
	var e struct {
		XMLName                  xml.Name `xml:"Error"`
		Code, Message, RequestId string
	}
	if err := xml.Unmarshal(a.Body, &e); err != nil || e.Code == "" || e.Message == "" || e.RequestId == "" || e.RequestId == "stub" {
		t.Fatalf("no S3 error of the proxy's own: %q (%v)", a.Body, err)
	}
	if ct := a.Headers.Get("Content-Type"); ct != "application/xml" {
		t.Fatalf("Content-Type %q", ct)
	}
}

func TestR3FirstPositiveAnswersAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 100, 60 << 10, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r := newRig(t, 3)
			gate := make(chan struct{})
			r.stores[0].Behave(stub.Behaviour{Gate: gate})
			r.stores[1].Behave(stub.Behaviour{Headers: stub.H("X-From", "1")})
			r.stores[2].Behave(stub.Behaviour{Gate: gate})
			body := pattern(size)
			a := r.put("/b/k", body)
			wantStatus(t, a, 200)
			if a.Headers.Get("X-From") != "1" {
				t.Errorf("the answer is not the first one: %s", a.RawHead)
			}
			if r.e.InFlight() != 1 {
				t.Errorf("%d in flight while two legs are held", r.e.InFlight())
			}
			close(gate)
			r.wantRecords("/b/k", "")
			r.wantAllStored("/b/k", body)
		})
	}
}

// A refusal that comes first does not win over a backend that takes its time.
func TestR3RefusalWaitsForTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	gate := make(chan struct{})
	r.stores[0].Behave(stub.Fails(403))
	r.stores[1].Behave(stub.Behaviour{Gate: gate})
	c := r.dial()
	c.Send(putRequest("/b/k", "x"))
	w := later(c, "PUT")
	r.legsEnded(OutcomeNegative, 1)
	if w.here() {
		t.Fatalf("answered %d while a backend was out", w.a.Status)
	}
	close(gate)
	wantStatus(t, w.get(t), 200)
	r.wantRecords("/b/k", "answered 403", 0)
}

func TestR3WriteAckWaitsForItsNumber(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ack  string
		need int
	}{{AckFirst, 1}, {AckQuorum, 2}, {AckAll, 3}} {
		for _, size := range []int{10, 1 << 20} {
			t.Run(fmt.Sprintf("%s %d", tt.ack, size), func(t *testing.T) {
				r := newRig(t, 3, withAck(tt.ack))
				var gates []chan struct{}
				for i, s := range r.stores {
					gates = append(gates, make(chan struct{}))
					s.Behave(stub.Behaviour{Gate: gates[i], Headers: stub.H("X-From", fmt.Sprint(i))})
				}
				c := r.dial()
				c.Send(putRequest("/b/k", pattern(size)))
				w := later(c, "PUT")
				order := []int{2, 0, 1}
				for n, i := range order {
					if n < tt.need && w.here() {
						t.Fatalf("answered with %d of %d", n, tt.need)
					}
					close(gates[i])
					r.legsEnded(OutcomePositive, n+1)
					until(t, "its vote, which comes after that", func() bool { return n == len(order)-1 || r.voted() > n })
					if n+1 == tt.need {
						a := w.get(t)
						wantStatus(t, a, 200)
						if a.Headers.Get("X-From") != "2" {
							t.Errorf("not the first answer: %s", a.RawHead)
						}
					}
				}
				r.wantRecords("/b/k", "")
			})
		}
	}
}

func TestR3WriteAckThatCannotBeReached(t *testing.T) {
	t.Parallel()
	refuse, broken := stub.Fails(403), stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer}
	for _, tt := range []struct {
		name   string
		ack    string
		b      [3]stub.Behaviour
		status int
		failed []int
	}{
		{"quorum, one broken", AckQuorum, [3]stub.Behaviour{broken, {}, {}}, 200, []int{0}},
		{"quorum, one refuses", AckQuorum, [3]stub.Behaviour{{}, refuse, {}}, 200, []int{1}},
		{"quorum, two broken", AckQuorum, [3]stub.Behaviour{broken, {}, broken}, 503, []int{0, 2}},
		{"quorum, one refuses, one broken", AckQuorum, [3]stub.Behaviour{broken, {}, refuse}, 403, []int{0, 2}},
		{"all, one broken", AckAll, [3]stub.Behaviour{{}, {}, broken}, 503, []int{2}},
		{"all, one refuses", AckAll, [3]stub.Behaviour{{}, refuse, {}}, 403, []int{1}},
		{"all, none", AckAll, [3]stub.Behaviour{refuse, refuse, broken}, 403, nil},
		{"first, two broken", AckFirst, [3]stub.Behaviour{broken, {}, broken}, 200, []int{0, 2}},
	} {
		for _, size := range []int{10, 1 << 20} {
			t.Run(fmt.Sprintf("%s %d", tt.name, size), func(t *testing.T) {
				r := newRig(t, 3, withAck(tt.ack))
				for i, s := range r.stores {
					s.Behave(tt.b[i])
				}
				a := r.put("/b/k", pattern(size))
				if tt.status == 503 {
					wantXMLError(t, a, 503)
					if n := r.metrics.count("refused write_ack"); n != 1 || !strings.Contains(string(a.Body), "Fewer backends have taken this write") {
						t.Errorf("counted %d times as WriteAck's; body %q", n, a.Body)
					}
				}
				wantStatus(t, a, tt.status)
				r.wantRecords("/b/k", "", tt.failed...)
			})
		}
	}
}

// An answer that comes before the body's end is kept back until it has ended.
func TestR3NothingIsPositiveBeforeTheBodyWasRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.stores[0].Behave(stub.Behaviour{During: stub.AnswerAndDrain, After: 1000, Status: 200})
	c := r.dial()
	body := pattern(300 << 10)
	raw := putRequest("/b/k", body)
	c.Send(raw[:200<<10])
	w := later(c, "PUT")
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return rs.Count(func(q *stub.Request) bool { return q.Answered }) == 1 })
	if w.here() {
		t.Fatal("answered in mid-body")
	}
	c.Send(raw[200<<10:])
	wantStatus(t, w.get(t), 200)
	r.settled()
	wantStored(t, r.stores[1], "/b/k", body)
}

// failing is a way in which a storage fails. status is that of its answer, or 0.
type failing struct {
	name   string
	b      stub.Behaviour
	status int
	down   bool
	refuse bool
}

var failings = []failing{
	{name: "403", b: stub.Fails(403), status: 403},
	{name: "503", b: stub.Fails(503), status: 503},
	{name: "404 in chunks", b: stub.Behaviour{Status: 404, Chunked: true}, status: 404},
	{name: "500 to the end", b: stub.Behaviour{Status: 500, NoLength: true}, status: 500},
	{name: "409 and gone", b: stub.Behaviour{Status: 409, Then: stub.SayClose}, status: 409},
	{name: "early 412", b: stub.Behaviour{Status: 412, During: stub.AnswerAndDrain}, status: 412},
	{name: "closes", b: stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer}},
	{name: "resets", b: stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer}},
	{name: "closes in the head", b: stub.Behaviour{Cut: stub.CutClose, CutAt: stub.MidHead}},
	{name: "resets in the head", b: stub.Behaviour{Cut: stub.CutReset, CutAt: stub.MidHead}},
	{name: "resets in the body", b: stub.Behaviour{During: stub.ResetThere, After: 1}},
	{name: "closes before the body", b: stub.Behaviour{During: stub.CloseThere}},
	{name: "no HTTP", b: stub.Behaviour{Raw: []byte("220 ftp.example.org ready\r\n\r\n")}},
	{name: "no status", b: stub.Behaviour{Raw: []byte("HTTP/1.1 abc OK\r\n\r\n")}},
	{name: "two lengths", b: stub.Behaviour{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx")}},
	{name: "bad length", b: stub.Behaviour{Raw: []byte("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")}},
	{name: "unknown coding", b: stub.Behaviour{Raw: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")}},
	{name: "huge head", b: stub.Behaviour{Raw: []byte("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n")}},
	{name: "switches protocols", b: stub.Behaviour{Raw: []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")}},
	{name: "interim and gone", b: stub.Behaviour{Interim: []int{100, 102}, Cut: stub.CutClose, CutAt: stub.NoAnswer}},
	{name: "down", down: true},
	{name: "refuses connections", refuse: true},
}

func (f *failing) apply(t *testing.T, s *stub.Server) {
	t.Helper()
	s.Behave(f.b)
	s.RefuseAccept(f.refuse)
	if f.down {
		s.Down()
	} else if err := s.Up(); err != nil {
		t.Fatal(err)
	}
}

// TestR4EveryPairOfFailures: an answer of a backend's own beats any transport
// error; without one there is a 503 of the proxy's own. Nothing is recorded,
// since nobody took the write.
func TestR4EveryPairOfFailures(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for i := range failings {
		for j := range failings {
			f := [2]*failing{&failings[i], &failings[j]}
			name := f[0].name + ", " + f[1].name
			for k, s := range r.stores {
				f[k].apply(t, s)
			}
			a := r.put("/b/k", "hello")
			switch {
			case f[0].status == 0 && f[1].status == 0:
				wantXMLError(t, a, 503)
			case a.Status != f[0].status && a.Status != f[1].status || a.Status == 0:
				t.Errorf("%s: answered %d", name, a.Status)
			case !strings.Contains(string(a.Body), "on command"):
				t.Errorf("%s: not the backend's own body: %q", name, a.Body)
			}
			if d := r.settled(); len(d) > 0 {
				t.Fatalf("%s: recorded %+v", name, d)
			}
		}
	}
}

// TestR15EveryFailureIsRecorded: beside a backend that takes the write each
// failure is a divergence, with the status if there was one, and the client does
// not notice.
func TestR15EveryFailureIsRecorded(t *testing.T) {
	t.Parallel()
	for _, f := range failings {
		t.Run(f.name, func(t *testing.T) {
			for _, size := range []int{5, 100 << 10, 2 << 20} {
				r := newRig(t, 2)
				f.apply(t, r.stores[0])
				path, body := fmt.Sprintf("/b/%d", size), pattern(size)
				wantStatus(t, r.put(path, body), 200)
				r.wantRecords(path, "", 0)
				if d := r.records.list()[0]; f.status != d.Status && (f.status != 0 || d.Status < 200) {
					t.Errorf("record %+v has status %d, want %d", d, d.Status, f.status)
				}
				wantStored(t, r.stores[1], path, body)
				if n := r.failures(); (n[0] != 0) != (f.status == 0) || n[1] != 0 {
					t.Errorf("size %d: failures %v", size, n)
				}
			}
		})
	}
}

// Whichever comes first, an answer beats a transport error.
func TestR4OrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	for _, answerFirst := range []bool{true, false} {
		t.Run(fmt.Sprint(answerFirst), func(t *testing.T) {
			r := newRig(t, 2)
			gate := make(chan struct{})
			answer, broken := stub.Fails(403), stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer}
			outcome := OutcomeNegative
			if answerFirst {
				broken.Gate = gate
			} else {
				answer.Gate, outcome = gate, OutcomeFailed
			}
			r.stores[0].Behave(broken)
			r.stores[1].Behave(answer)
			c := r.dial()
			c.Send(putRequest("/b/k", "x"))
			w := later(c, "PUT")
			r.legsEnded(outcome, 1)
			close(gate)
			wantStatus(t, w.get(t), 403)
			r.wantRecords("/b/k", "")
		})
	}
}

// The first of several answers is the client's, with its body.
func TestR4FirstAnswerWins(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	gate := make(chan struct{})
	big := []byte(pattern(200 << 10))
	r.stores[0].Behave(stub.Behaviour{Status: 500, Gate: gate})
	r.stores[1].Behave(stub.Behaviour{Status: 409, Body: big})
	r.stores[2].Behave(stub.Behaviour{Status: 503, Gate: gate})
	c := r.dial()
	c.Send(putRequest("/b/k", "x"))
	until(t, "the first answer", func() bool { return len(r.stores[1].Requests()) == 1 })
	r.stores[1].WaitDone(t, 0)
	w := later(c, "PUT")
	r.stores[1].Wait(t, func(rs stub.Requests) bool {
		return rs.Count(func(q *stub.Request) bool { return q.Status == 409 }) == 1
	})
	// A streamed answer's leg ends with the stream: its vote cannot be seen.
	until(t, "its vote", func() bool { return r.voted() == 1 })
	close(gate)
	a := w.get(t)
	wantStatus(t, a, 409)
	if string(a.Body) != string(big) {
		t.Errorf("%d bytes of body, want %d", len(a.Body), len(big))
	}
}

// voted is the number of legs with a vote, of all requests in flight.
func (r *rig) voted() int {
	n := 0
	for _, q := range r.e.list() {
		q.mu.Lock()
		n += q.race.ended
		q.mu.Unlock()
		q.release()
	}
	return n
}

// Interim answers are not the client's, and are no answers (R4, R5).
func TestR5InterimAnswersEndAtTheProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, s := range r.stores {
		s.Behave(stub.Behaviour{Continue: stub.ContinueAlways, Interim: []int{102, 103, 100}})
	}
	for _, size := range []int{3, 300 << 10} {
		a := r.put("/b/k", pattern(size))
		wantStatus(t, a, 200)
		if len(a.Interim) != 0 {
			t.Errorf("%d interim answers", len(a.Interim))
		}
		r.settled() // the next one would overlap with a leg that is out
	}
	r.wantRecords("/b/k", "")
}

// An answer that breaks off in mid-body breaks off at the client, too: it must
// not look whole.
func TestR5BrokenAnswerLooksBroken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		b    stub.Behaviour
	}{
		{"length, close", stub.Behaviour{Cut: stub.CutClose, CutAt: 100 << 10}},
		{"length, reset", stub.Behaviour{Cut: stub.CutReset, CutAt: 100 << 10}},
		{"chunks, close in a chunk", stub.Behaviour{Chunked: true, Cut: stub.CutClose, CutAt: 100<<10 + 1}},
		{"chunks, close between chunks", stub.Behaviour{Chunked: true, Cut: stub.CutClose, CutAt: 12 * stub.ChunkSize}},
		{"chunks, close before the last chunk", stub.TruncatesChunked()},
		{"chunks, reset", stub.Behaviour{Chunked: true, Cut: stub.CutReset, CutAt: 100 << 10}},
		{"a bad chunk", stub.Behaviour{Raw: []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n")}},
		{"hangs", stub.Behaviour{Cut: stub.CutHang, CutAt: 100 << 10}},
	} {
		slowlyBeside(t, tt.name, 300*time.Millisecond, func(t testing.TB, timeout time.Duration) {
			r := newRig(t, 1, withConnectionTimeout(timeout))
			r.stores[0].Put("/b/k", []byte(pattern(300<<10)))
			r.stores[0].BehaveNext(tt.b)
			c := r.dial()
			c.Send(requestFor("GET", "/b/k"))
			a, err := c.ReadAnswer()
			if err == nil {
				t.Fatalf("the answer looks whole: %d, %d bytes", a.Status, len(a.Body))
			}
			if a == nil || a.Status != 200 || !strings.HasPrefix(pattern(300<<10), string(a.Body)) && tt.b.Raw == nil {
				t.Errorf("before the break: %+v", a)
			}
			r.settled()
			// And the broken connection is not used again.
			wantStatus(t, r.dial().Do(requestFor("GET", "/b/k")), 200)
			if n := r.stores[0].Counts().Conns; n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// Losers' connections are used again where their bodies are short, and closed
// where they are long (R5).
func TestR5LosersConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		loser stub.Behaviour
		conns int
	}{
		{"short", stub.Behaviour{Status: 404}, 1},
		{"none", stub.Behaviour{Status: 404, Body: []byte{}}, 1},
		{"long", stub.Behaviour{Status: 404, Body: make([]byte, 2*maxDrained)}, 2},
		{"closes", stub.Behaviour{Status: 404, Then: stub.SayClose}, 2},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late %v", tt.name, late), func(t *testing.T) {
				r := newRig(t, 2)
				gate := make(chan struct{})
				loser, winner := tt.loser, stub.Behaviour{}
				if late {
					loser.Gate = gate
				} else {
					winner.Gate = gate
				}
				r.stores[0].BehaveNext(loser)
				r.stores[1].BehaveNext(winner)
				r.stores[1].Put("/b/k", []byte("x"))
				c := r.dial()
				c.Send(requestFor("GET", "/b/k"))
				w := later(c, "GET")
				if late {
					wantStatus(t, w.get(t), 200)
				} else {
					until(t, "the loser's vote", func() bool { return r.voted() == 1 })
				}
				close(gate)
				wantStatus(t, w.get(t), 200)
				r.settled()
				wantStatus(t, c.Do(requestFor("GET", "/b/k")), 200)
				r.settled()
				if n := r.stores[0].Counts().Conns; n != tt.conns {
					t.Errorf("%d connections to the loser, want %d", n, tt.conns)
				}
			})
		}
	}
}

// TestR15Soak: whatever one of three storages does, each acknowledged write is
// on every storage, byte for byte, or the records name the one that it is not on.
func TestR15Soak(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 200*time.Millisecond, testSoak)
}

func testSoak(t testing.TB, unit time.Duration) {
	const clients, each, seed = 8, 40, 20171118
	r := newRig(t, 3, withConnectionTimeout(2*unit), withStallTimeout(unit), withRing(64<<10))
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	r.stores[1].BehaveFunc(func(q *stub.Request) stub.Behaviour {
		mu.Lock()
		defer mu.Unlock()
		return randomFault(random)
	})
	type written struct{ path, body string }
	var acked []written
	var wg sync.WaitGroup
	whole := pattern(1 << 20)
	for client := range clients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)+2))
			c := r.dial()
			for i := range each {
				size := 1 << random.IntN(20)
				size += random.IntN(size)
				size = min(size, len(whole)-100)
				at := random.IntN(len(whole) - size)
				w := written{fmt.Sprintf("/b/%d-%d", client, i), whole[at : at+size]}
				if random.IntN(3) == 0 {
					c.Send(chunkedRequest("PUT", w.path, w.body, 1+random.IntN(20000)))
				} else {
					c.Send(putRequest(w.path, w.body))
				}
				a, err := c.ReadAnswer()
				if err != nil {
					t.Errorf("client %d, request %d: %v", client, i, err)
					return
				}
				if a.Status != 200 {
					t.Errorf("client %d, request %d: answered %d", client, i, a.Status)
				}
				mu.Lock()
				acked = append(acked, w)
				mu.Unlock()
			}
		})
	}
	testkit.Finish(t, "the clients end", wg.Wait)
	named := map[string]bool{}
	for _, d := range r.settled() {
		named[d.FailedHost+d.Path] = true
	}
	differ := 0
	for _, w := range acked {
		for _, s := range r.stores {
			o, ok := s.Object(w.path)
			if ok && string(o.Body) == w.body {
				continue
			}
			differ++
			if ok {
				t.Errorf("%s: %d wrong bytes at %s", w.path, len(o.Body), s.Addr())
			}
			if !named[s.Addr()+w.path] {
				t.Errorf("%s is not at %s, and nobody says so", w.path, s.Addr())
			}
		}
	}
	if len(acked) != clients*each || differ == 0 {
		t.Errorf("%d writes, %d differences: no soak", len(acked), differ)
	}
}

// randomFault is what a storage does on a bad day. It may fail a write that it
// has stored, but never says that it stored what it has not.
func randomFault(random *rand.Rand) stub.Behaviour {
	after := int64(1) << random.IntN(20)
	store := stub.Store(random.IntN(2)) // StoreByStatus or StoreAlways
	switch random.IntN(16) {
	case 0:
		return stub.Behaviour{Status: 500, Store: store}
	case 1:
		return stub.Behaviour{Cut: stub.CutClose, CutAt: stub.NoAnswer, Store: store}
	case 2:
		return stub.Behaviour{Cut: stub.CutReset, CutAt: stub.MidHead, Store: store}
	case 3:
		return stub.Behaviour{During: stub.CloseThere, After: after}
	case 4:
		return stub.Behaviour{During: stub.ResetThere, After: after}
	case 5:
		return stub.Behaviour{During: stub.AnswerAndClose, After: after}
	case 6:
		return stub.Behaviour{During: stub.AnswerAndFin, After: after, Status: 503}
	case 7:
		return stub.Behaviour{During: stub.AnswerAndDrain, After: after}
	case 8:
		return stub.Behaviour{During: stub.HangThere, After: after}
	case 9:
		return stub.Behaviour{Then: stub.FinAfter}
	case 10:
		return stub.Behaviour{Then: stub.DropNext}
	case 11:
		return stub.Behaviour{Raw: []byte("HTTP/1.1 2000 OK\r\n\r\n")}
	case 12:
		return stub.Behaviour{Interim: []int{100, 103}}
	case 13:
		return stub.Behaviour{ReadRate: 1 << 20}
	}
	return stub.Behaviour{}
}

// chunkedRequest has its body in chunks of this size.
func chunkedRequest(method, path, body string, size int, trailers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: s3.test\r\nTransfer-Encoding: chunked\r\n", method, path)
	for _, t := range trailers {
		name, _, _ := strings.Cut(t, ":")
		fmt.Fprintf(&b, "Trailer: %s\r\n", name)
	}
	b.WriteString("\r\n")
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	b.WriteString("0\r\n")
	for _, t := range trailers {
		b.WriteString(t + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// closedCleanly checks that a client's connection ends without a reset, and
// with nothing more on it.
func closedCleanly(t testing.TB, c *stub.Client) {
	t.Helper()
	if rest, err := c.Rest(); err != nil && !errors.Is(err, io.EOF) || rest != nil {
		t.Errorf("the connection ends with %q, %v", rest, err)
	}
}

// rigStop is how long a rig may take to stop: generous, since it ends early.
const rigStop = patience

// anyway is a setup that does not look at the limiter.
func anyway(f func(*Options)) setup {
	return func(o *Options, _ *limiter.Options) { f(o) }
}
