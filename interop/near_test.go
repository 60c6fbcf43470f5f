package interop

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// nearKeys are many, so that most writes have their key to themselves.
const nearKeys = 200

// TestR30NearAndFar is what reads are for: two stores, one here and one that is 30 ms away;
// clients that put, overwrite, delete and read; each of the stores is restarted in turn, and
// misses what is written meanwhile. Nobody is ever given an old, a deleted or a mixed object, or
// told that one is not there which is.
func TestR30NearAndFar(t *testing.T) {
	for _, kind := range []string{minio, versitygw} {
		if kind == versitygw && !full() {
			continue
		}
		t.Run("two "+kind, func(t *testing.T) {
			w := newStores(t, [2]string{kind, kind})
			w.relays = []string{w.stores[0].addr, farRelay(t, w.stores[1].addr, 15*time.Millisecond)}
			d := newDivergenceIn(t, w, fmt.Sprintf("ReadPolicy: prefer\nReadFrom: {\"http://%s\": 2, \"http://%s\": 1}\nConnectionTimeout: 3s\nFailureLimit: 3\nRepair: {Enabled: true}\n",
				w.relays[0], w.relays[1]))
			n := &near{
				divergence: d, h: history{byKey: make(map[string][]*deed)},
				http: &http.Client{Transport: newTransport(nil), Timeout: 15 * time.Second},
			}
			n.play()
			n.repaired(t)
			n.compare()
		})
	}
}

type near struct {
	*divergence
	h     history
	http  *http.Client
	stage atomic.Int32
	turns sync.RWMutex // a client's, for what it does next
	mu    sync.Mutex
	seen  [5]nearReads // by stage
}

// nearReads are GETs: how long those took that gave an object, how many gave 404, and how many
// nothing.
type nearReads struct {
	given           []time.Duration
	absent, refused int
}

// The stages of the play.
var nearStages = [5]string{"all is well", "the near one is away", "the near one is back", "the far one is away", "the far one is back"}

// play has clients do things while each store is restarted.
func (n *near) play() {
	for i := range nearKeys {
		n.put(fmt.Sprintf("near/%d", i), 1000)
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for c := range 6 {
		clients.Go(func() { n.client(uint64(c), stop) })
	}
	pass := func(d time.Duration) { time.Sleep(d) } // the clients do something meanwhile
	pass(4 * time.Second)
	for i, s := range n.stores {
		n.stage.Store(int32(2*i + 1))
		s.process.stop(n.T)
		pass(2 * time.Second)
		s.run(n.T)
		n.stage.Store(int32(2*i + 2))
		pass(5 * time.Second)
		if i == 0 { // else nobody would have what the other one misses
			n.turns.Lock()
			n.repaired(n.T)
			n.turns.Unlock()
		}
	}
	close(stop)
	clients.Wait()
	for i, name := range nearStages {
		s := &n.seen[i]
		slices.Sort(s.given)
		if len(s.given) == 0 {
			n.Errorf("%s: nobody can read", name)
			continue
		}
		n.Logf("%-22s %6d GETs gave an object, p50 %v, p99 %v; %d gave 404, %d were refused", name, len(s.given),
			s.given[len(s.given)/2].Round(10*time.Microsecond), s.given[len(s.given)*99/100].Round(10*time.Microsecond), s.absent, s.refused)
	}
}

func (n *near) client(seed uint64, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(seed, 30))
	for {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Sprintf("near/%d", random.IntN(nearKeys))
		n.turns.RLock()
		switch x := random.IntN(100); {
		case x < 70:
			n.get(key)
		case x < 92:
			n.put(key, soakSize(random))
		default:
			d := n.h.begin(key, false, false)
			status, _, _ := n.do(http.MethodDelete, key, nil)
			n.h.ended(d, status/100 == 2)
		}
		n.turns.RUnlock()
	}
}

