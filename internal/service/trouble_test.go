package service

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
)

// ailing is a backend that can be made to fail and to work again.
type ailing struct {
	url  string
	fail func()
	mend func()
}

// way is one way to fail, and what an operator must be told about it.
type way struct {
	name  string
	make  func(t *testing.T, dir string) ailing
	cause health.Cause
	error string // must be in the error's text
	means string // must be in the operator's words
	copy  bool   // of a copy
	alone bool   // a pool of only this backend does not answer
}

// stubWay is a way of a stub.
func stubWay(fail, mend func(s *stub.Server)) func(t *testing.T, dir string) ailing {
	return func(t *testing.T, _ string) ailing {
		s := stub.New(t, stub.KeepRequests(100))
		return ailing{s.URL(), func() { fail(s) }, func() { mend(s) }}
	}
}

func behaves(b stub.Behaviour) func(t *testing.T, dir string) ailing {
	return stubWay(func(s *stub.Server) { s.Behave(b) }, func(s *stub.Server) {
		s.Behave(stub.Behaviour{})
		s.Unhang()
	})
}

// certified is a backend whose certificate changes to one that is not accepted.
func certified(end time.Duration, trusted bool) func(t *testing.T, dir string) ailing {
	return func(t *testing.T, dir string) ailing {
		good, goodKey := testkit.MustWritePair(t, dir, "127.0.0.1")
		other := filepath.Join(dir, "other")
		testkit.MustDo(t, os.Mkdir(other, 0o700))
		bad, badKey := testkit.MustWritePairUntil(t, other, "127.0.0.1", time.Now().Add(end))
		cas := testkit.MustReadFile(t, good)
		if trusted {
			cas += testkit.MustReadFile(t, bad)
		}
		testkit.MustDo(t, os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(cas), 0o600))
		pairs := []tls.Certificate{testkit.MustLoadPair(t, good, goodKey), testkit.MustLoadPair(t, bad, badKey)}
		var now atomic.Int32
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { // an IP address has no ServerName
			return &tls.Config{Certificates: pairs[now.Load():][:1]}, nil
		}}
		s.StartTLS()
		t.Cleanup(s.Close)
		url := "https://" + s.Listener.Addr().String()
		return ailing{url, func() { now.Store(1); s.CloseClientConnections() }, func() { now.Store(0) }}
	}
}

// names answers DNS queries for backend.test. while it knows it.
type names struct {
	known atomic.Bool
	addr  string
}

func startNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	n := &names{addr: conn.LocalAddr().String()}
	n.known.Store(true)
	var done sync.WaitGroup
	done.Go(func() {
		q := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(q)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(n.answer(q[:size]), from)
		}
	})
	t.Cleanup(func() { _ = conn.Close(); done.Wait() })
	return n
}

// answer is NXDOMAIN, or 127.0.0.1 for an A record and nothing for others (RFC 1035 §4).
func (n *names) answer(q []byte) []byte {
	end := 12
	for end < len(q) && q[end] != 0 {
		end += int(q[end]) + 1
	}
	end += 5 // the root, type and class
	a := slices.Clone(q[:min(end, len(q))])
	a[2], a[3] = a[2]|0x84, 0
	a[6], a[7], a[8], a[9], a[10], a[11] = 0, 0, 0, 0, 0, 0
	switch {
	case !n.known.Load():
		a[3] = 3
	case len(a) == end && a[end-3] == 1: // type A
		a[7] = 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return a
}

// named is a backend whose name sometimes cannot be resolved. It changes the process's resolver.
func named(t *testing.T, _ string) ailing {
	n := startNames(t)
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", n.addr)
	}}
	t.Cleanup(func() { net.DefaultResolver = before })
	s := stub.New(t, stub.KeepRequests(100))
	_, port, _ := net.SplitHostPort(s.Addr())
	return ailing{"http://backend.test:" + port, func() { n.known.Store(false); s.CloseIdle() }, func() { n.known.Store(true) }}
}

