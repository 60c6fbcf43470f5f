package cli

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/s3mem"
)

// rounds are how many reloads and how many restarts there are where each takes long: what R22 is
// tried with under -full (make torture), and a few otherwise.
func rounds() int {
	if *full {
		return restarts
	}
	return 4
}

// rolling is a proxy over TLS in front of two backends that keep what they are given, and clients
// that PUT, GET, HEAD and DELETE all the time and bear no error and no wrong byte.
type rolling struct {
	*load
	t        *testing.T
	path     string // of the program
	stores   []*s3mem.Storage
	backends []string
	trusted  *x509.CertPool
	pairs    [][2]string // certificate and key, each used once
}

func newRolling(t *testing.T, path string) *rolling {
	r := &rolling{t: t, path: path, trusted: x509.NewCertPool()}
	for i := range 2 {
		store := s3mem.New(fmt.Sprint("store", i), s3mem.Manners{})
		store.MakeBucket("b", false, false)
		srv := httptest.NewServer(store)
		t.Cleanup(srv.Close)
		r.stores, r.backends = append(r.stores, store), append(r.backends, srv.URL)
	}
	for range 2*rounds() + 2 {
		cert, key := testkit.MustWritePair(t, t.TempDir(), "127.0.0.1")
		if !r.trusted.AppendCertsFromPEM([]byte(testkit.MustReadFile(t, cert))) {
			t.Fatal("no certificate")
		}
		r.pairs = append(r.pairs, [2]string{cert, key})
	}
	r.load = newLoad(t) // it ends before the backends
	return r
}

// rolled is one proxy of a rolling, with the certificate's files that are replaced.
type rolled struct {
	*restarted
	of         *rolling
	head       string // of the configuration
	cert, key  string
	generation int
}

func (r *rolling) newProxy(more string) *rolled {
	s := newRestarted(r.t, r.path, nil, more)
	dir := r.t.TempDir()
	p := &rolled{restarted: s, of: r, cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key")}
	p.head = strings.TrimSuffix(testkit.MustReadFile(r.t, s.config), "Backends:\n")
	return p
}

// change replaces the certificate, and writes a configuration in which much is different.
func (p *rolled) change() {
	t := p.of.t
	t.Helper()
	pair := p.of.pairs[0]
	p.of.pairs = p.of.pairs[1:]
	testkit.MustDo(t, os.Rename(pair[0], p.cert), os.Rename(pair[1], p.key))
	p.generation++
	n := p.generation
	content := fmt.Sprintf(`%sBackends: [%s]
TLS: {CertFile: %q, KeyFile: %q, MinVersion: %q}
Credentials: {AccessKey: key, SecretKey: secret}
ConnLimit: %d
MaxConcurrentRequests: %d
RingSize: %dKiB
StallTimeout: %ds
ConnectionTimeout: %ds
ReadPolicy: %s
AdditionalResponseHeaders: {X-Generation: "%d"}
Logging: {Synclog: {Stderr: false, File: %q}, Accesslog: {File: %q}}
`, p.head, strings.Join(p.of.backends, ", "), p.cert, p.key, []string{"1.2", "1.3"}[n%2], 1000+n, 2000-n, 64<<(n%3), 60+n, 60+n,
		[]string{"all", "spread"}[n%2], n, p.cert+".sync", fmt.Sprint(p.cert, ".access", n%2))
	testkit.MustDo(t, os.WriteFile(p.config, []byte(content), 0o600))
}

// want checks that a new connection meets the certificate and the configuration of change.
func (p *rolled) want() {
	t := p.of.t
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.of.trusted}, DisableKeepAlives: true}}
	resp, err := client.Get("https://" + p.addr + "/b/none")
	testkit.MustDo(t, err)
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Generation"); got != fmt.Sprint(p.generation) {
		t.Errorf("generation %q answers, want %d", got, p.generation)
	}
	if !bytes.Equal(resp.TLS.PeerCertificates[0].Raw, testkit.MustLoadPair(t, p.cert, p.key).Certificate[0]) {
		t.Errorf("generation %d: another certificate is served", p.generation)
	}
}

func (p *rolled) reload() {
	t := p.of.t
	t.Helper()
	p.change()
	out, err := exec.Command(p.of.path, "reload", "-c", p.config).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "applied: ") {
		t.Fatalf("reload: %v, %s", err, out)
	}
	p.want()
}

// start starts the clients. Where tells each of them where its next request goes.
func (r *rolling) start(n int, where func() visit) {
	for i := range n {
		c := &strictClient{t: r.t, tls: &tls.Config{RootCAs: r.trusted}, where: where, each: i%2 == 0, sent: &r.done}
		r.add(func(round int) error { return c.round(i, round) }, c.close)
	}
}