// do sends a request and reads its answer, which was that if there is no error.
func (n *near) do(method, key string, data []byte) (status int, body []byte, err error) {
	req, _, err := newSigned(method, byHeader, n.plain.addr, n.bucket, key, "", data)
	if err != nil {
		n.Errorf("cannot sign: %v", err)
		return 0, nil, err
	}
	answer, err := n.http.Do(req)
	if err != nil {
		n.Errorf("%s %s: %v", method, key, err) // the proxy is well all the time
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

func (n *near) put(key string, size int) {
	d := n.h.begin(key, true, false)
	status, _, _ := n.do(http.MethodPut, key, value(key, d.id, size))
	n.h.ended(d, status == 200)
}

func (n *near) get(key string) {
	begin, at, stage := n.h.tick(), time.Now(), n.stage.Load()
	status, body, err := n.do(http.MethodGet, key, nil)
	took := time.Since(at)
	var id int64
	switch {
	case status == 503 || status == 200 && err != nil: // broken off in mid-body, and the client knows
		n.count(func() { n.seen[stage].refused++ })
		return
	case status == 200:
		if id, err = parseValue(key, body); err != nil || !n.h.known(key, id) {
			n.Errorf("%s: GET %q is answered with %d bytes that nobody put there: %v", nearStages[stage], key, len(body), err)
			return
		}
	case status != 404:
		n.Errorf("%s: GET %q is answered %d, %v", nearStages[stage], key, status, err)
		return
	}
	if !n.h.allows(key, id, begin) {
		n.Errorf("%s: GET %q, begun at %d, gives %d, of:\n%s", nearStages[stage], key, begin, id, n.told(key))
	}
	n.count(func() {
		if s := &n.seen[stage]; status == 200 {
			s.given = append(s.given, took)
		} else {
			s.absent++
		}
	})
}

func (n *near) count(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *near) told(key string) string {
	n.h.mu.Lock()
	defer n.h.mu.Unlock()
	text := ""
	all := n.h.byKey[key]
	for _, d := range all[max(0, len(all)-8):] {
		text += fmt.Sprintf("%+v\n", *d)
	}
	return text
}

// compare looks at both stores, at rest.
func (n *near) compare() {
	n.Helper()
	now, there := n.h.tick(), 0
	for i := range nearKeys {
		key := fmt.Sprintf("near/%d", i)
		var ids [2]int64
		for i, s := range n.stores {
			data, err := s.get(n.T, n.bucket, key)
			if errors.Is(err, errAbsent) {
				continue
			}
			if err == nil {
				ids[i], err = parseValue(key, data)
			}
			if err != nil {
				n.Errorf("%v: %q: %v", s, key, err)
			}
		}
		if ids[0] != 0 {
			there++
		}
		if ids[0] != ids[1] || !n.h.allows(key, ids[0], now) {
			n.Errorf("%q has the values %v, of:\n%s", key, ids, n.told(key))
		}
		n.get(key)
	}
	n.Logf("%d writes were acknowledged; %d of %d keys have an object", n.h.acked, there, nearKeys)
}

// farRelay forwards connections to a store that is far away: each piece takes delay in either
// direction, however many are on their way, and so does a reset. It returns its address.
func farRelay(t *testing.T, to string, delay time.Duration) string {
	t.Helper()
	return serveConns(t, func(conn net.Conn) {
		store, err := net.Dial("tcp", to)
		if err != nil { // as if it had not been accepted
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			return
		}
		var both sync.WaitGroup
		both.Go(func() { carry(store, conn, delay) })
		both.Go(func() { carry(conn, store, delay) })
		both.Wait()
		_, _ = conn.Close(), store.Close()
	})
}

type piece struct {
	data []byte
	err  error
	due  time.Time
}

// carry takes what from sends to to, later, and ends to as from was ended.
func carry(to, from net.Conn, delay time.Duration) {
	pieces := make(chan piece, 1<<10)
	go func() {
		defer close(pieces)
		for {
			p := piece{data: make([]byte, 32<<10)}
			var n int
			n, p.err = from.Read(p.data)
			p.data, p.due = p.data[:n], time.Now().Add(delay)
			pieces <- p
			if p.err != nil {
				return
			}
		}
	}()
	broken := false
	for p := range pieces {
		time.Sleep(time.Until(p.due)) // the way
		if _, err := to.Write(p.data); err != nil {
			broken = true
			_ = from.SetReadDeadline(time.Now())
		}
		switch {
		case p.err == nil:
		case broken || errors.Is(p.err, io.EOF):
			_ = to.(*net.TCPConn).CloseWrite()
		default: // a reset (R31)
			_ = to.(*net.TCPConn).SetLinger(0)
			_ = to.Close()
		}
	}
	if broken {
		_ = from.(*net.TCPConn).SetLinger(0)
		_ = from.Close()
	}
}