// waysToFail are all of them.
var waysToFail = []way{
	{name: "refused", make: stubWay((*stub.Server).Down, func(s *stub.Server) { _ = s.Up() }), cause: health.Refused, error: "connection refused", means: "refuses connections", alone: true},
	{name: "unresolved", make: named, cause: health.Name, error: "no such host", means: "name cannot be resolved", alone: true},
	{name: "hanging", make: behaves(stub.Behaviour{HangAfterBody: true}), cause: health.Slow, error: "without progress", means: "requests wait for it", alone: true},
	{name: "reset", make: behaves(stub.Behaviour{During: stub.ResetThere}), cause: health.Reset, error: "reset", means: "closes connections", alone: true},
	{name: "wrong certificate", make: certified(time.Hour, false), cause: health.TLS, error: "x509: certificate signed by unknown authority", means: "not signed by a trusted authority", alone: true},
	{name: "expired certificate", make: certified(-time.Hour, true), cause: health.TLS, error: "x509: certificate has expired", means: "has expired", alone: true},
	{name: "403", make: behaves(stub.Fails(403)), cause: health.Denied, error: "answered 403", means: "denies access"},
	{name: "redirect", make: behaves(stub.Fails(301)), cause: health.Refuses, error: "answered 301", means: "redirects writes"},
	{name: "read-only", make: behaves(stub.Fails(405)), cause: health.Refuses, error: "answered 405", means: "refuses what another backend takes"},
	{name: "503", make: behaves(stub.Fails(503)), cause: health.Overloaded, error: "answered 503", means: "overloaded"},
	{name: "507", make: behaves(stub.Fails(507)), cause: health.Full, error: "answered 507", means: "no room left"},
	{name: "error in a 200", make: behaves(stub.ErrorIn200("InternalError")), cause: health.Error, error: "answered 200: InternalError", means: "an error of its own", copy: true},
	{name: "error in a 200 to a PUT", make: behaves(stub.ErrorIn200("InternalError")), cause: health.Error, error: "answered 200: InternalError", means: "an error of its own"},
	{name: "slow", make: stubWay(func(s *stub.Server) {
		s.BehaveFunc(func(*stub.Request) stub.Behaviour {
			gate := make(chan struct{})
			time.AfterFunc(3*time.Second, func() { close(gate) })
			return stub.Behaviour{Gate: gate}
		})
	}, func(s *stub.Server) { s.Behave(stub.Behaviour{}) }), cause: health.Slow, error: "behind the other backends", means: "requests wait for it"},
	{name: "trickling", make: behaves(stub.Behaviour{WriteRate: 20}), cause: health.Slow, error: "behind the other backends", means: "requests wait for it"},
}

// troubled is a proxy in front of an ailing backend, under load.
type troubled struct {
	t    *testing.T
	p    *Proxy
	log  *testkit.Transcript
	name string // of the ailing backend
	copy bool

	stop chan struct{}
	done sync.WaitGroup
}

func newTroubled(t *testing.T, w *way, more ...string) (*troubled, ailing) {
	t.Helper()
	dir := t.TempDir()
	bad := w.make(t, dir)
	c := config.Default()
	c.Listen, c.AdminListen, c.DataDir = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "data")
	c.Backends = append([]string{bad.url}, more...)
	if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err == nil {
		c.TLS.Backends.CAFile = filepath.Join(dir, "ca.pem")
	}
	c.ShutdownTimeout = 10 * time.Millisecond
	if len(more) > 0 && (w.cause == health.Slow || w.cause == health.Reset) {
		// It stays in the pool: once it is out, nothing of the kind happens any more, and a probe tells another story.
		c.FailureLimit, c.ConnectionDialTimeout = 0, testkit.Patience
	}
	testkit.MustDo(t, c.Complete())
	r := &troubled{t: t, log: testkit.NewTranscript(), name: strings.TrimPrefix(strings.TrimPrefix(bad.url, "http://"), "https://"), copy: w.copy, stop: make(chan struct{})}
	p, err := New(c, logs.Plain(r.log, io.Discard), "test")
	if err == nil {
		err = p.Start()
	}
	testkit.MustDo(t, err)
	r.p = p
	t.Cleanup(func() {
		close(r.stop)
		testkit.Finish(t, "the clients end", r.done.Wait)
		p.Stop()
		if t.Failed() {
			t.Logf("the proxy said:\n%s", r.log)
		}
	})
	r.send(0)
	// Copies do not go to a backend that owes their source.
	testkit.Eventually(t, "the first write has ended everywhere", func() bool { return r.metrics().samples["akubra_requests_in_flight"] == 0 })
	r.done.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-r.stop:
				return
			case <-time.After(50 * time.Millisecond):
				r.done.Go(func() { r.send(n) })
			}
		}
	})
	return r, bad
}

var troubledClient = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (r *troubled) send(n int) {
	req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s/b/k%d", r.p.Addr(), n), strings.NewReader("content"))
	if err != nil {
		r.t.Error(err)
		return
	}
	if r.copy && n > 0 {
		req.Body, req.ContentLength = nil, 0
		req.Header.Set("X-Amz-Copy-Source", "/b/k0")
	}
	if resp, err := troubledClient.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// status is what /status says about the ailing backend.
func (r *troubled) status() health.Status {
	r.t.Helper()
	var all struct {
		Backends []struct {
			Name   string
			Health health.Status
		}
	}
	testkit.MustDo(r.t, json.Unmarshal([]byte(testkit.MustSend(r.t, "GET", "http://"+r.p.AdminAddr()+"/status", "")), &all))
	for _, b := range all.Backends {
		if b.Name == r.name {
			return b.Health
		}
	}
	r.t.Fatalf("no backend %q in %+v", r.name, all)
	return health.Status{}
}

func (r *troubled) metric(name string) float64 {
	r.t.Helper()
	return r.metrics().of(name, "")
}

// metricsPage is what /metrics says about the ailing backend at one moment.
type metricsPage struct {
	text    string
	samples map[string]float64
	name    string
}

func (r *troubled) metrics() metricsPage {
	r.t.Helper()
	text := testkit.MustSend(r.t, "GET", "http://"+r.p.AdminAddr()+"/metrics", "")
	return metricsPage{text, testkit.MustParseMetrics(r.t, text), r.name}
}

func (p metricsPage) of(name, labels string) float64 {
	return p.samples[name+`{backend="`+p.name+`"`+labels+`}`]
}

// line is the first line of the log that contains all of these words.
func (r *troubled) line(words ...string) string {
	for line := range strings.Lines(r.log.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return line
		}
	}
	return ""
}

