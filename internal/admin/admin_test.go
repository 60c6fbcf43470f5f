package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/limiter"
)

func TestAdminRoutes(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/health", 200, ""},
		{"HEAD", "/health", 200, ""},
		{"GET", "/health?x=1", 200, ""},
		{"POST", "/health", 405, "GET, HEAD"},
		{"GET", "/ready", 200, ""},
		{"HEAD", "/ready", 200, ""},
		{"GET", "/metrics", 200, ""},
		{"HEAD", "/metrics", 200, ""},
		{"PUT", "/metrics", 405, "GET, HEAD"},
		{"GET", "/status", 200, ""},
		{"HEAD", "/status", 200, ""},
		{"DELETE", "/status", 405, "GET, HEAD"},
		{"GET", "/debug/pprof", 301, ""},
		{"GET", "/debug/pprof/", 200, ""},
		{"GET", "/debug/pprof/cmdline", 200, ""},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, ""},
		{"GET", "/debug/pprof/heap", 200, ""},
		{"GET", "/debug/pprof/profile?seconds=61", 400, ""},
		{"GET", "/debug/pprof/trace?seconds=NaN", 400, ""},
		{"GET", "/debug/pprof/trace?seconds=-1", 400, ""},
		{"POST", "/debug/pprof/symbol", 405, "GET, HEAD"},
		{"GET", "/backends/a:9000/maintenance", 405, "DELETE, POST"},
		{"OPTIONS", "/backends/a:9000/maintenance", 405, "DELETE, POST"},
		{"GET", "/configuration/validate", 405, "POST"},
		{"GET", "/configuration/reload", 405, "POST"},
		{"GET", "/", 200, ""},
		{"HEAD", "/", 200, ""},
		{"POST", "/", 405, "GET, HEAD"},
		{"GET", "/page.js", 200, ""},
		{"GET", "/page.css", 200, ""},
		{"GET", "/page/index.html", 404, ""},
		{"GET", "/health/", 404, ""},
		{"GET", "//health", 404, ""},
		{"GET", "/x/../health", 404, ""},
		{"POST", "/backends/a:9000", 404, ""},
		{"POST", "/backends/a:9000/b:9000/maintenance", 404, ""},
		{"POST", "/backends//maintenance", 404, ""},
		{"POST", "/backends/maintenance", 404, ""},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			resp, body := r.do(c.method, c.path, "")
			if resp.StatusCode != c.status || resp.Header.Get("Allow") != c.allow {
				t.Errorf("status %d, Allow %q; want %d, %q", resp.StatusCode, resp.Header.Get("Allow"), c.status, c.allow)
			}
			if c.method == "HEAD" {
				if body != "" || resp.ContentLength <= 0 {
					t.Errorf("answer to HEAD has body %q, length %d", body, resp.ContentLength)
				}
				return
			}
			if c.status < 400 {
				return
			}
			var p problem
			if err := json.Unmarshal([]byte(body), &p); err != nil || p.Error == "" {
				t.Errorf("error is %q: %v", body, err)
			}
		})
	}
	var p problem
	r.want(404, &p, "GET", "/nothing", "")
	if !slices.Contains(p.Routes, "POST /backends/NAME/maintenance") || !slices.Contains(p.Routes, "GET /health") {
		t.Errorf("routes are %q", p.Routes)
	}
	if resp, _ := r.do("GET", "/debug/pprof", ""); resp.Header.Get("Location") != "/debug/pprof/" {
		t.Errorf("moved to %q", resp.Header.Get("Location"))
	}
	for _, line := range r.takeLogs() {
		if !strings.Contains(line, "there is no such backend") { // a change that was asked for
			t.Errorf("looking was logged: %q", line)
		}
	}
}

