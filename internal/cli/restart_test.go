package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/testkit"
)

// restarts are how many the contract is tried with (R22).
const restarts = 20

// load is clients that send one request after the other, and bear no failure.
type load struct {
	t       testing.TB
	stop    chan struct{}
	clients sync.WaitGroup
	done    atomic.Int64
}

// visit is where a client sends its next request to.
type visit struct {
	addr  string
	stops bool // the proxy stops now and then, and closes what has been idle for a second
	// until is when the proxy may have stopped, if it was asked whether it is ready; zero is never.
	until time.Time
}

// excuses reports whether a request that got no answer is the client's own fault, which came too
// late because the machine was busy. before is when the request before it was sent over its connection.
func (v visit) excuses(err error, before time.Time) bool {
	if !slices.ContainsFunc([]error{io.EOF, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE}, func(none error) bool { return errors.Is(err, none) }) &&
		!strings.Contains(err.Error(), "server closed idle connection") {
		return false
	}
	now := time.Now()
	return !v.until.IsZero() && now.After(v.until) || v.stops && !before.IsZero() && now.Sub(before) > time.Second
}

// startLoad has n clients PUT and GET where each request is told to go.
func startLoad(t testing.TB, n int, scheme string, transport func() *http.Transport, where func() visit) *load {
	l := newLoad(t)
	for i := range n {
		tr := transport()
		client := &http.Client{Transport: tr, Timeout: testkit.Patience}
		var before time.Time
		l.add(func(round int) error {
			for _, method := range []string{"PUT", "GET"} {
				v, body := where(), ""
				if method == "PUT" {
					body = strings.Repeat("x", 100+round%7*20_000)
				}
				sent := time.Now()
				err := request(client, method, fmt.Sprintf("%s://%s/b/%d-%d", scheme, v.addr, i, round%10), body)
				switch {
				case err == nil:
					before = sent
					l.done.Add(1)
				case v.excuses(err, before):
					t.Logf("too late: %v", err)
					return nil
				default:
					return err
				}
			}
			return nil
		}, tr.CloseIdleConnections)
	}
	return l
}

func newLoad(t testing.TB) *load {
	l := &load{t: t, stop: make(chan struct{})}
	t.Cleanup(l.end)
	return l
}

// add starts a client, which does one round after the other, and adds to done what was answered.
func (l *load) add(round func(n int) error, closeAll func()) {
	l.clients.Go(func() {
		defer closeAll()
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			default:
			}
			if err := round(n); err != nil {
				l.t.Errorf("round %d, request %d: %v", n, l.done.Load(), err)
				return
			}
		}
	})
}

func request(client *http.Client, method, url, body string) error {
	req, err := http.NewRequest(method, url, io.NopCloser(strings.NewReader(body))) // which no client can send again
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(body))
	if body == "" {
		req.Body = nil
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("%s %s: %s", method, url, res.Status)
	}
	return nil
}

// goOn waits until so many more requests were answered.
func (l *load) goOn(n int64) {
	l.t.Helper()
	want := l.done.Load() + n
	testkit.Eventually(l.t, "requests are answered", func() bool { return l.done.Load() >= want || l.t.Failed() })
	if l.t.Failed() {
		l.t.FailNow()
	}
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	testkit.Finish(l.t, "the clients end", l.clients.Wait)
}

// restarted is a proxy that can be started again and again, with the same configuration.
type restarted struct {
	t      testing.TB
	path   string // of the program
	config string
	addr   string
	admin  string
	held   []*os.File // listeners that it inherits
	names  string     // of held
	env    []string
	cmd    *exec.Cmd
	stderr *testkit.Transcript
}

func newRestarted(t testing.TB, path string, stores []*stub.Server, more string) *restarted {
	dir := t.TempDir()
	s := &restarted{t: t, path: path, addr: testkit.MustFreeAddr(t), admin: testkit.MustFreeAddr(t), config: filepath.Join(dir, "akubra.yaml")}
	text := fmt.Sprintf("Listen: %s\nAdminListen: %s\nDataDir: %q\n%s\nBackends:\n", s.addr, s.admin, filepath.Join(dir, "data"), more)
	for _, store := range stores {
		text += "  - " + store.URL() + "\n"
	}
	testkit.MustDo(t, os.WriteFile(s.config, []byte(text), 0o600))
	t.Cleanup(func() {
		if s.cmd != nil && s.cmd.ProcessState == nil {
			s.kill()
		}
		if t.Failed() && s.stderr != nil {
			t.Logf("the proxy said:\n%s", s.stderr)
		}
	})
	return s
}

