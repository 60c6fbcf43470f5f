package service

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
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

// TestR36CertificatesExpire: the metrics have the end of each certificate in use, also of one that has taken
// another one's place.
func TestR36CertificatesExpire(t *testing.T) {
	t.Parallel()
	day := time.Now().UTC().Truncate(time.Second).Add(24 * time.Hour)
	pair := func(dir string, end time.Time) (cert, key string) {
		t.Helper()
		testkit.MustDo(t, os.MkdirAll(dir, 0o700))
		return testkit.MustWritePairUntil(t, dir, "127.0.0.1", end)
	}
	dir := t.TempDir()
	listener, listenerKey := pair(filepath.Join(dir, "listener"), day)
	client, clientKey := pair(filepath.Join(dir, "client"), day.Add(time.Hour))
	early, _ := pair(filepath.Join(dir, "early"), day.Add(2*time.Hour))
	late, _ := pair(filepath.Join(dir, "late"), day.Add(3*time.Hour))
	cas := filepath.Join(dir, "cas.pem")
	testkit.MustDo(t, os.WriteFile(cas, []byte(testkit.MustReadFile(t, late)+testkit.MustReadFile(t, early)+testkit.MustReadFile(t, late)), 0o600))
	c := config.Default()
	c.Listen, c.AdminListen, c.DataDir = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "data")
	c.Backends = []string{"https://127.0.0.1:1", "https://127.0.0.1:2", "http://127.0.0.1:3"}
	c.TLS.CertFile, c.TLS.KeyFile = listener, listenerKey
	c.TLS.Backends.ClientCertFile, c.TLS.Backends.ClientKeyFile, c.TLS.Backends.CAFile = client, clientKey, cas
	testkit.MustDo(t, c.Complete())
	p, err := New(c, logs.Plain(io.Discard, io.Discard), "test")
	testkit.MustDo(t, err)
	testkit.MustDo(t, p.Start())
	t.Cleanup(p.Stop)
	ends := func() map[string]float64 {
		return testkit.MustParseMetrics(t, testkit.MustSend(t, "GET", "http://"+p.AdminAddr()+"/metrics", ""))
	}
	want := map[string]float64{
		`akubra_certificate_expiry_timestamp_seconds{use="listener",key="TLS"}`:        float64(day.Unix()),
		`akubra_certificate_expiry_timestamp_seconds{use="client",key="TLS.Backends"}`: float64(day.Add(time.Hour).Unix()),
		`akubra_certificate_expiry_timestamp_seconds{use="ca",key="TLS.Backends"}`:     float64(day.Add(2 * time.Hour).Unix()),
	}
	testkit.WantSamples(t, ends(), want)
	pair(filepath.Join(dir, "listener"), day.Add(5*time.Hour))
	want[`akubra_certificate_expiry_timestamp_seconds{use="listener",key="TLS"}`] = float64(day.Add(5 * time.Hour).Unix())
	testkit.Eventually(t, "the new certificate is told of", func() bool {
		p.lookAtTLS()
		return ends()[`akubra_certificate_expiry_timestamp_seconds{use="listener",key="TLS"}`] == float64(day.Add(5*time.Hour).Unix())
	})
	testkit.WantSamples(t, ends(), want)
}

// TestR36BackendsCertificate: /status and the metrics have the end of the certificate that a backend shows.
func TestR36BackendsCertificate(t *testing.T) {
	t.Parallel()
	r, _ := newTroubled(t, &way{make: certified(time.Hour, true)})
	until := r.p.backends[0].CertificateUntil() // newTroubled has sent a request
	if until.IsZero() || until.Nanosecond() != 0 {
		t.Fatalf("it expires at %v", until)
	}
	var s struct {
		Certificates []struct{ Use, Key, Until string }
	}
	testkit.MustDo(t, json.Unmarshal([]byte(testkit.MustSend(t, "GET", "http://"+r.p.AdminAddr()+"/status", "")), &s))
	if i := len(s.Certificates) - 1; i != 1 || s.Certificates[i].Use != "backend" || s.Certificates[i].Key != r.name || s.Certificates[i].Until != until.Format(time.RFC3339) {
		t.Errorf("/status: %+v, want %v", s, until)
	}
	testkit.WantSamples(t, testkit.MustParseMetrics(t, testkit.MustSend(t, "GET", "http://"+r.p.AdminAddr()+"/metrics", "")),
		map[string]float64{`akubra_certificate_expiry_timestamp_seconds{use="backend",key="` + r.name + `"}`: float64(until.Unix())})
}
