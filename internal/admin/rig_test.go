package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/repair"
)

// adminRig is an admin listener with a real limiter.
type adminRig struct {
	t       testing.TB
	admin   *Admin
	limiter *limiter.Limiter
	metrics *metrics.Metrics
	health  *health.Health
	addr    string
	client  *http.Client
	served  chan error

	mu      sync.Mutex
	logs    []string
	reloads int
}

func newAdminRig(t testing.TB, names ...string) *adminRig {
	t.Helper()
	testkit.NoLeaks(t)
	r := &adminRig{t: t, metrics: metrics.New("v1.2", names), served: make(chan error, 1)}
	r.limiter = limiter.New(limiter.Options{Backends: names, ConnLimit: 100, FailureLimit: 1})
	r.health = health.New(health.Options{Names: names, Failing: func(health.Event) {}, Over: func(health.Event) {}})
	began := time.Now()
	status := func() []limiter.Status { return r.limiter.Status(int64(time.Since(began))) }
	records := func() synclog.Counts { return synclog.Counts{Written: 5, Failed: 2, Skipped: 1} }
	inFlight := func() int { return 3 }
	r.metrics.Observe(metrics.Sources{Status: status, Records: records, InFlight: inFlight})
	o := Options{
		Version: "v1.2.3", Status: status, SetMaintained: func(backend int, on bool) (bool, []string) { return r.limiter.SetMaintained(backend, on), nil },
		Health:   r.health.Status,
		InFlight: inFlight, Records: records, Metrics: r.metrics,
		JournalStatus: func() any { return map[string]int{"pending": 1} },
		JournalCalls:  []string{"open", "next"},
		JournalCall: func(call string, body []byte, _ string) (int, any, error) {
			if call == "open" {
				return http.StatusLocked, nil, errors.New("another one is at it")
			}
			return http.StatusOK, map[string]string{call: string(body)}, nil
		},
		CheckConfig: config.CheckText, MaxConfig: config.MaxSize,
		Repair: func() (repair.Status, bool) { return repair.Status{Resolved: 7}, true },
		Reload: func(by string) (any, bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reloads++
			return map[string]any{"by": by, "nth": r.reloads}, r.reloads == 1
		},
		Log: func(msg string, keyvals ...any) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.logs = append(r.logs, strings.TrimSpace(fmt.Sprintln(append([]any{msg}, keyvals...)...)))
		},
	}
	for _, name := range names {
		o.URLs = append(o.URLs, "http://"+name)
	}
	r.admin = New(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	r.addr = ln.Addr().String()
	go func() { r.served <- r.admin.Serve(ln) }()
	transport := &http.Transport{}
	r.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := r.admin.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := testkit.Receive(t, "the end of Serve", r.served); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *adminRig) takeLogs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	logs := r.logs
	r.logs = nil
	return logs
}

// do sends a request; headers are name, value, name, value …
func (r *adminRig) do(method, path, body string, headers ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.addr+path, strings.NewReader(body))
	testkit.MustDo(r.t, err)
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := r.client.Do(req)
	testkit.MustDo(r.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	testkit.MustDo(r.t, err)
	return resp, string(got)
}

// want sends a request and checks the response's status and type; into receives its JSON.
func (r *adminRig) want(status int, into any, method, path, body string, headers ...string) string {
	r.t.Helper()
	resp, got := r.do(method, path, body, headers...)
	if resp.StatusCode != status {
		r.t.Fatalf("%s %s: status %d, want %d; %s", method, path, resp.StatusCode, status, got)
	}
	if into == nil {
		return got
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		r.t.Errorf("%s %s: content type %q", method, path, ct)
	}
	if err := json.Unmarshal([]byte(got), into); err != nil {
		r.t.Fatalf("%s %s: %v in %q", method, path, err, got)
	}
	return got
}

// problem is the JSON of an error.
type problem struct {
	Error    string   `json:"error"`
	Routes   []string `json:"routes"`
	Backends []string `json:"backends"`
}

// raw sends text on a connection of its own and reads to its end.
func (r *adminRig) raw(text string) (status int, body string) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	testkit.MustDo(r.t, err)
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	testkit.MustDo(r.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	testkit.MustDo(r.t, err)
	return resp.StatusCode, string(b)
}

func (r *adminRig) connected() bool {
	r.admin.mu.Lock()
	defer r.admin.mu.Unlock()
	return len(r.admin.conns) > 0
}

func (r *adminRig) waitFor(what func() bool) {
	r.t.Helper()
	testkit.Eventually(r.t, "what is waited for", what)
}
