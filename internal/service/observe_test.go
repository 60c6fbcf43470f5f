package service

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR22MetricsToken: a reload changes what MetricsListen asks for; the address itself needs a restart.
func TestR22MetricsToken(t *testing.T) {
	t.Parallel()
	const listen = "MetricsListen: 127.0.0.1:0\n"
	const token, other = "0123456789abcdef", "fedcba9876543210"
	r := mustStartReload(t, listen+"MetricsToken: "+token)
	want := func(token string, status int) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+r.MetricsAddr()+"/metrics", http.NoBody)
		testkit.MustDo(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		testkit.MustDo(t, err)
		text, err := io.ReadAll(resp.Body)
		testkit.MustDo(t, err, resp.Body.Close())
		if resp.StatusCode != status || strings.Contains(string(text), "akubra_build_info") != (status == http.StatusOK) {
			t.Errorf("with %q: %d, want %d: %.200s", token, resp.StatusCode, status, text)
		}
	}
	want(token, 200)
	want(other, 401)
	r.reload(listen+"MetricsToken: "+other, "MetricsToken")
	want(token, 401)
	want(other, 200)
	r.reload(listen, "MetricsToken")
	want("", 200)
	if got := r.reload("MetricsListen: 127.0.0.1:1"); len(got.NeedRestart) != 1 || got.NeedRestart[0] != "MetricsListen" {
		t.Errorf("another address: %+v", got)
	}
}
