package engine

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

func withConnections(n int) setup {
	return func(o *Options, _ *limiter.Options) { o.MaxConnections = n }
}

// clients waits until cond holds of the connections of clients.
func (r *rig) clients(what string, cond func(c Clients) bool) {
	r.t.Helper()
	until(r.t, what, func() bool { return cond(r.e.Clients()) })
}

// wantGone wants the connection's end, and nothing before it.
func wantGone(t *testing.T, c *stub.Client) {
	t.Helper()
	if rest, err := c.Rest(); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v came, want the end", rest, err)
	}
}

// TestR23TheOldestIdleMakesRoom: at the bound, who has been idle for the longest time
// goes, in that order, whether it has ever said anything or not.
func TestR23TheOldestIdleMakesRoom(t *testing.T) {
	t.Parallel()
	const limit = 4
	r := newRig(t, 1, withConnections(limit), logged)
	var open []*stub.Client
	idle := func(n int) { // the newest is known to be: the next one is younger
		r.clients("all are idle", func(Clients) bool { return r.idle() == n })
	}
	for i := range limit {
		c := r.dial()
		if i > 0 { // the first one never says anything
			wantStatus(t, c.Do(requestFor("GET", "/")), 200)
		}
		open = append(open, c)
		r.clients("it is counted", func(c Clients) bool { return c.Open == i+1 })
		idle(i + 1)
	}
	wantStatus(t, open[1].Do(requestFor("GET", "/")), 200) // the youngest, now
	idle(limit)
	for i, victim := range []int{0, 2, 3, 1} {
		c := r.dial()
		wantStatus(t, c.Do(requestFor("GET", "/")), 200)
		r.clients("the place is free again", func(c Clients) bool { return c.Open == limit && c.Cut["idle"] == uint64(i+1) })
		if i == 0 { // it has never had an answer
			a, err := open[victim].ReadAnswer()
			testkit.MustDo(t, err)
			wantS3Error(t, a, 503, "SlowDown")
		}
		wantGone(t, open[victim])
		idle(limit)
	}
	if s := r.e.Clients(); s.Cut["refused"] != 0 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(strings.Join(r.log.warnings(), "\n"), "as many clients are connected as can be") {
		t.Error("nobody was told of it")
	}
}

func (l *testLog) warnings() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.warned...)
}

