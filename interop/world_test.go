// Package interop runs real S3 clients against real S3 servers through the built
// proxy, and looks at each server afterwards: all must hold the same, byte for
// byte, or the synclog must name the difference. `make interop` runs it, by way
// of run.sh, which installs what it needs.
//
// It is a module of its own, because the clients' libraries are no business of the
// proxy's go.mod; and it knows the proxy only as its users do: by its binary.
//
// The files: world_test.go has the stores and the proxies in front of them,
// process_test.go what runs; step_test.go is one step of the matrix with its
// check; snapshot_test.go is what a store holds; synclog_test.go reads records;
// page_test.go and show_test.go look at the proxy's page in a browser, the latter at that of a proxy
// that was installed from its package;
// clients_test.go lists the clients; the others are a client each, mainjob_test.go is
// the main job on real input, farsync_test.go the same to a near store and a far one, farload_test.go
// what clients see of a far one that cannot keep up, farcut_test.go what they see of its link being cut, and
// repair_test.go what makes the stores equal again.
//
// What hostile clients and storages in trouble must not do is in cut_test.go (uploads
// that are cut off), soak_test.go, hostilejob_test.go, multidelete_test.go and
// mv_test.go. For them raw_test.go has requests byte by byte, sockets_test.go what the
// kernel knows of connections, relay_test.go a network that takes its time, and
// values_test.go objects that say themselves what they are.
package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Every store has these, so that a request signed for one is good for all.
const (
	accessKey = "interop-access"
	secretKey = "interop-secret-key"
	region    = "us-east-1"
	domain    = "s3.test" // for buckets in host names (R27)
)

// The kinds of stores.
const (
	versitygw = "versitygw"
	minio     = "minio"
)

// store is one S3 server.
type store struct {
	kind, addr string
	dir        string
	start      func(t *testing.T) *process
	process    *process
	direct     *s3.Client // not through the proxy
}

func (s *store) String() string { return s.kind + " " + s.addr }

// proxy is one akubra process in front of the world's stores.
type proxy struct {
	url, admin string
	addr       string
	synclog    string
	config     string // its file
	process    *process
}

// world is a topology: stores, and two proxies in front of them, one of which
// speaks TLS. SDKs send other requests over TLS: unsigned payloads with trailers.
type world struct {
	dir     string
	stores  [2]*store
	plain   *proxy
	tls     *proxy
	trust   http.RoundTripper // trusts tls, and finds domain's hosts
	cert    string            // of the stores that speak TLS
	relays  []string          // the addresses that proxies find the stores at, if not their own
	buckets int
	stuck   bool // a proxy did not settle
}

// newWorld starts two stores of these kinds and the proxies.
func newWorld(t *testing.T, kinds [2]string) *world {
	t.Helper()
	w := newStores(t, kinds)
	w.plain = w.newProxy(t, "plain", "", "")
	cert, transport := certificate(t, w.dir)
	w.tls = w.newProxy(t, "tls", cert, "")
	w.trust = transport
	for _, p := range w.proxies() {
		p.await(t, "it is ready", func(s status) bool { return s.Ready })
	}
	return w
}

// newStores is a world without proxies.
func newStores(t *testing.T, kinds [2]string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.startStores(t, kinds)
	return w
}

// newSecureStores is a world without proxies whose two versitygw speak TLS.
func newSecureStores(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.cert, w.trust = certificate(t, w.dir)
	w.startStores(t, [2]string{versitygw, versitygw})
	return w
}

func (w *world) startStores(t *testing.T, kinds [2]string) {
	t.Helper()
	for i, kind := range kinds {
		w.stores[i] = newStore(t, kind, filepath.Join(w.dir, fmt.Sprintf("store%d", i)), i, w.cert, w.trust)
	}
}

// url is where proxies find the i-th store.
func (w *world) url(i int) string {
	scheme, addr := "http://", w.stores[i].addr
	if w.cert != "" {
		scheme = "https://"
	}
	if w.relays != nil {
		addr = w.relays[i]
	}
	return scheme + addr
}

// proxies are those that there are: where repair is at work, one alone writes.
func (w *world) proxies() []*proxy {
	return slices.DeleteFunc([]*proxy{w.plain, w.tls}, func(p *proxy) bool { return p == nil })
}

// all reports whether every store is of this kind.
func (w *world) all(kind string) bool { return w.stores[0].kind == kind && w.stores[1].kind == kind }

// other is the store that s is not.
func (w *world) other(s *store) *store {
	if s == w.stores[0] {
		return w.stores[1]
	}
	return w.stores[0]
}