// R36: the last backend is never demoted, but one that does not answer counts as out, and /ready
// and /status say why.
func TestR36ReadyAndStatusTellOfSilence(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	r.limiter.SetMaintained(0, true)
	r.health.Unreached(1, errors.New("no luck"))
	var got readiness
	r.want(503, &got, "GET", "/ready", "")
	want := readiness{Reason: "no backend in the pool answers", Backends: []backendState{
		{Name: "a:9000", State: "maintained"}, {Name: "b:9000", State: "active", Silent: true, Error: "no luck"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("readiness %+v, want %+v", got, want)
	}
	var status struct {
		Ready    bool
		Backends []struct{ Health health.Status }
	}
	r.want(200, &status, "GET", "/status", "")
	h := status.Backends[1].Health
	if status.Ready || !h.Silent || len(h.Failing) != 1 || h.Failing[0].Error != "no luck" || h.Failing[0].Count != 1 || h.LastError.Last.IsZero() {
		t.Errorf("status %+v", status)
	}
	r.health.Reached(1)
	r.want(200, nil, "GET", "/ready", "")
}

func TestAdminReady(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	want := func(status int, reason, a, b string) {
		t.Helper()
		var got readiness
		r.want(status, &got, "GET", "/ready", "")
		if got.Ready != (status == 200) || got.Reason != reason ||
			!slices.Equal(got.Backends, []backendState{{Name: "a:9000", State: a}, {Name: "b:9000", State: b}}) {
			t.Errorf("readiness is %+v", got)
		}
		if resp, _ := r.do("HEAD", "/ready", ""); resp.StatusCode != status {
			t.Errorf("HEAD says %d, want %d", resp.StatusCode, status)
		}
	}
	want(200, "", "active", "active")
	r.limiter.Failed(0, 1)
	want(200, "", "demoted", "active")
	r.limiter.SetMaintained(1, true)
	want(503, "no backend is in the pool", "demoted", "maintained")
	r.limiter.Return(0)
	want(200, "", "active", "maintained")
	r.admin.Drain() // R22
	want(503, "shutting down", "active", "maintained")
	if got := r.want(200, nil, "GET", "/health", ""); got != "ok\n" {
		t.Errorf("health is %q while draining", got)
	}
}

func TestAdminStatusAndMetrics(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	r.limiter.Failed(1, 1)
	r.metrics.RequestEnded("PUT", 200, 10, time.Millisecond)
	r.metrics.LegEnded(0, engine.LegEnd{Outcome: engine.OutcomePositive, Sent: 10})
	r.metrics.Diverged(0, engine.OpStoring, limiter.StateDemoted)

	var s adminStatus
	text := r.want(200, &s, "GET", "/status", "")
	if s.Version != "v1.2.3" || s.InFlight != 3 || !s.Ready || time.Since(s.Started) > time.Minute || s.Uptime == "" {
		t.Errorf("status is %s", text)
	}
	if s.Counters.Requests != 1 || s.Counters.Divergences != 1 || s.Synclog != (synclogStatus{5, 2, 1}) {
		t.Errorf("counters are %+v, %+v", s.Counters, s.Synclog)
	}
	if len(s.Backends) != 2 {
		t.Fatalf("backends are %+v", s.Backends)
	}
	a, b := s.Backends[0], s.Backends[1]
	if a.Name != "a:9000" || a.URL != "http://a:9000" || a.State != "active" || a.Legs["positive"] != 1 || a.Bytes != 10 {
		t.Errorf("first backend is %+v", a)
	}
	if b.State != "demoted" || b.Demotions != 1 || b.Failures != 1 || b.Reason != limiter.ReasonFailures {
		t.Errorf("second backend is %+v", b)
	}

	resp, body := r.do("GET", "/metrics", "")
	if ct := resp.Header.Get("Content-Type"); ct != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("metrics come as %q", ct)
	}
	testkit.WantSamples(t, testkit.MustParseMetrics(t, body), map[string]float64{
		`akubra_requests_in_flight`:                        3,
		`akubra_backend_up{backend="a:9000"}`:              1,
		`akubra_backend_up{backend="b:9000"}`:              0,
		`akubra_backend_demotions_total{backend="b:9000"}`: 1,
		`akubra_synclog_records_total`:                     5,
		`akubra_synclog_failed_total`:                      2,
	})
}

func TestR14AdminMaintenance(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000", "[::1]:9000")
	for _, step := range []struct {
		method, name string
		status       int
		state        string // with 200
		pool         uint64 // afterwards
		logged       string
	}{
		{"DELETE", "a:9000", 200, "active", 0b111, "audit action maintenance off what a:9000 by 127.0.0.1 result it was so already"},
		{"POST", "a:9000", 200, "maintained", 0b110, "audit action maintenance on what a:9000 by 127.0.0.1 result done"},
		{"POST", "a:9000", 200, "maintained", 0b110, "audit action maintenance on what a:9000 by 127.0.0.1 result it was so already"},
		{"POST", "c:9000", 404, "", 0b110, "audit action maintenance on what c:9000 by 127.0.0.1 result refused: there is no such backend"},
		{"POST", "a", 404, "", 0b110, "audit action maintenance on what a by 127.0.0.1 result refused: there is no such backend"},
		{"POST", "%5b::1%5D%3A9000", 200, "maintained", 0b010, "audit action maintenance on what [::1]:9000 by 127.0.0.1 result done"},
		{"POST", "b:9000", 409, "", 0b010, "audit action maintenance on what b:9000 by 127.0.0.1 result refused: every other backend is in maintenance"},
		{"POST", "a:9000", 200, "maintained", 0b010, "audit action maintenance on what a:9000 by 127.0.0.1 result it was so already"},
		{"DELETE", "A%3A9000", 200, "active", 0b011, "audit action maintenance off what a:9000 by 127.0.0.1 result done"},
		{"POST", "b:9000", 200, "maintained", 0b001, "audit action maintenance on what b:9000 by 127.0.0.1 result done"},
		{"DELETE", "%zz", 404, "", 0b001, ""},
		{"DELETE", "a%2F9000", 404, "", 0b001, "audit action maintenance off what a/9000 by 127.0.0.1 result refused: there is no such backend"},
	} {
		// A raw request, because net/url rejects %zz.
		status, body := r.raw(step.method + " /backends/" + step.name + "/maintenance HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if status != step.status {
			t.Fatalf("%s %s: status %d, want %d; %s", step.method, step.name, status, step.status, body)
		}
		if pool := r.limiter.Pool(); pool != step.pool {
			t.Errorf("%s %s: pool is %b, want %b", step.method, step.name, pool, step.pool)
		}
		if status == 200 {
			var s backendStatus
			if err := json.Unmarshal([]byte(body), &s); err != nil || s.State != step.state || s.Maintained != (step.state == "maintained") {
				t.Errorf("%s %s: %v, %s", step.method, step.name, err, body)
			}
		}
		if logs := strings.Join(r.takeLogs(), "; "); logs != step.logged {
			t.Errorf("%s %s logged %q, want %q", step.method, step.name, logs, step.logged)
		}
	}
	var p problem
	r.want(404, &p, "POST", "/backends/c:9000/maintenance", "")
	if !strings.Contains(p.Error, `"c:9000"`) || !slices.Equal(p.Backends, []string{"a:9000", "b:9000", "[::1]:9000"}) {
		t.Errorf("unknown backend: %+v", p)
	}
	r.want(409, &p, "POST", "/backends/a:9000/maintenance", "")
	if !strings.Contains(p.Error, "every other one is") {
		t.Errorf("the last backend: %q", p.Error)
	}
}

// However many requests come at once, one backend is left (R14).
func TestR14AdminMaintenanceRace(t *testing.T) {
	names := []string{"a:1", "b:1", "c:1", "d:1"}
	r := newAdminRig(t, names...)
	var done sync.WaitGroup
	for _, name := range names {
		done.Go(func() {
			req, _ := http.NewRequest("POST", "http://"+r.addr+"/backends/"+name+"/maintenance", nil)
			resp, err := r.client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
		})
	}
	testkit.Finish(t, "the clients end", done.Wait)
	if p := r.limiter.Pool(); p == 0 || p&(p-1) != 0 {
		t.Errorf("pool is %b, want one backend", p)
	}
}

func TestR37AdminAnswersItsOwnAlone(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	_, port, _ := net.SplitHostPort(r.addr)
	r.admin.SetHosts([]string{"akubra.example", "Node-7"})
	for _, c := range []struct {
		name, host string
		status     int
		headers    []string
	}{
		{"no page", r.addr, 200, nil},
		{"an address without port", "127.0.0.1", 200, nil},
		{"another address, of a pod say", "10.9.8.7:8071", 200, nil},
		{"IPv6", "[::1]:" + port, 200, nil},
		{"IPv6 without port", "[::1]", 200, nil},
		{"localhost", "LocalHost.:" + port, 200, nil},
		{"a name of its own", "akubra.example:" + port, 200, nil},
		{"the machine's", "node-7", 200, nil},
		{"own page", r.addr, 200, []string{"Origin", "http://" + r.addr, "Sec-Fetch-Site", "same-origin"}},
		{"own page as localhost", "localhost:" + port, 200, []string{"Origin", "http://localhost:" + port}},
		{"own page, IPv6", "[::1]:" + port, 200, []string{"Origin", "http://[::1]:" + port}},
		{"own page by name", "akubra.example", 200, []string{"Origin", "http://akubra.example"}},
		{"typed", r.addr, 200, []string{"Sec-Fetch-Site", "none"}},

		{"a name made to resolve here", "evil.example:" + port, 421, nil},
		{"the same, with its own origin", "evil.example:" + port, 421, []string{"Origin", "http://evil.example:" + port, "Sec-Fetch-Site", "same-origin"}},
		{"a name like an address", "127.0.0.1.evil.example", 421, nil},
		{"a name like localhost", "localhost.evil.example", 421, nil},
		{"a name like its own", "evil-akubra.example", 421, nil},
		{"a part of its own", "example", 421, nil},
		{"a name below localhost", "evil.localhost", 421, nil},
		{"a number that browsers take for an address", "2130706433", 421, nil},
		{"no name", ":" + port, 421, nil},
		{"another site", r.addr, 403, []string{"Origin", "http://evil.example"}},
		{"another port", r.addr, 403, []string{"Origin", "http://127.0.0.1:1"}},
		{"another of its names", r.addr, 403, []string{"Origin", "http://akubra.example:" + port}},
		{"hidden", r.addr, 403, []string{"Origin", "null"}},
		{"garbage", r.addr, 403, []string{"Origin", "://"}},
		{"cross-site", r.addr, 403, []string{"Sec-Fetch-Site", "cross-site"}},
		{"same-site", "localhost:" + port, 403, []string{"Sec-Fetch-Site", "same-site"}},
		{"neither", r.addr, 403, []string{"Sec-Fetch-Site", "same-origin, cross-site"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			headers := append([]string{"Host", c.host}, c.headers...)
			for _, q := range [][2]string{
				{"GET", "/status"}, {"GET", "/metrics"}, {"GET", "/journal"}, {"GET", "/debug/pprof/cmdline"},
				{"POST", "/backends/a:9000/maintenance"}, {"DELETE", "/backends/a:9000/maintenance"},
			} {
				resp, body := r.do(q[0], q[1], "", headers...)
				if resp.StatusCode != c.status {
					t.Errorf("%s %s: status %d, want %d; %s", q[0], q[1], resp.StatusCode, c.status, body)
				}
				if c.status != 200 && r.limiter.State(0) != limiter.StateActive {
					t.Error("it was done all the same")
				}
				if c.status == 421 && !strings.Contains(body, "AdminHosts") {
					t.Errorf("the answer does not name the key: %s", body)
				}
			}
			for _, path := range []string{"/health", "/ready"} { // a load balancer's checks
				resp, body := r.do("GET", path, "", headers...)
				if resp.StatusCode != 200 || c.status != 200 && strings.Contains(body, "9000") {
					t.Errorf("%s: %d %s", path, resp.StatusCode, body)
				}
			}
			if resp, _ := r.do("GET", "/nothing", "", headers...); c.status != 200 && resp.StatusCode != c.status {
				t.Errorf("a path that is not there: %d", resp.StatusCode)
			}
		})
	}
	for _, c := range []struct {
		head   string
		status int
	}{
		{"GET /health HTTP/1.0\r\n\r\n", 200},
		{"GET /ready HTTP/1.0\r\n\r\n", 200},
		{"GET /status HTTP/1.0\r\n\r\n", 421},
		{"GET http://evil.example/status HTTP/1.1\r\nHost: " + r.addr + "\r\nConnection: close\r\n\r\n", 421},
		{"GET http://" + r.addr + "/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421},
		{"GET /status HTTP/1.1\r\nHost: " + r.addr + "\r\nOrigin: http://" + r.addr + "\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n", 403},
	} {
		if status, body := r.raw(c.head); status != c.status {
			t.Errorf("%q: status %d, want %d; %s", c.head, status, c.status, body)
		}
	}
}

func TestAdminHosts(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	got := Hosts("akubra.internal:8071", []string{"metrics.example"})
	for _, want := range []string{"akubra.internal", "metrics.example", name} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if slices.Contains(Hosts(":8071", nil), "") {
		t.Error("a Host without a name is taken")
	}
	for addr, want := range map[string]string{":8071": "127.0.0.1:8071", "0.0.0.0:8071": "127.0.0.1:8071", "[::]:8071": "127.0.0.1:8071", "a:1": "a:1"} {
		if got := text.Dialable(addr); got != want {
			t.Errorf("dialable(%q) is %q", addr, got)
		}
	}
}

// Everything under /journal belongs to somebody else, whose responses are passed on.
func TestAdminJournalRoutes(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	var pending map[string]int
	if r.want(http.StatusOK, &pending, "GET", "/journal", ""); pending["pending"] != 1 {
		t.Errorf("status %v", pending)
	}
	var all struct {
		Journal map[string]int `json:"journal"`
		Repair  struct {
			Resolved int `json:"resolved"`
		} `json:"repair"`
	}
	if r.want(http.StatusOK, &all, "GET", "/status", ""); all.Journal["pending"] != 1 || all.Repair.Resolved != 7 {
		t.Errorf("status %+v", all)
	}
	var echo map[string]string
	if r.want(http.StatusOK, &echo, "POST", "/journal/next", "{x"); echo["next"] != "{x" {
		t.Errorf("answer %v", echo)
	}
	var p problem
	if r.want(http.StatusLocked, &p, "POST", "/journal/open", "{}"); p.Error != "another one is at it" {
		t.Errorf("problem %+v", p)
	}
	r.want(http.StatusNotFound, &p, "POST", "/journal/unknown", "{}")
	if r.want(http.StatusForbidden, &p, "POST", "/journal/open", "{}", "Origin", "http://evil.example.com"); p.Error != otherSite {
		t.Errorf("problem %+v", p)
	}
}

// TestR37ValidateOpensNoFile: whatever is at the path, the response is the same.
func TestR37ValidateOpensNoFile(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	dir := t.TempDir()
	secret, none := filepath.Join(dir, "secret"), filepath.Join(dir, "none")
	testkit.MustDo(t, os.WriteFile(secret, []byte("[default]\naws_access_key_id = AKID\naws_secret_access_key = hush\n"), 0o600))
	fifo := filepath.Join(dir, "fifo")
	testkit.MustDo(t, syscall.Mkfifo(fifo, 0o600))
	for _, text := range []string{
		"TLS: {CertFile: %q, KeyFile: %[1]q}\n",
		"TLS: {CertFile: %q}\n",
		"TLS: {KeyFile: %q}\n",
		"TLS: {Backends: {CAFile: %q}}\n",
		"TLS: {Backends: {ClientCertFile: %q, ClientKeyFile: %[1]q}}\n",
		"Credentials: {File: %q}\n",
		"Credentials: {File: %q, Profile: nobody}\n",
		"BackendCredentials: [{Backend: 'http://127.0.0.1:9001', File: %q}]\n",
		"DataDir: %q\n",
		"Logging: {Mainlog: {File: %q}, Synclog: {File: %[1]q}, Accesslog: {File: %[1]q}}\n",
	} {
		answers := map[string]bool{}
		for _, path := range []string{secret, none, dir, fifo, secret + "/below", "/etc/shadow", "/dev/null", none + "\x00"} {
			_, body := r.do("POST", "/configuration/validate", "Backends: ['http://127.0.0.1:9001']\n"+fmt.Sprintf(text, path))
			for _, told := range []string{"AKID", "hush", "no such file", "regular", "PEM file", "there is no", "permission"} {
				if strings.Contains(body, told) {
					t.Errorf("%s: %q in %s", text, told, body)
				}
			}
			if !strings.ContainsRune(path, 0) { // not a path at all, which can be seen without a file
				answers[strings.ReplaceAll(body, path, "PATH")] = true
			}
		}
		if len(answers) != 1 {
			t.Errorf("%s: answers tell files apart: %v", text, answers)
		}
	}
	var v validation
	r.want(200, &v, "POST", "/configuration/validate", "Backends: ['http://127.0.0.1:9001']\nCredentials: {File: /x}\nTLS: {CertFile: /x, KeyFile: /x}\n")
	slices.Sort(v.Unopened)
	if want := []string{"Credentials.File", "DataDir", "TLS.CertFile", "TLS.KeyFile"}; !v.Valid || !slices.Equal(v.Unopened, want) {
		t.Errorf("got %+v", v)
	}
	// The command still opens them.
	path := filepath.Join(dir, "akubra.yaml")
	testkit.MustDo(t, os.WriteFile(path, []byte("Backends: ['http://127.0.0.1:9001']\nCredentials: {File: "+none+"}\n"), 0o600))
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("check: %v", err)
	}
}

// R22, R37: a reload is asked for with POST, by nobody but the operator, and takes nothing from the body.
func TestR22AdminReload(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	var got struct {
		By  string
		Nth int
	}
	r.want(421, nil, "POST", "/configuration/reload", "", "Host", "evil.example")
	r.want(403, nil, "POST", "/configuration/reload", "", "Origin", "http://evil.example")
	if r.want(200, &got, "POST", "/configuration/reload", "Listen: :1"); got.By != "127.0.0.1" || got.Nth != 1 {
		t.Errorf("%+v", got)
	}
	if r.want(400, &got, "POST", "/configuration/reload", ""); got.Nth != 2 { // there was a mistake
		t.Errorf("%+v", got)
	}
}

func TestR21AdminValidate(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	good := "Backends:\n  - http://127.0.0.1:9001\n  - http://127.0.0.1:9002\n"
	var v validation
	if r.want(200, &v, "POST", "/configuration/validate", good); !v.Valid || v.Mistakes != nil {
		t.Errorf("good one: %+v", v)
	}
	for _, c := range []struct {
		name, body string
		mistakes   int
		mention    string
	}{
		{"nothing", "", 1, "Backends"},
		{"no YAML", "Backends: [", 1, ""},
		{"unknown key", good + "ConLimit: 3\n", 1, "ConnLimit"},
		{"three at once", good + "ConnLimit: 0\nWriteAck: some\nRingSize: 1\n", 3, "WriteAck"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v validation
			r.want(400, &v, "POST", "/configuration/validate", c.body)
			if v.Valid || len(v.Mistakes) != c.mistakes || !strings.Contains(strings.Join(v.Mistakes, "\n"), c.mention) {
				t.Errorf("got %+v", v)
			}
		})
	}
}

