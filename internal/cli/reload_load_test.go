package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// testReloads: certificates on both sides, limits, policies and logs change under load, and no
// request fails; a reload with a mistake changes nothing; what is under way ends as it began.
func testReloads(t *testing.T, path string) {
	plain, behind := stub.New(t), stub.New(t)
	secure := newTLSFront(t, behind.Addr())
	dir, trusted := t.TempDir(), x509.NewCertPool()
	type pair struct{ cert, key string }
	var pairs []pair
	for range restarts + 1 {
		cert, key := testkit.MustWritePair(t, t.TempDir(), "127.0.0.1")
		if !trusted.AppendCertsFromPEM([]byte(testkit.MustReadFile(t, cert))) {
			t.Fatal("no certificate")
		}
		pairs = append(pairs, pair{cert, key})
	}
	ca, inPlace := filepath.Join(dir, "ca.pem"), pair{filepath.Join(dir, "in-place.crt"), filepath.Join(dir, "in-place.key")}
	copyFile := func(from, to string) {
		testkit.MustDo(t, os.WriteFile(to+".new", []byte(testkit.MustReadFile(t, from)), 0o600), os.Rename(to+".new", to))
	}
	copyFile(pairs[0].cert, ca)
	secure.use(t, pairs[0].cert, pairs[0].key)
	s := newRestarted(t, path, nil, "")
	text := strings.TrimSuffix(testkit.MustReadFile(t, s.config), "Backends:\n")
	asked := filepath.Join(dir, "asked.yaml") // is right, for the command, which reads it too
	write := func(file string, n int, cert pair, more string) {
		t.Helper()
		limit := 1000 + n%3*1000
		content := fmt.Sprintf(`%sBackends: [%s, https://%s]
TLS: {CertFile: %q, KeyFile: %q, MinVersion: %q}
BackendTLS: [{Backend: https://%s, CAFile: %q}]
ConnLimit: %d
MaxConcurrentRequests: %d
RingSize: %dKiB
ConnectionTimeout: %ds
StallTimeout: %ds
WriteAck: %s
ReadPolicy: %s
MaxBodySize: %d
AdditionalResponseHeaders: {X-Generation: %q}
Logging: {Synclog: {Stderr: false, File: %q}, Accesslog: {File: %q}, Mainlog: {Level: %s}}
%s
`, text, plain.URL(), secure.addr(), cert.cert, cert.key, []string{"1.2", "1.3"}[n%2], secure.addr(), ca,
			limit, limit, 64<<(n%3), 60+n, 60+n, []string{"first", "all"}[n%2], []string{"all", "spread"}[n%2], 1<<20+n, fmt.Sprint(n),
			filepath.Join(dir, fmt.Sprint("sync", n%2)), filepath.Join(dir, fmt.Sprint("access", n%3)), []string{"info", "debug"}[n%2], more)
		testkit.MustDo(t, os.WriteFile(file, []byte(content), 0o600))
	}
	write(s.config, 0, pairs[0], "")
	write(asked, 0, pairs[0], "")
	s.start()
	var clients atomic.Int32
	newClient := func() *http.Transport {
		each := clients.Add(1)%2 == 0 // a connection for each request
		return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: each, MaxIdleConnsPerHost: 1}
	}
	l := startLoad(t, 4, "https", newClient, func() visit { return visit{addr: s.addr} })
	other := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: true}}
	generation := func() (n string, cert []byte) {
		t.Helper()
		resp, err := other.Get("https://" + s.addr + "/b/none")
		testkit.MustDo(t, err)
		defer resp.Body.Close()
		return resp.Header.Get("X-Generation"), resp.TLS.PeerCertificates[0].Raw
	}
	reload := func(want int, says string) {
		t.Helper()
		cmd := exec.Command(path, "reload", "-c", asked)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want || !strings.Contains(string(out), says) {
			t.Errorf("reload exited with %d and said %q, want %d and %q", got, out, want, says)
		}
	}
	for n := 1; n <= restarts; n++ {
		l.goOn(10)
		// The backend's certificate: its CA is trusted first, then it changes, then the old one goes.
		old, next := pairs[n-1], pairs[n]
		testkit.MustDo(t, os.WriteFile(ca, []byte(testkit.MustReadFile(t, old.cert)+testkit.MustReadFile(t, next.cert)), 0o600))
		// The listener's: in place, or by another path.
		copyFile(next.cert, inPlace.cert)
		copyFile(next.key, inPlace.key)
		cert := next
		if n%2 == 0 {
			cert = inPlace
		}
		slow, more := io.Pipe()
		answered := make(chan string, 1)
		name := fmt.Sprint("/b/slow-", n)
		go func() { answered <- put(other, "https://"+s.addr+name, slow) }()
		_, err := io.WriteString(more, "begins before the reload")
		testkit.MustDo(t, err)
		for _, store := range []*stub.Server{plain, behind} {
			store.Wait(t, func(rs stub.Requests) bool {
				return rs.Count(func(r *stub.Request) bool { return r.Target == name }) == 1
			})
		}
		write(s.config, n, cert, "")
		reload(exitOK, "applied: ")
		got, served := generation()
		if want := testkit.MustLoadPair(t, next.cert, next.key).Certificate[0]; got != fmt.Sprint(n) || !bytes.Equal(served, want) {
			t.Fatalf("after reload %d: generation %s, or another certificate", n, got)
		}
		secure.use(t, next.cert, next.key)
		l.goOn(10)

		write(s.config, n+1000, pair{cert.cert, old.key}, "RingSizes: 1")
		reload(exitWrong, "refused, and all stays as it was")
		if got, _ := generation(); got != fmt.Sprint(n) {
			t.Errorf("a reload with a mistake has applied generation %s", got)
		}
		testkit.MustDo(t, more.Close())
		if got := testkit.Receive(t, "the answer to the request that was under way", answered); got != fmt.Sprint("200 ", n-1) {
			t.Errorf("the request that was under way at reload %d ended with %q, want the generation before", n, got)
		}
	}
	l.goOn(50)
	l.end()
	t.Logf("%d requests", l.done.Load())
	testkit.Eventually(t, "nothing is pending: no request to a backend has failed, for nobody repairs", func() bool {
		var status struct{ Journal struct{ Pending int } }
		_, page, err := testkit.Send("GET", "http://"+s.admin+"/status", "")
		testkit.MustDo(t, err, json.Unmarshal([]byte(page), &status))
		return status.Journal.Pending == 0
	})
	s.terminate()
}

