package linear

import (
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/words"
	"github.com/akubra/akubra/s3"
)

const (
	anything = "*" // what a condition matches
	clients  = 5
	keys     = 3
	length   = 4 * time.Second // of a history
	between  = 100 * time.Millisecond
	// patience is for what should take no time, on a machine that is very busy.
	patience = time.Minute
)

// world is a proxy in front of backends in trouble, with clients that remember.
type world struct {
	t        *testing.T
	config   *config.Config
	backends []*backend
	proxy    *service.Proxy
	url      string
	client   *http.Client
	begun    time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	ended   map[string]int // how many keys of a name have come to their end
	events  []string
	count   [3][unknown + 1]int // of reads, plain and conditional writes
	values  atomic.Int64
	pause   sync.RWMutex // clients' requests hold it
	goesOn  string       // what names of keys begin with that do not end with a write of unknown outcome
}

func newWorld(t *testing.T, backends int, seed uint64, policy, ack string) *world {
	t.Helper()
	w := &world{t: t, begun: time.Now(), ended: map[string]int{}, client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}}
	c := config.Default()
	c.Listen, c.AdminListen, c.DataDir = testkit.MustFreeAddr(t), testkit.MustFreeAddr(t), filepath.Join(t.TempDir(), "data")
	for i := range backends {
		b := newBackend(t, seed+uint64(i))
		w.backends = append(w.backends, b)
		c.Backends = append(c.Backends, "http://"+b.addr)
	}
	c.ReadPolicy, c.WriteAck, c.FailureLimit = policy, ack, 3
	c.ConnectionTimeout, c.ConnectionDialTimeout, c.ShutdownTimeout = time.Second, time.Second, time.Millisecond
	c.Credentials.AccessKey, c.Credentials.SecretKey = "access", "secret"
	c.Repair.Enabled = "true"
	testkit.MustDo(t, c.Complete())
	w.config, w.url = c, "http://"+c.Listen
	w.start()
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		w.proxy.Stop()
	})
	return w
}

func (w *world) start() {
	p, err := service.New(w.config, logs.Plain(io.Discard, io.Discard), "test")
	if err == nil {
		err = p.Start()
	}
	testkit.MustDo(w.t, err)
	w.proxy = p
}

// playWhile has clients act until happens returns.
func (w *world) playWhile(seed uint64, act func(client int, random *rand.Rand), happens func()) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for random := rand.New(rand.NewPCG(seed, uint64(c))); ; {
				select {
				case <-stop:
					return
				default:
					act(c, random)
				}
			}
		})
	}
	happens()
	close(stop)
	all.Wait()
}

// play has clients act while one backend at a time is in trouble, or the proxy is restarted.
func (w *world) play(seed uint64, act func(client int, random *rand.Rand)) {
	random := rand.New(rand.NewPCG(seed, clients))
	w.playWhile(seed, act, func() { w.befall(random) })
}

func (w *world) befall(random *rand.Rand) {
	pass := func() { time.Sleep(between/2 + time.Duration(random.Int64N(int64(2*between)))) } // clients act meanwhile
	for time.Since(w.begun) < length {
		pass()
		if random.IntN(8) == 0 {
			w.event("the proxy stops")
			w.proxy.Stop()
			w.start()
			w.event("the proxy runs")
			continue
		}
		b := w.backends[random.IntN(len(w.backends))]
		what := well + 1 + trouble(random.IntN(int(troubles-1)))
		w.event("%s: %v", b.addr, what)
		b.befall(what)
		pass()
		w.event("%s: %v", b.addr, well)
		b.befall(well)
	}
}

func (w *world) event(format string, args ...any) {
	w.events = append(w.events, fmt.Sprintf("%v ", time.Since(w.begun))+fmt.Sprintf(format, args...))
}

// endless reports whether a key goes on after a write of unknown outcome.
func (w *world) endless(key string) bool { return w.goesOn != "" && strings.HasPrefix(key, w.goesOn) }

