package admin

import (
	"slices"
	"testing"
)

// R37: with a token, nobody without it learns or changes anything; health checks go on.
func TestR37AdminToken(t *testing.T) {
	r := newAdminRig(t, "a:9000", "b:9000")
	const token = "0123456789abcdef"
	r.admin.SetToken(token)
	for _, c := range []struct {
		method, path string
		without      int
	}{
		{"GET", "/health", 200}, {"GET", "/ready", 200}, {"GET", "/status", 401}, {"GET", "/metrics", 200},
		{"GET", "/journal", 401}, {"GET", "/debug/pprof/heap", 401}, {"POST", "/configuration/reload", 401},
		{"POST", "/backends/a:9000/maintenance", 401}, {"DELETE", "/backends/a:9000/maintenance", 401},
		{"POST", "/journal/next", 401}, {"GET", "/nothing", 401},
	} {
		for _, header := range []string{"", "Bearer", "Bearer ", "Bearer 0123456789abcdeF", "Bearer " + token + "x", "Basic " + token, token} {
			resp, body := r.do(c.method, c.path, "", "Authorization", header)
			if resp.StatusCode != c.without {
				t.Errorf("%s %s with %q: status %d, want %d; %s", c.method, c.path, header, resp.StatusCode, c.without, body)
			}
		}
		if resp, body := r.do(c.method, c.path, "", "Authorization", "bearer "+token); resp.StatusCode == 401 {
			t.Errorf("%s %s with the token: %s", c.method, c.path, body)
		}
	}
	var ready readiness
	if r.want(200, &ready, "GET", "/ready", ""); ready.Backends != nil {
		t.Errorf("it names the backends: %+v", ready)
	}
	for _, line := range r.takeLogs() {
		if slices.Contains([]string{token}, line) {
			t.Errorf("the token is in %q", line)
		}
	}
	r.admin.SetToken("")
	r.want(200, nil, "GET", "/status", "")
}