// put sends a body of unknown length, and returns status and generation of the answer.
func put(client *http.Client, url string, body io.Reader) string {
	req, err := http.NewRequest("PUT", url, body)
	if err != nil {
		return err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-Generation"))
}

// tlsFront speaks TLS in front of a store, with a certificate that can be replaced.
type tlsFront struct {
	ln   net.Listener
	cert atomic.Pointer[tls.Certificate]
}

func newTLSFront(t *testing.T, behind string) *tlsFront {
	t.Helper()
	f := &tlsFront{}
	var err error
	f.ln, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.cert.Load(), nil },
	})
	testkit.MustDo(t, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			front, err := f.ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer front.Close()
				back, err := net.Dial("tcp", behind)
				if err != nil {
					return
				}
				conns.Go(func() {
					_, _ = io.Copy(back, front)
					_ = back.Close()
				})
				_, _ = io.Copy(front, back)
			})
		}
	})
	t.Cleanup(func() {
		_ = f.ln.Close()
		testkit.Finish(t, "the connections of the TLS front end", conns.Wait)
	})
	return f
}

func (f *tlsFront) addr() string { return f.ln.Addr().String() }

func (f *tlsFront) use(t *testing.T, cert, key string) {
	t.Helper()
	pair := testkit.MustLoadPair(t, cert, key)
	f.cert.Store(&pair)
}