// key is the present one of this name. One has come to its end with the first write of which
// nobody was told what has become of it: what a backend may have done that gave no answer is not
// kept from another one (R29), until repair has looked.
func (w *world) key(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%s-%d", name, w.ended[name])
}

// do has a client ask for something, and notes what it is told.
func (w *world) do(client int, a action) told {
	method, target, body := http.MethodGet, "/b/"+a.key, io.Reader(nil)
	switch {
	case a.upload:
		id, ok := w.upload(a)
		if !ok {
			return told{verdict: refused}
		}
		method, target = http.MethodPost, target+"?uploadId="+id
	case a.write && a.value == "":
		method = http.MethodDelete
	case a.write:
		method, body = http.MethodPut, strings.NewReader(a.value)
	}
	req, err := http.NewRequest(method, w.url+target, body)
	testkit.MustDo(w.t, err)
	kind := 0
	if a.write {
		kind = 1
	}
	if a.absent {
		req.Header.Set("If-None-Match", "*")
		kind = 2
	}
	if a.match == anything {
		req.Header.Set("If-Match", "*")
		kind = 2
	} else if a.match != "" {
		req.Header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum([]byte(a.match)))))
		kind = 2
	}
	w.pause.RLock()
	defer w.pause.RUnlock()
	call := time.Since(w.begun).Nanoseconds()
	status, text := w.send(req)
	end := time.Since(w.begun).Nanoseconds()
	t := told{verdict: unknown}
	switch conditional := kind == 2; {
	case a.upload && (status == 404 || strings.Contains(text, "<Error>")): // who has it is not known since a restart, or its answer was late
	case status/100 == 2 && !a.write:
		t = told{value: text}
	case status/100 == 2, status == 404 && !a.write:
		t = told{}
	case status == notSent:
		t.verdict = refused
	case conditional && (status == 412 || status == 404):
		t.verdict = refused
	case status != 0 && status != 503 && status != 409:
		w.t.Errorf("%s of %+v is answered %d %s", method, a, status, text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count[kind][t.verdict]++
	if name, n, _ := strings.Cut(a.key, "-"); !w.endless(a.key) && a.write && t.verdict == unknown && n == fmt.Sprint(w.ended[name]) {
		w.ended[name]++
	}
	if status != notSent && (a.write || t.verdict == done) { // a read that has failed says nothing
		w.history = append(w.history, operation(client, a, t, call, end))
	}
	return t
}

// upload begins one, which is there but for its completion.
func (w *world) upload(a action) (id string, ok bool) {
	w.pause.RLock()
	defer w.pause.RUnlock()
	req, err := http.NewRequest(http.MethodPost, w.url+"/b/"+a.key+"?uploads", nil)
	testkit.MustDo(w.t, err)
	status, text := w.send(req)
	if status != 200 {
		return "", false
	}
	id = string(s3.Text([]byte(text), "UploadId"))
	req, err = http.NewRequest(http.MethodPut, w.url+"/b/"+a.key+"?partNumber=1&uploadId="+id, strings.NewReader(a.value))
	testkit.MustDo(w.t, err)
	status, _ = w.send(req)
	return id, status == 200
}

// notSent is the status of a request that nobody has heard.
const notSent = -1

// send gives status 0 where there is no whole answer.
func (w *world) send(req *http.Request) (status int, text string) {
	answer, err := w.client.Do(req)
	if err != nil {
		time.Sleep(time.Millisecond) // the proxy may be away
		if dial := new(net.OpError); errors.As(err, &dial) && dial.Op == "dial" {
			return notSent, ""
		}
		return 0, ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, ""
	}
	return answer.StatusCode, string(body)
}

// settle waits until no leg is under way any more: one that is late may land behind the next
// write to its key (R19 is not kept yet).
func (w *world) settle() {
	w.pause.Lock()
	defer w.pause.Unlock()
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) { // polling
		var status struct{ InFlight int }
		answer, err := w.client.Get("http://" + w.config.AdminListen + "/status")
		if err != nil {
			continue // the proxy is away
		}
		err = json.NewDecoder(answer.Body).Decode(&status)
		_ = answer.Body.Close()
		if err == nil && status.InFlight == 0 {
			return
		}
	}
	w.t.Error("legs do not end")
}