// wantEqual checks, once the clients have ended, that nothing is owed and that the backends have
// the same objects.
func (r *rolling) wantEqual(proxies ...*rolled) {
	t := r.t
	t.Helper()
	for _, p := range proxies {
		var page string
		t.Cleanup(func() {
			if t.Failed() {
				records, _ := os.ReadFile(p.cert + ".sync")
				t.Logf("it said at last: %s\nrecords:\n%s", page, records)
			}
		})
		testkit.Eventually(t, "nothing is in flight or pending", func() bool {
			var status struct {
				InFlight int `json:"in_flight"`
				Journal  struct{ Pending int }
			}
			var err error
			_, page, err = testkit.Send("GET", "http://"+p.admin+"/status", "")
			testkit.MustDo(t, err, json.Unmarshal([]byte(page), &status))
			return status.InFlight == 0 && status.Journal.Pending == 0
		})
	}
	a, b := r.stores[0].Bucket("b").Keys, r.stores[1].Bucket("b").Keys
	if len(a) == 0 || len(a) != len(b) {
		t.Errorf("the backends have %d and %d objects", len(a), len(b))
	}
	for key := range a {
		if len(b[key]) == 0 || a[key][0].ETag != b[key][0].ETag {
			t.Errorf("%s differs between the backends", key)
		}
	}
	t.Logf("%d requests", r.done.Load())
}

// strictClient sends each request once: unlike net/http's client it repeats none whose connection
// was closed. It speaks to one proxy at a time.
type strictClient struct {
	t      testing.TB
	tls    *tls.Config
	where  func() visit
	each   bool // a connection for each request
	conn   *tls.Conn
	addr   string
	in     *bufio.Reader
	before time.Time // when the last request was sent over conn that was answered
	sent   *atomic.Int64
}

// round puts an object, reads it, and deletes most of them again.
func (c *strictClient) round(client, round int) error {
	size := 1 << 10
	if round%6 == 0 {
		size = 2<<20 + client
	}
	body := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(client), byte(round), byte(round >> 8)}).Read(body)
	key := fmt.Sprintf("/b/%d-%d", client, round%10)
	steps := []struct {
		method string
		body   []byte
		status int
		want   []byte
	}{
		{"PUT", body, 200, nil},
		{"GET", nil, 200, body},
		{"HEAD", nil, 200, nil},
		{"DELETE", nil, 204, nil},
		{"HEAD", nil, 404, nil},
	}
	if round%10 < 3 {
		steps = steps[:3]
	}
	for _, s := range steps {
		switch at, err := c.do(s.method, key, s.body, s.status, s.want, size); {
		case err == nil:
		case at.excuses(err, c.before):
			c.t.Logf("too late: %v", err)
			c.close()
			return nil
		default:
			return fmt.Errorf("%s %s (%d bytes): %w", s.method, key, size, err)
		}
	}
	return nil
}

func (c *strictClient) do(method, key string, body []byte, status int, want []byte, size int) (visit, error) {
	at := c.where()
	if c.conn != nil && c.addr != at.addr {
		c.close()
	}
	return at, c.ask(at.addr, method, key, body, status, want, size)
}

func (c *strictClient) ask(addr, method, key string, body []byte, status int, want []byte, size int) error {
	if c.conn == nil {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: testkit.Patience}, "tcp", addr, c.tls)
		if err != nil {
			return err
		}
		c.conn, c.addr, c.in = conn, addr, bufio.NewReader(conn)
	}
	_ = c.conn.SetDeadline(time.Now().Add(testkit.Patience))
	req, err := http.NewRequest(method, "https://"+addr+key, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Close = c.each
	sent := time.Now()
	if err := req.Write(c.conn); err != nil {
		return err
	}
	if _, err := c.in.Peek(1); err != nil { // no answer at all
		return err
	}
	resp, err := http.ReadResponse(c.in, req)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != status:
		return fmt.Errorf("%s, want %d: %s", resp.Status, status, got)
	case want != nil && !bytes.Equal(got, want):
		return fmt.Errorf("the answer has %d bytes, and not those that were put", len(got))
	case method == "HEAD" && status == 200 && resp.ContentLength != int64(size):
		return fmt.Errorf("a length of %d", resp.ContentLength)
	}
	c.sent.Add(1)
	c.before = sent
	if resp.Close || c.each {
		c.close()
	}
	return nil
}

func (c *strictClient) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn, c.before = nil, time.Time{}
	}
}

// testRolling: reloads, restarts under a socket that is held, and certificates replaced before each
// of them, in turn; no request fails.
func testRolling(t *testing.T, path string) {
	r := newRolling(t, path)
	p := r.newProxy("")
	p.hold()
	p.change()
	p.start()
	r.start(6, func() visit { return visit{addr: p.addr, stops: true} })
	for range rounds() {
		r.goOn(60)
		p.reload()
		r.goOn(60)
		p.change()
		p.terminate()
		p.start()
		p.want()
	}
	r.goOn(60)
	r.end()
	r.wantEqual(p)
	p.terminate()
}

// testRollingPair is testRolling without such a socket: two proxies in turn, with ShutdownDelay,
// and somebody who asks /ready.
func testRollingPair(t *testing.T, path string) {
	r := newRolling(t, path)
	var pair [2]*rolled
	for i := range pair {
		// What the one has told its client has to be where the other one reads.
		pair[i] = r.newProxy(fmt.Sprintf("ShutdownDelay: %v\nWriteAck: all", shutdownDelay))
		pair[i].change()
		pair[i].start()
	}
	var turn atomic.Uint64
	r.start(4, func() visit {
		return firstReady(t, func() *restarted { return pair[turn.Add(1)/8%2].restarted })
	})
	for i := range rounds() {
		p := pair[i%2]
		r.goOn(40)
		p.reload()
		r.goOn(40)
		p.change()
		p.leave()
		p.start()
		p.want()
	}
	r.goOn(40)
	r.end()
	r.wantEqual(pair[:]...)
	for _, p := range pair {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range pair {
		waitExit(t, p.cmd)
	}
}