// Who has a request under way, or an answer to come, never makes room.
func TestR23TheBusyDoNotMakeRoom(t *testing.T) {
	t.Parallel()
	const limit = 3
	r := newRig(t, 1, withConnections(limit))
	gate := make(chan struct{})
	r.stores[0].Behave(stub.Behaviour{Gate: gate})
	reading, writing, sending := r.dial(), r.dial(), r.dial()
	reading.Send(requestFor("GET", "/"))
	writing.Send(putRequest("/b/k", "x")) // its handler has left: who decides it answers
	body := pattern(100)
	sending.Send("PUT /b/l HTTP/1.1\r\nHost: s3.test\r\nContent-Length: 100\r\n\r\n", body[:50])
	r.stores[0].Wait(t, func(rs stub.Requests) bool { return len(rs) == limit })
	for range 3 {
		wantS3Error(t, r.dial().Do(requestFor("GET", "/")), 503, "SlowDown")
	}
	close(gate)
	sending.Send(body[50:])
	for _, c := range []*stub.Client{reading, writing, sending} {
		if a, err := c.ReadAnswer(); err != nil || a.Status != 200 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	wantStored(t, r.stores[0], "/b/l", body)
	if s := r.e.Clients(); s.Cut["refused"] != 3 || s.Cut["idle"]+s.Cut["head"] != 0 {
		t.Errorf("%+v", s)
	}
}

// connections counts the clients' connections of which that is true.
func (r *rig) connections(is func(c *clientConn) bool) (n int) {
	l := r.e.door()
	if l == nil { // Serve has yet to begin
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if is(c) {
			n++
		}
	}
	return n
}

// idle is how many connections of clients are between two requests.
func (r *rig) idle() int {
	return r.connections(func(c *clientConn) bool { return c.quiet().idle() })
}

// heads is how many connections are in the middle of a head.
func (r *rig) heads() int {
	return r.connections(func(c *clientConn) bool {
		q := c.quiet()
		return q > 0 && !q.idle()
	})
}

// TestR23SlowHeadsMakeRoom: connections on which a head takes too long do not keep
// others out, over TLS neither.
func TestR23SlowHeadsMakeRoom(t *testing.T) {
	t.Parallel()
	cert := httptest.NewTLSServer(nil) // for its certificate alone
	defer cert.Close()
	for _, secure := range []bool{false, true} {
		for _, grace := range []time.Duration{time.Nanosecond, time.Hour} {
			t.Run(fmt.Sprintf("TLS %v, grace %s", secure, grace), func(t *testing.T) {
				const limit = 3
				r := newRig(t, 1, withConnections(limit), logged, func(o *Options, _ *limiter.Options) {
					if o.headGrace = grace; secure {
						o.TLS = &tls.Config{Certificates: cert.TLS.Certificates}
					}
				})
				dial := func(what string) net.Conn {
					nc, err := net.Dial("tcp", r.addr)
					testkit.MustDo(t, err)
					t.Cleanup(func() { _ = nc.Close() })
					_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
					if secure {
						nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's certificate
					}
					_, _ = io.WriteString(nc, what)
					return nc
				}
				const begin, end = "GET / HTTP/1.1\r\nHost: s3.te", "st\r\nConnection: close\r\n\r\n"
				var slow []net.Conn
				for i := range limit {
					slow = append(slow, dial(begin))
					r.clients("it has begun", func(Clients) bool { return r.heads() == i+1 })
				}
				status, cut := 200, uint64(1)
				if grace > time.Minute {
					status, cut = 503, 0
				}
				answer, _ := io.ReadAll(dial(begin + end))
				if !strings.HasPrefix(string(answer), fmt.Sprintf("HTTP/1.1 %d", status)) {
					t.Errorf("the next one got %.100q, want %d", answer, status)
				}
				if n := r.e.Clients().Cut["head"]; n != cut {
					t.Errorf("%d slow heads were cut, want %d", n, cut)
				}
				for i, c := range slow {
					if i >= int(cut) {
						_, _ = io.WriteString(c, end)
					}
					answer, _ := io.ReadAll(c)
					want := "HTTP/1.1 200"
					if i < int(cut) {
						want = "HTTP/1.1 503"
					}
					if !strings.HasPrefix(string(answer), want) {
						t.Errorf("slow head %d got %.100q, want %s", i, answer, want)
					}
				}
			})
		}
	}
}

// TestR23SilentClients: who connects and says nothing is told to go, and that is counted.
func TestR23SilentClients(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, logged, func(o *Options, _ *limiter.Options) { o.firstTimeout = 300 * time.Millisecond })
	c := r.dial()
	a := c.Answer()
	wantS3Error(t, a, 400, "RequestTimeout")
	got := r.waitAccess(1)[0]
	if got.Status != 400 || got.Method != "" || got.Remote != c.Addr() || got.BytesOut != int64(len(a.Body)) {
		t.Errorf("the access log has %+v", got)
	}
	if begun, ended := r.metrics.counts(); begun != 1 || ended != 1 {
		t.Errorf("%d requests begun and %d ended", begun, ended)
	}
	if s := r.e.Clients(); s.Cut["silent"] != 1 {
		t.Errorf("%+v", s)
	}
	c.CloseWrite()
	wantGone(t, c)
}

// A client that has said something may be idle for longer than that.
func TestR23IdleIsNotSilent(t *testing.T) {
	t.Parallel()
	inSlowMotion(t, 200*time.Millisecond, func(t testing.TB, first time.Duration) {
		r := newRig(t, 1, func(o *Options, _ *limiter.Options) { o.firstTimeout = first })
		c := r.dial()
		for range 2 {
			wantStatus(t, c.Do(requestFor("GET", "/")), 200)
			time.Sleep(2 * first) // the client is idle for that long: it is time that is tested
		}
		wantStatus(t, c.Do(requestFor("GET", "/")), 200)
	})
}

// TestR23MoreSilentClientsThanPlaces: they shut nobody out.
func TestR23MoreSilentClientsThanPlaces(t *testing.T) {
	t.Parallel()
	const limit = 50
	r := newRig(t, 1, withConnections(limit))
	for range 10 * limit {
		nc, err := net.Dial("tcp", r.addr)
		testkit.MustDo(t, err)
		t.Cleanup(func() { _ = nc.Close() })
	}
	wantStatus(t, r.dial().Do(requestFor("GET", "/")), 200)
	r.clients("the rest has gone", func(c Clients) bool { return c.Open <= limit })
}