func (w *world) value(client int) string { return fmt.Sprintf("%d of %d", w.values.Add(1), client) }

// check looks for an order that explains the history.
func (w *world) check(seed uint64) {
	w.t.Helper()
	w.t.Logf("%d operations; done, refused, unknown: reads %v, plain writes %v, conditional ones %v", len(w.history), w.count[0], w.count[1], w.count[2])
	w.history = known(w.history, w.endless)
	switch result, info := porcupine.CheckOperationsVerbose(register, w.history, patience); result {
	case porcupine.Ok:
	case porcupine.Unknown:
		w.t.Error("it takes too long to find out")
	default:
		w.t.Logf("%s\n%s", strings.Join(w.events, "\n"), unexplained(w.history, info))
		w.t.Errorf("no order of these operations explains what clients were told; seed %d", seed)
	}
}

// R29, R30: conditional writes and reads are linearizable, whatever befalls backends and proxy.
func TestR29ConditionalWritesAreLinearizable(t *testing.T) {
	for name, tt := range map[string]struct {
		backends int
		ack      string
		uploads  bool
	}{
		"2 backends":        {2, words.AckFirst, false},
		"3 backends":        {3, words.AckFirst, false},
		"two acknowledge":   {3, words.AckQuorum, false},
		"completed uploads": {2, words.AckFirst, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			policy := []string{words.ReadAll, words.ReadPrefer, words.ReadSpread, words.ReadFastest}[seed%4]
			t.Log("reads:", policy)
			w := newWorld(t, tt.backends, seed, policy, tt.ack)
			w.play(seed, func(client int, random *rand.Rand) {
				key := w.key(fmt.Sprintf("c%d", random.IntN(keys)))
				seen := w.do(client, action{key: key})
				if seen.verdict != done || random.IntN(2) == 0 {
					return
				}
				a := action{key: key, write: true, value: w.value(client), match: seen.value, absent: seen.value == ""}
				switch {
				case seen.value != "" && (tt.uploads || random.IntN(4) == 0):
					a.value = ""
				case tt.uploads:
					a.upload = random.IntN(2) == 0
				}
				if tt.uploads && a.value == "" {
					a.match = anything // a copy's ETag is not that of the upload
				}
				w.do(client, a)
			})
			w.check(seed)
			if c := w.count[2]; c[done] < 10 || c[refused] == 0 || w.count[0][done] < 20 {
				t.Errorf("this shows nothing: %v", w.count)
			}
		})
	}
}

// R30: what one client writes to a key of its own, one write after another, all read in that
// order, and nothing that is older than what was acknowledged.
func TestR30ReadsOfOneWriterAreLinearizable(t *testing.T) {
	for backends := 2; backends <= 3; backends++ {
		t.Run(fmt.Sprint(backends, " backends"), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			w := newWorld(t, backends, seed, words.ReadPrefer, words.AckFirst)
			w.play(seed, func(client int, random *rand.Rand) {
				own := fmt.Sprintf("p%d", client)
				switch n := random.IntN(10); {
				case n < 6:
					w.do(client, action{key: w.key(fmt.Sprintf("p%d", random.IntN(clients)))})
				case n < 9:
					w.settle()
					w.do(client, action{key: w.key(own), write: true, value: w.value(client)})
				default:
					w.settle()
					w.do(client, action{key: w.key(own), write: true})
				}
			})
			w.check(seed)
			if w.count[1][done] < 10 || w.count[0][done] < 20 {
				t.Errorf("this shows nothing: %v", w.count)
			}
		})
	}
}
