package admin

import (
	"net"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR37MetricsToken: with a token, /metrics answers only requests that carry it, and nothing else asks for it.
func TestR37MetricsToken(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	const token = "0123456789abcdef"
	r.want(200, nil, "GET", "/metrics", "")
	r.admin.SetMetricsToken(token)
	for _, header := range []string{
		"", token, "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer " + token + "x", "Basic " + token, "Bearer " + token + " " + token,
	} {
		resp, body := r.do("GET", "/metrics", "", "Authorization", header)
		if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") || strings.Contains(body, "akubra_") || strings.Contains(body, token) {
			t.Errorf("with %q: %d, %q", header, resp.StatusCode, body)
		}
	}
	for _, header := range []string{"Bearer " + token, "bearer  " + token} {
		if resp, body := r.do("GET", "/metrics", "", "Authorization", header); resp.StatusCode != 200 || !strings.Contains(body, "akubra_build_info") {
			t.Errorf("with %q: %d", header, resp.StatusCode)
		}
	}
	r.want(200, nil, "GET", "/status", "")
	r.admin.SetMetricsToken("")
	r.want(200, nil, "GET", "/metrics", "")
}

// TestMetricsListenerHasNothingElse: who may scrape is not the operator.
func TestMetricsListenerHasNothingElse(t *testing.T) {
	operators := newAdminRig(t, "a:9000", "b:9000")
	o := operators.admin.o
	o.OnlyMetrics = true
	a := New(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	served := make(chan error, 1)
	go func() { served <- a.Serve(ln) }()
	defer func() {
		testkit.MustDo(t, a.Shutdown(t.Context()))
		testkit.MustDo(t, <-served)
	}()
	r := &adminRig{t: t, addr: ln.Addr().String(), client: operators.client}
	for i := range adminRoutes {
		route := &adminRoutes[i]
		path := strings.ReplaceAll(strings.TrimSuffix(route.path, "*"), "NAME", "a:9000")
		want := 404
		if path == "/health" || path == "/ready" || path == "/metrics" {
			want = 200
		}
		if resp, _ := r.do(route.method, path, ""); resp.StatusCode != want {
			t.Errorf("%s %s: %d, want %d", route.method, path, resp.StatusCode, want)
		}
	}
}