func newStore(t *testing.T, kind, dir string, number int, cert string, trust http.RoundTripper) *store {
	t.Helper()
	mustMkdir(t, dir)
	s := &store{kind: kind, addr: freeAddr(t), dir: dir}
	s.direct = newSDK("http://"+s.addr, nil)
	switch kind {
	case versitygw:
		args := []string{"--port", s.addr, "--virtual-domain", domain}
		if cert != "" {
			args = append(args, "--cert", cert, "--key", cert)
			s.direct = newSDK("https://"+s.addr, trust)
		}
		if number == 0 { // by itself it closes each connection after an answer
			args = append(args, "--keep-alive")
		}
		args = append(args, "posix")
		if !hasAttributes(dir) {
			args = append(args, "--sidecar", mustMkdir(t, dir+".meta"))
		}
		args = append(args, dir)
		s.start = func(t *testing.T) *process {
			return startProcess(t, serverBinary(t, versitygw), []string{"ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey}, args...)
		}
	case minio:
		s.start = func(t *testing.T) *process {
			return startProcess(t, serverBinary(t, minio), []string{
				"MINIO_ROOT_USER=" + accessKey, "MINIO_ROOT_PASSWORD=" + secretKey, "MINIO_DOMAIN=" + domain,
				"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off", "HOME=" + dir,
			}, "server", "--address", s.addr, dir)
		}
	default:
		t.Fatalf("no such kind of store: %q", kind)
	}
	s.run(t)
	return s
}

// run starts the store's process, for the first time or again on the same address.
func (s *store) run(t *testing.T) {
	t.Helper()
	s.process = s.start(t)
	s.process.await(t, s.String()+" answers", func(ctx context.Context) bool {
		_, err := s.direct.ListBuckets(ctx, &s3.ListBucketsInput{})
		return err == nil
	})
}

// newProxy starts a proxy with a journal of its own, and with more configuration, if
// any, whose keys win; with a certificate (a PEM file with its key) it speaks TLS.
func (w *world) newProxy(t *testing.T, name, cert, more string) *proxy {
	t.Helper()
	p := &proxy{addr: freeAddr(t), admin: "http://" + freeAddr(t), synclog: filepath.Join(w.dir, name+".synclog")}
	p.url = "http://" + p.addr
	if cert != "" {
		p.url = "https://" + p.addr
	}
	config := fmt.Sprintf(`Listen: %s
AdminListen: %s
Backends: [%s, %s]
ConnectionTimeout: 10s
ConnectionDialTimeout: 1s
ShutdownTimeout: 10s
DataDir: %q
Domains: [%s]
TLS: {CertFile: %q, KeyFile: %q, Backends: {CAFile: %q}}
Logging:
  Synclog: {Stderr: false, File: %q}
  Accesslog: {File: %q}
`, p.addr, strings.TrimPrefix(p.admin, "http://"), w.url(0), w.url(1),
		filepath.Join(w.dir, name+".data"), domain, cert, cert, w.cert, p.synclog, filepath.Join(w.dir, name+".accesslog"))
	for line := range strings.Lines(config) {
		if key, _, _ := strings.Cut(line, ":"); !strings.Contains("\n"+more, "\n"+key+":") {
			more += line
		}
	}
	p.config = filepath.Join(w.dir, name+".yaml")
	mustWrite(t, p.config, []byte(more))
	p.run(t)
	return p
}

// run starts the proxy's process, for the first time or again.
func (p *proxy) run(t *testing.T) {
	t.Helper()
	p.process = startProcess(t, proxyBinary(t), nil, "-c", p.config)
	p.process.graceful = true
}

func proxyBinary(t *testing.T) string {
	t.Helper()
	binary, err := filepath.Abs(envOr("AKUBRA", "../akubra"))
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// status is what the tests read of the proxy's /status.
type status struct {
	Ready    bool `json:"ready"`
	InFlight int  `json:"inflight"`
	Backends []struct {
		Name  string `json:"name"`
		State string `json:"state"`
	} `json:"backends"`
	Journal struct {
		Pending int `json:"pending"`
		Open    int `json:"open"`
		Parked  int `json:"parked"`
	} `json:"journal"`
	Repair struct { // where it is enabled
		Copied    int    `json:"copied"`
		Deleted   int    `json:"deleted"`
		Failed    int    `json:"failed"`
		LastError string `json:"last_error"`
	} `json:"repair"`
}

// active reports whether all backends are in the pool.
func (s status) active() bool {
	for _, b := range s.Backends {
		if b.State != "active" {
			return false
		}
	}
	return len(s.Backends) > 0
}

// await waits until ok says so of the proxy's status.
func (p *proxy) await(t *testing.T, what string, ok func(status) bool) {
	t.Helper()
	p.awaitFor(t, patience, what, ok)
}

func (p *proxy) awaitFor(t *testing.T, most time.Duration, what string, ok func(status) bool) {
	t.Helper()
	var last string
	p.process.awaitFor(t, most, "proxy "+p.addr+": "+what, func(ctx context.Context) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := directTransport.RoundTrip(req)
		if err != nil {
			last = err.Error()
			return false
		}
		defer res.Body.Close()
		var s status
		if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
			last = err.Error()
			return false
		}
		last = fmt.Sprintf("%+v", s)
		return ok(s)
	}, &last)
}

// settle waits until no request has a leg under way: the client's answer came with
// the first store's, the others go on behind it (R3).
func (w *world) settle(t *testing.T) {
	t.Helper()
	w.stuck = true // until it turns out well
	for _, p := range w.proxies() {
		p.await(t, "nothing is in flight", func(s status) bool { return s.InFlight == 0 })
	}
	w.stuck = false
}

func serverBinary(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("INTEROP_BIN")
	if dir == "" {
		t.Fatal("INTEROP_BIN is not set: start the tests by interop/run.sh, which builds the servers")
	}
	return filepath.Join(dir, name)
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// patience is how long anything may take that should be done in a moment.
const patience = 90 * time.Second