// A violated limit gets a clear response, which arrives although the request was not read
// completely (R7, R23).
func TestR23AdminBounds(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	large := strings.Repeat("#", 2<<20)
	for range 20 {
		var p problem
		if r.want(413, &p, "POST", "/configuration/validate", large); !strings.Contains(p.Error, "1MiB") {
			t.Fatalf("too large a body: %q", p.Error)
		}
	}
	var p problem
	if r.want(431, &p, "GET", "/health", "", "X-Long", strings.Repeat("x", 2*adminHeaderSize)); !strings.Contains(p.Error, "8KiB") {
		t.Errorf("too large a head: %q", p.Error)
	}
	if status, body := r.raw("GET /health\r\nFoo\r\n\r\n"); status != 400 || !strings.Contains(body, `"error"`) {
		t.Errorf("no HTTP: %d %s", status, body)
	}
}

func TestAdminPanicIsAnAnswer(t *testing.T) {
	r := newAdminRig(t, "a:9000")
	r.admin.o.InFlight = func() int { panic("oops") }
	var p problem
	r.want(500, &p, "GET", "/status", "")
	if logs := r.takeLogs(); len(logs) != 1 || !strings.Contains(logs[0], "oops") {
		t.Errorf("logged %q", logs)
	}
	r.want(200, nil, "GET", "/health", "")
}

