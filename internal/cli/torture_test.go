package cli

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/akubra/akubra/internal/demo"
	"github.com/akubra/akubra/internal/testkit"
)

// A moody backend is an S3 backend in memory that misbehaves. Whatever it does to a response, it
// has either carried out the request by the time the connection ends, or never does: anything later
// could not be told from a new write.
type moodyStore struct {
	addr   string
	mood   atomic.Int32
	inner  http.Handler
	mu     sync.Mutex
	random *rand.Rand
	open   atomic.Int32 // connections
}

const (
	moodWell  = iota
	moodSlow  // to answer
	moodFlaps // refuses, or hangs up before or after acting
)

func newMoodyStore(t *testing.T, seed uint64, bucket string) *moodyStore {
	t.Helper()
	backend := s3mem.New()
	testkit.MustDo(t, backend.CreateBucket(bucket))
	s3 := gofakes3.New(backend, gofakes3.WithTimeSkewLimit(0), gofakes3.WithLogger(gofakes3.DiscardLog()))
	s := &moodyStore{inner: demo.DecodeChunks(s3.Server()), random: rand.New(rand.NewPCG(seed, 1))}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	s.addr = ln.Addr().String()
	server := &http.Server{Handler: s, ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		testkit.Receive(t, "the end of a store", done)
	})
	return s
}