func (w *way) in(failures []health.Failure) bool {
	return slices.ContainsFunc(failures, func(f health.Failure) bool {
		return f.Cause == w.cause && strings.Contains(f.Error, w.error) && strings.Contains(f.Means, w.means) && f.Count > 0 && !f.Since.IsZero()
	})
}

// TestR36TroubleIsTold: however a backend fails, the log, /status and the metrics say why, and say
// when it is over.
func TestR36TroubleIsTold(t *testing.T) {
	for _, w := range waysToFail {
		t.Run(w.name, func(t *testing.T) {
			if w.name != "unresolved" {
				t.Parallel()
			}
			good := stub.New(t, stub.KeepRequests(100))
			r, bad := newTroubled(t, &w, good.URL())
			if s := r.status(); len(s.Failing) > 0 {
				t.Fatalf("it fails at once: %+v", s)
			}
			cause := `"cause":"` + string(w.cause) + `"`
			bad.fail()
			began := time.Now()
			// All three beside each other: one that hangs is slow for a moment only, until it is out.
			var logged, stated, shown bool
			var last health.Status
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("told by the log: %t, by /status: %t, by the metrics: %t; the last status: %+v, %+v", logged, stated, shown, last, last.LastError)
				}
			})
			testkit.Eventually(t, "the log, /status and the metrics say why", func() bool {
				logged = logged || r.line("backend fails: ", w.means, w.error, cause, `"backend":"`+r.name+`"`) != ""
				last = r.status()
				stated = stated || w.in(last.Failing)
				page, label := r.metrics(), `,cause="`+string(w.cause)+`"`
				shown = shown || page.of("akubra_backend_failing", label) == 1 && page.of("akubra_backend_errors_total", label) > 0 &&
					page.of("akubra_backend_last_error_timestamp_seconds", "") > 0 &&
					strings.Contains(page.text, `akubra_backend_failure_info{backend="`+r.name+`"`+label+`,means="`)
				return logged && stated && shown
			})
			t.Logf("told after %v", time.Since(began).Round(time.Millisecond))
			bad.mend()
			began = time.Now()
			testkit.Eventually(t, "the log says that it is over", func() bool {
				return r.line("backend has recovered from", cause, `"backend":"`+r.name+`"`) != ""
			})
			testkit.Eventually(t, "it is over", func() bool {
				s, page := r.status(), r.metrics()
				return len(s.Failing) == 0 && !s.Silent && s.LastError != nil && s.LastError.Since.IsZero() &&
					page.of("akubra_backend_failing", `,cause="`+string(w.cause)+`"`) == 0 && page.of("akubra_backend_up", "") == 1
			})
			t.Logf("over after %v", time.Since(began).Round(time.Millisecond))
			if line := r.line("backend demoted"); line != "" && !strings.Contains(line, `"error":"`) {
				t.Errorf("the demotion says not why: %s", line)
			}
			if n := strings.Count(r.log.String(), "backend fails: "); n > len(health.Causes) {
				t.Errorf("%d lines about failures: %s", n, r.log.String())
			}
		})
	}
}

// TestR36TheLastBackend: the last backend in the pool is never demoted, but one that does not
// answer makes the proxy not ready, and does not count as up.
func TestR36TheLastBackend(t *testing.T) {
	for _, w := range waysToFail {
		if !w.alone {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			if w.name != "unresolved" {
				t.Parallel()
			}
			r, bad := newTroubled(t, &w)
			ready := func() (int, string) {
				status, body, err := testkit.Send("GET", "http://"+r.p.AdminAddr()+"/ready", "")
				testkit.MustDo(t, err)
				return status, body
			}
			if status, body := ready(); status != 200 {
				t.Fatalf("it is not ready at first: %s", body)
			}
			bad.fail()
			testkit.Eventually(t, "it is not ready", func() bool {
				status, body := ready()
				return status == 503 && strings.Contains(body, "no backend in the pool answers") && strings.Contains(body, `"error": "`)
			})
			if up := r.metric("akubra_backend_up"); up != 0 {
				t.Errorf("akubra_backend_up is %v", up)
			}
			bad.mend()
			testkit.Eventually(t, "it is ready again", func() bool {
				status, _ := ready()
				return status == 200 && r.metric("akubra_backend_up") == 1
			})
		})
	}
}
