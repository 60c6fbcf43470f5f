package service

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
)

// tlsRig is a proxy with TLS on both sides, whose configuration is in a file.
type tlsRig struct {
	*Proxy
	said                       *testkit.Transcript
	cert, key, ca, own, ownKey string // files: the listener's, and those for the first backend
}

func mustStartTLS(t *testing.T, backends ...string) *tlsRig {
	t.Helper()
	r := &tlsRig{said: testkit.NewTranscript()}
	dir := t.TempDir()
	r.cert, r.key = testkit.MustWritePair(t, dir, "localhost")
	r.ca, _ = testkit.MustWritePair(t, dir, "ca")
	r.own, r.ownKey = testkit.MustWritePair(t, dir, "client")
	file := filepath.Join(dir, "akubra.yaml")
	testkit.MustDo(t, os.WriteFile(file, []byte(fmt.Sprintf(`
Listen: 127.0.0.1:0
AdminListen: ""
DataDir: %q
Backends: [%s]
TLS: {CertFile: %q, KeyFile: %q}
BackendTLS: [{Backend: %q, CAFile: %q, ClientCertFile: %q, ClientKeyFile: %q}]
`, filepath.Join(dir, "data"), strings.Join(backends, ", "), r.cert, r.key, backends[0], r.ca, r.own, r.ownKey)), 0o600))
	c, err := config.Load(file)
	testkit.MustDo(t, err)
	r.Proxy, err = New(c, logs.Plain(r.said, r.said), "test")
	testkit.MustDo(t, err)
	r.File = file
	r.tlsWatch.interval = 1 << 60 // the test looks itself
	testkit.MustDo(t, r.Start())
	t.Cleanup(r.Stop)
	return r
}

// served is the certificate that a client gets.
func (r *tlsRig) served(t *testing.T) []byte {
	t.Helper()
	c, err := tls.Dial("tcp", r.Addr(), &tls.Config{InsecureSkipVerify: true})
	testkit.MustDo(t, err)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Raw
}

// TestR22TLSFollowsItsFiles: what is written to the files of certificates is used without anybody
// asking; what cannot be used is told once, and the old one stays.
func TestR22TLSFollowsItsFiles(t *testing.T) {
	t.Parallel()
	r := mustStartTLS(t, "https://127.0.0.1:1", "http://127.0.0.1:2")
	follows := func() {
		t.Helper()
		r.lookAtTLS()
		if want := testkit.MustLoadPair(t, r.cert, r.key).Certificate[0]; string(r.served(t)) != string(want) {
			t.Error("the new certificate is not served")
		}
	}
	follows()
	testkit.MustWritePair(t, filepath.Dir(r.cert), "localhost")
	follows()
	told := func() int { return strings.Count(r.said.String(), "cannot reload TLS certificates: the old ones stay") }
	other, _ := testkit.MustWritePair(t, t.TempDir(), "localhost")
	for i, broken := range []string{"", "nonsense", testkit.MustReadFile(t, other)} { // the last one is another key's
		old := r.served(t)
		testkit.MustDo(t, os.WriteFile(r.cert, []byte(broken), 0o600))
		r.lookAtTLS()
		if told() != i {
			t.Errorf("with %.10q: what may be half of a change is told", broken)
		}
		for range 3 {
			r.lookAtTLS()
		}
		if told() != i+1 || string(r.served(t)) != string(old) {
			t.Errorf("with %.10q: told %d times, or the old one does not stay", broken, told())
		}
		testkit.MustWritePair(t, filepath.Dir(r.cert), "localhost")
		follows()
	}
}

// TestR22BackendTLSFollowsItsFiles: a backend's CA and client certificate are those that their files
// have; each backend has its own. A reload with a mistake leaves them.
func TestR22BackendTLSFollowsItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := testkit.MustWritePair(t, dir, "127.0.0.1")
	asked := make(chan []byte, 16)
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet { // a probe may have come as well
			asked <- q.TLS.PeerCertificates[0].Raw
		}
	}))
	backend.TLS = &tls.Config{Certificates: []tls.Certificate{testkit.MustLoadPair(t, certFile, keyFile)}, ClientAuth: tls.RequestClientCert}
	backend.Config.ErrorLog = log.New(io.Discard, "", 0)
	backend.StartTLS()
	t.Cleanup(backend.Close)
	r := mustStartTLS(t, backend.URL, "https://127.0.0.1:1")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	get := func() int {
		t.Helper()
		resp, err := client.Get("https://" + r.Addr() + "/b/k")
		testkit.MustDo(t, err)
		testkit.MustDo(t, resp.Body.Close())
		return resp.StatusCode
	}
	if status := get(); status != 503 {
		t.Fatalf("a backend is trusted that another CA has signed: %d", status)
	}
	testkit.MustDo(t, os.WriteFile(r.ca, []byte(testkit.MustReadFile(t, certFile)), 0o600))
	r.lookAtTLS()
	if status := get(); status != 200 {
		t.Fatalf("with the right CA: %d", status)
	}
	if got := testkit.Receive(t, "who asks", asked); string(got) != string(testkit.MustLoadPair(t, r.own, r.ownKey).Certificate[0]) {
		t.Error("the backend gets another client certificate")
	}
	testkit.MustWritePair(t, filepath.Dir(r.own), "client")
	if reloaded := r.Reload("test"); reloaded.Mistakes != nil || fmt.Sprint(reloaded.Applied) != "[BackendTLS[0] (what is in the files)]" {
		t.Errorf("%+v", reloaded)
	}
	if status := get(); status != 200 {
		t.Fatalf("with a new client certificate: %d", status)
	}
	if got := testkit.Receive(t, "who asks", asked); string(got) != string(testkit.MustLoadPair(t, r.own, r.ownKey).Certificate[0]) {
		t.Error("the backend does not get the new client certificate")
	}
	testkit.MustDo(t, os.WriteFile(r.ca, []byte("nonsense"), 0o600))
	if reloaded := r.Reload("test"); len(reloaded.Mistakes) != 1 || !strings.Contains(reloaded.Mistakes[0], "BackendTLS[0].CAFile") {
		t.Errorf("%+v", reloaded)
	}
	if status := get(); status != 200 {
		t.Errorf("after a reload with a mistake: %d", status)
	}
}

// TestR22NewTLSIsNotNewKeys: a new certificate for a backend begins repair anew, but the credentials
// are not said to have changed with it.
func TestR22NewTLSIsNotNewKeys(t *testing.T) {
	t.Parallel()
	r := mustStartTLS(t, "https://127.0.0.1:1", "https://localhost:2")
	if r.repairer.Load() != nil {
		t.Skip("there are keys in the environment")
	}
	keys := testkit.MustReadFile(t, r.File) + "Credentials: {AccessKey: a, SecretKey: secret}\n"
	testkit.MustDo(t, os.WriteFile(r.File, []byte(keys), 0o600))
	if reloaded := r.Reload("test"); fmt.Sprint(reloaded.Applied) != "[Credentials.AccessKey Credentials.SecretKey]" {
		t.Errorf("%+v", reloaded)
	}
	first := r.repairer.Load()
	testkit.MustWritePair(t, filepath.Dir(r.own), "client")
	if reloaded := r.Reload("test"); fmt.Sprint(reloaded.Applied) != "[BackendTLS[0] (what is in the files)]" {
		t.Errorf("%+v", reloaded)
	}
	if r.repairer.Load() == first {
		t.Error("repair goes on with the old certificate")
	}
}