func (s *moodyStore) dice(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *moodyStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut { // half an object must not look like a whole one
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ContentLength >= 0 && int64(len(body)) != r.ContentLength {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	switch s.mood.Load() {
	case moodSlow:
		held := &heldAnswer{ResponseWriter: w}
		s.inner.ServeHTTP(held, r)
		select {
		case <-time.After(time.Duration(1+s.dice(30)) * time.Millisecond): // this is the slowness
		case <-r.Context().Done():
		}
		held.send()
		return
	case moodFlaps:
		switch s.dice(6) {
		case 0:
			http.Error(w, "<Error><Code>SlowDown</Code></Error>", http.StatusServiceUnavailable)
			return
		case 1:
			panic(http.ErrAbortHandler) // hangs up
		case 2:
			s.inner.ServeHTTP(&heldAnswer{ResponseWriter: w}, r)
			panic(http.ErrAbortHandler)
		}
	}
	s.inner.ServeHTTP(w, r)
}

// heldAnswer holds a response back until send.
type heldAnswer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (h *heldAnswer) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

func (h *heldAnswer) Write(p []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	return h.body.Write(p)
}

func (h *heldAnswer) send() {
	if h.status != 0 {
		h.ResponseWriter.WriteHeader(h.status)
	}
	_, _ = h.ResponseWriter.Write(h.body.Bytes())
}

// get reads an object directly from the backend; "" means none, as no body is empty.
func (s *moodyStore) get(t *testing.T, key string) string {
	t.Helper()
	status, body, err := testkit.Send("GET", "http://"+s.addr+key, "")
	if err != nil || status != 200 && status != 404 {
		t.Fatalf("GET %s of a store: %d, %v", key, status, err)
	}
	if status == 404 {
		return ""
	}
	value, _, large := strings.Cut(body, "\n")
	if large && body != enlarge(value) {
		t.Fatalf("%s of a store has %d bytes that are not %q again and again", key, len(body), value)
	}
	return value
}

// enlarge makes a value large enough to go through pipes.
func enlarge(value string) string {
	return strings.Repeat(value+"\n", 80<<10/(len(value)+1))
}

// history is what clients did and were told, by a clock that counts events.
type history struct {
	clock atomic.Int64
	mu    sync.Mutex
	byKey map[string][]deed
	acked int
}

// deed is one write. If it took effect, it did so between begin and end.
type deed struct {
	begin, end int64
	value      string // "" means a delete
	acked      bool
}

func (h *history) note(key string, d deed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byKey[key] = append(h.byKey[key], d)
	if d.acked {
		h.acked++
	}
}

// allows reports whether value may be key's final value: that of a write after whose end no
// acknowledged one has begun.
func (h *history) allows(key, value string) bool {
	deeds := append([]deed{{acked: true}}, h.byKey[key]...) // initially there is nothing
	for i := range deeds {
		if deeds[i].value != value {
			continue
		}
		superseded := false
		for j := range deeds {
			superseded = superseded || deeds[j].acked && deeds[j].begin > deeds[i].end
		}
		if !superseded {
			return true
		}
	}
	return false
}

// torture is the proxy, killed over and over under load.
type torture struct {
	t      *testing.T
	path   string // of the binary
	config string
	addr   string
	stores []*moodyStore
	h      history
}

func newTorture(t *testing.T, path string, seed uint64) *torture {
	dir := t.TempDir()
	x := &torture{t: t, path: path, config: filepath.Join(dir, "akubra.yaml"), addr: testkit.MustFreeAddr(t)}
	x.h.byKey = map[string][]deed{}
	text := fmt.Sprintf(`Listen: %s
AdminListen: %s
DataDir: %q
FailureLimit: 5
ConnectionTimeout: 2s
Credentials: {AccessKey: key, SecretKey: secret}
Repair: {Enabled: true}
Logging: {Synclog: {Stderr: false, File: %q}}
Backends:
`, x.addr, testkit.MustFreeAddr(t), filepath.Join(dir, "data"), filepath.Join(dir, "sync.log"))
	for i := range 2 {
		s := newMoodyStore(t, seed+uint64(i), "b")
		x.stores = append(x.stores, s)
		text += "  - http://" + s.addr + "\n"
	}
	testkit.MustDo(t, os.WriteFile(x.config, []byte(text), 0o600))
	return x
}

// life starts the proxy, sends it a number of writes, and kills it in the middle of more.
func (x *torture) life(cycle, writes int) {
	said := testkit.NewTranscript()
	cmd := exec.Command(x.path, "-c", x.config)
	cmd.Stderr = said
	testkit.MustDo(x.t, cmd.Start())
	killed := false
	defer func() {
		if !killed {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			x.t.Logf("the proxy said:\n%s", said)
		}
	}()
	said.WaitFor(x.t, "akubra is ready")
	before := x.ackedSoFar()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for c := range 6 {
		clients.Go(func() { x.write(cycle, c, stop) })
	}
	testkit.Eventually(x.t, "enough writes are acknowledged", func() bool { return x.ackedSoFar() >= before+writes })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	killed = true
	close(stop)
	testkit.Finish(x.t, "the clients end", clients.Wait)
	for _, s := range x.stores {
		testkit.Eventually(x.t, "what was on its way has arrived, and each connection has ended", func() bool { return s.open.Load() == 0 })
	}
	if strings.Contains(said.String(), "panic") {
		x.t.Errorf("the proxy said:\n%s", said)
	}
}

func (x *torture) ackedSoFar() int {
	x.h.mu.Lock()
	defer x.h.mu.Unlock()
	return x.h.acked
}

// write is one client, with objects of its own and some that others write too.
func (x *torture) write(cycle, c int, stop <-chan struct{}) {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	random := rand.New(rand.NewPCG(uint64(cycle), uint64(c)))
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Sprintf("/b/own/%d/%d/%d", cycle, c, i)
		if random.IntN(2) == 0 {
			key = fmt.Sprintf("/b/shared/%d", random.IntN(30))
		}
		d := deed{value: fmt.Sprintf("cycle %d client %d write %d", cycle, c, i)}
		method := http.MethodPut
		if random.IntN(5) == 0 {
			method, d.value = http.MethodDelete, ""
		}
		body := d.value
		if body != "" && random.IntN(5) == 0 {
			body = enlarge(body)
		}
		d.begin = x.h.clock.Add(1)
		r, err := http.NewRequest(method, "http://"+x.addr+key, strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		answer, err := client.Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			d.acked = answer.StatusCode/100 == 2
		} else {
			select {
			case <-stop:
			case <-time.After(time.Millisecond): // it is dead: do not fill the history
			}
		}
		d.end = x.h.clock.Add(1)
		x.h.note(key, d)
	}
}

// repair runs until nothing is left.
func (x *torture) repair() {
	for try := 0; ; try++ {
		out, err := exec.Command(x.path, "repair", "--once", "-c", x.config).CombinedOutput()
		if err == nil {
			return
		}
		if try == 20 {
			list, _ := exec.Command(x.path, "synclog", "list", "-c", x.config).CombinedOutput()
			dump, _ := exec.Command(x.path, "journal", "dump", "-c", x.config).CombinedOutput()
			lines := slices.DeleteFunc(strings.Split(string(dump), "\n"), func(s string) bool { return !strings.Contains(s, "b/shared/") })
			_, rest, _ := strings.Cut(string(list), "b/shared/")
			number, _, _ := strings.Cut(rest, " ")
			show, _ := exec.Command(x.path, "journal", "show", "b/shared/"+number, "-c", x.config).CombinedOutput()
			x.t.Fatalf("repair: %v\n%s\n%s\n%s\nof the journal:\n%s", err, out, list, show, strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	}
}

func (x *torture) wantEqual(list string, before map[string][]string) {
	for key := range x.h.byKey {
		values := make([]string, len(x.stores))
		for i, s := range x.stores {
			values[i] = s.get(x.t, key)
		}
		if values[0] != values[1] {
			x.t.Errorf("%s is %q and %q, before repair %q\n%+v\n%s", key, values[0], values[1], before[key], x.h.byKey[key], about(list, key))
		} else if !x.h.allows(key, values[0]) {
			x.t.Errorf("%s is %q at rest, which a later write replaced; before repair %q\n%+v\n%s", key, values[0], before[key], x.h.byKey[key], about(list, key))
		}
	}
}

// about are the lines of the journal that name the key.
func about(list, key string) string {
	var b strings.Builder
	for line := range strings.Lines(list) {
		if strings.Contains(line, strings.TrimPrefix(key, "/b/")+`"`) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestR20Torture: the proxy is killed over and over, with one backend slow and the other flapping.
// In the end both have what was acknowledged, and nothing that a later acknowledged write replaced
// or deleted.
func TestR20Torture(t *testing.T) {
	t.Parallel()
	cycles, writes := 20, 60
	if *full {
		cycles, writes = 200, 300
	}
	path := filepath.Join(t.TempDir(), "akubra")
	if out, err := exec.Command("go", "build", "-o", path, mainPackage).CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	x := newTorture(t, path, seed)
	random := rand.New(rand.NewPCG(seed, 2))
	for cycle := range cycles {
		ill := random.IntN(2)
		x.stores[ill].mood.Store(moodFlaps)
		x.stores[1-ill].mood.Store(moodSlow)
		x.life(cycle, 1+random.IntN(writes))
	}
	for _, s := range x.stores {
		s.mood.Store(moodWell)
	}
	list, err := exec.Command(path, "synclog", "list", "--json", "-c", x.config).CombinedOutput()
	if err != nil {
		t.Fatalf("synclog list: %v\n%s", err, list)
	}
	before := map[string][]string{}
	for key := range x.h.byKey {
		for _, s := range x.stores {
			before[key] = append(before[key], s.get(t, key))
		}
	}
	x.repair()
	x.wantEqual(string(list), before)
	if out, err := exec.Command(path, "verify", "-c", x.config, "--bucket", "b").CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	t.Logf("%d writes acknowledged, %d keys", x.ackedSoFar(), len(x.h.byKey))
}