// hold listens in the place of systemd.
func (s *restarted) hold() {
	for _, addr := range []string{s.addr, s.admin} {
		ln, err := net.Listen("tcp", addr)
		testkit.MustDo(s.t, err)
		f, err := ln.(*net.TCPListener).File()
		testkit.MustDo(s.t, err, ln.Close())
		s.t.Cleanup(func() { _ = f.Close() })
		s.held = append(s.held, f)
	}
	s.names = "akubra.socket:admin"
}

// start does what systemd does: LISTEN_PID is known to the new process alone.
func (s *restarted) start() {
	s.t.Helper()
	s.stderr = testkit.NewTranscript()
	s.cmd = exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -c "$1"`, s.path, s.config)
	s.cmd.Env = append(os.Environ(), s.env...)
	if s.held != nil {
		s.cmd.Env = append(s.cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(s.held)), "LISTEN_FDNAMES="+s.names)
		s.cmd.ExtraFiles = s.held
	}
	s.cmd.Stderr = s.stderr
	testkit.MustDo(s.t, s.cmd.Start())
	s.stderr.WaitFor(s.t, "akubra is ready")
}

// kill ends it as a power cut would.
func (s *restarted) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// terminate sends SIGTERM and expects exit code 0.
func (s *restarted) terminate() {
	s.t.Helper()
	testkit.MustDo(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	waitExit(s.t, s.cmd)
}

// waitExit waits for the end of a proxy that was told to stop, and expects exit code 0.
func waitExit(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var err error
	testkit.Finish(t, "the proxy's end", func() { err = cmd.Wait() })
	if err != nil {
		t.Errorf("the proxy ended with %v", err)
	}
}

// leave is terminate with a look at /ready, by which whoever asks knows.
func (s *restarted) leave() {
	s.t.Helper()
	testkit.MustDo(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	testkit.Eventually(s.t, "/ready says no", func() bool { return !s.isReady() })
	waitExit(s.t, s.cmd)
}

var readyAsker = &http.Client{Timeout: testkit.Patience, Transport: &http.Transport{DisableKeepAlives: true}}

func (s *restarted) isReady() bool {
	res, err := readyAsker.Get("http://" + s.admin + "/ready")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == 200
}

// shutdownDelay is that of those who are asked whether they are ready.
const shutdownDelay = 1500 * time.Millisecond

// firstReady is the first one of those that next gives which is ready, or nobody when the test ends.
func firstReady(t *testing.T, next func() *restarted) visit {
	for {
		asked := time.Now()
		if s := next(); s.isReady() {
			return visit{addr: s.addr, stops: true, until: asked.Add(shutdownDelay)}
		}
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			return visit{}
		}
	}
}

func newTransport() *http.Transport { return &http.Transport{MaxIdleConnsPerHost: 1} }

// testHeldSocket: a socket that outlives the proxy refuses nobody while it is started again.
func testHeldSocket(t *testing.T, path string) {
	stores := []*stub.Server{stub.New(t), stub.New(t)}
	s := newRestarted(t, path, stores, "")
	s.hold()
	s.start()
	l := startLoad(t, 6, "http", newTransport, func() visit { return visit{addr: s.addr, stops: true} })
	for range restarts {
		l.goOn(20)
		s.terminate()
		s.start()
	}
	l.goOn(20)
	if status, _, err := testkit.Send("GET", "http://"+s.admin+"/ready", ""); err != nil || status != 200 {
		t.Errorf("the admin listener's socket: %d, %v", status, err)
	}
	l.end()
	t.Logf("%d requests", l.done.Load())
	s.terminate()
}

// testShutdownDelay: where somebody asks /ready before each request, two proxies that are
// started again in turn refuse nothing.
func testShutdownDelay(t *testing.T, path string) {
	stores := []*stub.Server{stub.New(t), stub.New(t)}
	pair := [2]*restarted{}
	for i := range pair {
		pair[i] = newRestarted(t, path, stores, fmt.Sprint("ShutdownDelay: ", shutdownDelay))
		pair[i].start()
	}
	var turn atomic.Uint64
	l := startLoad(t, 4, "http", newTransport, func() visit {
		return firstReady(t, func() *restarted { return pair[turn.Add(1)%2] })
	})
	for i := range rounds() {
		l.goOn(20)
		s := pair[i%2]
		s.leave()
		s.start()
	}
	l.end()
	t.Logf("%d requests", l.done.Load())
	for _, s := range pair {
		if !bytes.Contains([]byte(s.stderr.String()), []byte("akubra is ready")) {
			t.Error("it does not run")
		}
		s.cmd.Process.Kill()
	}
}

// testCertificates: a certificate is replaced while requests are under way, and each of them
// is answered; who connects from then on gets the new one.
func testCertificates(t *testing.T, path string) {
	dir, trusted := t.TempDir(), x509.NewCertPool()
	certFile, keyFile := testkit.MustWritePair(t, dir, "127.0.0.1")
	trust := func(certFile string) {
		if !trusted.AppendCertsFromPEM([]byte(testkit.MustReadFile(t, certFile))) {
			t.Fatal("no certificate")
		}
	}
	trust(certFile)
	type pair struct{ cert, key string }
	var next []pair
	for range restarts {
		cert, key := testkit.MustWritePair(t, t.TempDir(), "127.0.0.1")
		trust(cert)
		next = append(next, pair{cert, key})
	}
	s := newRestarted(t, path, []*stub.Server{stub.New(t), stub.New(t)}, fmt.Sprintf("TLS: {CertFile: %q, KeyFile: %q}", certFile, keyFile))
	s.start()
	var clients atomic.Int32
	l := startLoad(t, 4, "https", func() *http.Transport {
		each := clients.Add(1)%2 == 0 // a connection for each request
		return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: each}
	}, func() visit { return visit{addr: s.addr} })
	for i, p := range next {
		l.goOn(10)
		want := testkit.MustLoadPair(t, p.cert, p.key).Certificate[0]
		testkit.MustDo(t, os.Rename(p.cert, certFile))
		if i%5 == 0 { // somebody asks too early
			testkit.MustDo(t, s.cmd.Process.Signal(syscall.SIGHUP))
			l.goOn(10)
		}
		testkit.MustDo(t, os.Rename(p.key, keyFile))
		if i > 0 { // once nobody asks
			testkit.MustDo(t, s.cmd.Process.Signal(syscall.SIGHUP))
		}
		testkit.Eventually(t, "the new certificate is served", func() bool {
			nc, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: trusted})
			if err != nil {
				t.Error(err)
				return true
			}
			defer nc.Close()
			return bytes.Equal(nc.ConnectionState().PeerCertificates[0].Raw, want)
		})
	}
	l.goOn(10)
	l.end()
	t.Logf("%d requests", l.done.Load())
	s.terminate()
}

// testNotify: systemd is told how the proxy does.
func testNotify(t *testing.T, path string) {
	s := newRestarted(t, path, []*stub.Server{stub.New(t)}, "")
	socket := filepath.Join(t.TempDir(), "notify")
	nc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	testkit.MustDo(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	said := testkit.NewTranscript()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := nc.Read(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(said, "[%s]", strings.ReplaceAll(strings.TrimSpace(string(buf[:n])), "\n", " "))
		}
	}()
	wait := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			testkit.Eventually(t, text, func() bool { return strings.Contains(said.String(), text) })
		}
	}
	s.env = []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=20000"}
	s.start()
	wait("[READY=1]", "[WATCHDOG=1][WATCHDOG=1]")
	before := said.String()
	testkit.MustDo(t, s.cmd.Process.Signal(syscall.SIGHUP))
	wait("[RELOADING=1 MONOTONIC_USEC=")
	testkit.Eventually(t, "it is ready again", func() bool {
		_, after, _ := strings.Cut(said.String()[len(before):], "RELOADING=1")
		return strings.Contains(after, "[READY=1]")
	})
	s.terminate()
	wait("[STOPPING=1 EXTEND_TIMEOUT_USEC=60000000]")
}