func TestAdminShutdown(t *testing.T) {
	t.Run("ends a long profile", func(t *testing.T) {
		r := newAdminRig(t, "a:9000")
		ended := make(chan error, 1)
		go func() {
			resp, err := r.client.Get("http://" + r.addr + "/debug/pprof/trace?seconds=50")
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			ended <- err
		}()
		r.waitFor(trace.IsEnabled)
		began := time.Now()
		if err := r.admin.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > adminShutdownTimeout+30*time.Second { // rather than what is left of 50 s, also on a busy machine
			t.Errorf("it took %v", took)
		}
		testkit.Receive(t, "the end", ended)
	})
	t.Run("cuts a slow sender", func(t *testing.T) {
		r := newAdminRig(t, "a:9000")
		c, err := net.Dial("tcp", r.addr)
		testkit.MustDo(t, err)
		defer c.Close()
		if _, err := io.WriteString(c, "POST /configuration/validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nBack"); err != nil {
			t.Fatal(err)
		}
		r.waitFor(r.connected)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := r.admin.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "cannot finish admin requests") {
			t.Errorf("Shutdown says %v", err)
		}
		if b, _ := io.ReadAll(c); bytes.Contains(b, []byte(" 200 ")) {
			t.Errorf("half a request was answered: %q", b)
		}
	})
	t.Run("before Serve", func(t *testing.T) {
		a := New(Options{})
		if err := a.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.MustDo(t, err)
		if err := a.Serve(ln); err != nil {
			t.Error(err)
		}
		if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
			t.Error("it listens")
		}
	})
	t.Run("at once", func(t *testing.T) {
		r := newAdminRig(t, "a:9000")
		if err := r.admin.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAdminMatch(t *testing.T) {
	named := adminRoute{path: "/backends/NAME/maintenance"}
	for path, want := range map[string]string{
		"/backends/a/maintenance":                                  "a",
		"/backends/a%3A1/maintenance":                              "a:1",
		"/backends/maintenance/maintenance":                        "maintenance",
		"/backends/" + url.PathEscape("[::1]:80") + "/maintenance": "[::1]:80",
	} {
		if got, ok := named.match(path); !ok || got != want {
			t.Errorf("%s gives %q, %t; want %q", path, got, ok, want)
		}
	}
	for _, path := range []string{"", "/", "/backends", "/backends/", "/backends/maintenance", "/backends/%/maintenance", "/backends/a/b/maintenance", "/backends/a/maintenance/"} {
		if got, ok := named.match(path); ok {
			t.Errorf("%s gives %q", path, got)
		}
	}
}