func TestPace(t *testing.T) {
	t.Parallel()
	const rate = 100
	o := &Options{MinClientRate: rate, paceTime: time.Minute}
	start := time.Unix(1000, 0)
	type step struct {
		at, until time.Duration // the wait begins, and may go on, on the clock
		moved     int           // at its end, which is when the next one begins, or resumed
		resumed   time.Duration // when the wait is over, if the next one does not follow at once
	}
	for name, steps := range map[string][]step{
		"nothing":          {{at: 0, until: 50 * time.Second}},
		"short of a count": {{0, 50 * time.Second, 1, 0}, {45 * time.Second, 60 * time.Second, 1, 0}, {60 * time.Second, -1, 0, 0}},
		"enough at once": {
			{0, 50 * time.Second, 6000, 0}, {45 * time.Second, 95 * time.Second, 1, 0}, {61 * time.Second, 111 * time.Second, 1, 0},
			{110 * time.Second, 121 * time.Second, 5999, 0}, {121 * time.Second, 171 * time.Second, 0, 0},
		},
		// Time in which a backend was waited for is not the client's.
		"backends are slow": {
			{0, 50 * time.Second, 10, time.Second}, {1000 * time.Second, 1050 * time.Second, 10, 1001 * time.Second},
			{2000 * time.Second, 2050 * time.Second, 10, 2040 * time.Second}, {3000 * time.Second, 3018 * time.Second, 0, 3018 * time.Second},
			{4000 * time.Second, -1, 0, 0},
		},
	} {
		p := paceOf(o)
		for i, s := range steps {
			want := start.Add(s.until)
			if s.until < 0 {
				want = past
			}
			if got := p.wait(start.Add(s.at), 50*time.Second); !got.Equal(want) {
				t.Errorf("%s, wait %d: until %s, want %s", name, i, got.Sub(start), want.Sub(start))
			}
			if s.resumed > 0 {
				p.resume(start.Add(s.resumed))
			}
			p.move(s.moved)
		}
	}
	p := paceOf(&Options{paceTime: time.Minute})
	for i := range 100 {
		at := start.Add(time.Duration(i) * time.Hour)
		if got := p.wait(at, time.Second); !got.Equal(at.Add(time.Second)) {
			t.Fatalf("without a rate: until %s", got)
		}
	}
}

// hasty counts rates over a short time.
func hasty(rate int64, over time.Duration) setup {
	return func(o *Options, _ *limiter.Options) { o.MinClientRate, o.paceTime = rate, over }
}

// TestR23SlowUploads: an upload of a byte now and then ends, its legs are aborted (R6),
// and its place is free.
func TestR23SlowUploads(t *testing.T) {
	t.Parallel()
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprintf("chunked %v", chunked), func(t *testing.T) {
			r := newRig(t, 2, hasty(1<<20, 300*time.Millisecond), logged)
			c := r.dial()
			head, piece := "Content-Length: 1000000\r\n\r\nx", "x"
			if chunked {
				head, piece = "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "1\r\nx\r\n"
			}
			c.Send("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\n" + head)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					if _, err := c.Write([]byte(piece)); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond) // a slow client
				}
			}()
			a := c.Answer()
			wantS3Error(t, a, 400, "RequestTimeout")
			if got := r.waitAccess(1)[0]; got.Status != 400 || got.Path != "/b/k" || got.BytesOut != int64(len(a.Body)) {
				t.Errorf("the access log has %+v", got)
			}
			c.Close()
			testkit.Receive(t, "the end of a goroutine", done)
			r.wantNoRecords()
			r.wantAllAbsent("/b/k")
			if s := r.e.Clients(); s.Cut["body"] != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestR23SlowBackendsAreNotHeldAgainstTheClient: the time in which a client is waited for ends with the read
// that has waited, whatever came of that. What the backends take until the next one does not count.
func TestR23SlowBackendsAreNotHeldAgainstTheClient(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	testkit.MustDo(t, err)
	defer client.Close()
	nc, err := ln.Accept()
	testkit.MustDo(t, err)
	c := newClientConn(nc, newListener(nil, &Engine{epoch: time.Now()})).(*clientConn)
	defer c.Close()
	c.wait, c.pace = waitBody, paceOf(&Options{MinClientRate: 1, paceTime: time.Minute})
	c.beforeWait = func() { // it has been waited for by now
		if _, err := client.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	}
	if n, err := c.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if c.pace.waited <= 0 || !c.pace.since.IsZero() {
		t.Errorf("the client was waited for for %s, and still is since %s", c.pace.waited, c.pace.since)
	}
}

// TestR23SlowReaders: who takes an answer too slowly does not hold its place.
func TestR23SlowReaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, hasty(64<<20, 500*time.Millisecond), logged)
	r.stores[0].Put("/b/k", []byte(pattern(32<<20)))
	nc, err := net.Dial("tcp", r.addr)
	testkit.MustDo(t, err)
	defer nc.Close()
	_ = nc.(*net.TCPConn).SetReadBuffer(16 << 10)
	c := stub.NewClient(t, nc.(*net.TCPConn))
	c.Send(requestFor("GET", "/b/k"))
	a, err := c.ReadHeadTo("GET")
	testkit.MustDo(t, err)
	wantStatus(t, a, 200)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := make([]byte, 1<<10)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond): // a slow client
			}
			if _, err := nc.Read(p); err != nil {
				return
			}
		}
	}()
	r.clients("the slow reader is cut", func(c Clients) bool { return c.Cut["answer"] == 1 && c.Open == 0 })
	close(stop)
	testkit.Receive(t, "the end of a goroutine", done)
	if got := r.waitAccess(1)[0]; got.Status != 200 || got.BytesOut >= 32<<20 {
		t.Errorf("the access log has %+v", got)
	}
}
