package linear

import (
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/s3mem"
)

// trouble is what can befall a backend.
type trouble uint8

const (
	well    trouble = iota
	slow            // takes its time, before and behind
	resets          // cuts connections before it does anything
	forgets         // does what it is asked for, and cuts the connection then
	refuses         // 503 to all writes
	frozen
	down // refuses dials
	troubles
)

func (what trouble) String() string {
	return []string{"well", "slow", "resets", "forgets", "refuses", "frozen", "down"}[what]
}

// backend is a storage in memory behind a socket.
type backend struct {
	t       *testing.T
	addr    string
	storage *s3mem.Storage

	mu      sync.Mutex
	trouble trouble
	random  *rand.Rand
	server  *http.Server
	serving sync.WaitGroup
	open    atomic.Int32 // connections
}

func newBackend(t *testing.T, seed uint64) *backend {
	t.Helper()
	b := &backend{t: t, addr: testkit.MustFreeAddr(t), random: rand.New(rand.NewPCG(seed, 1))}
	b.storage = s3mem.New(b.addr, s3mem.Manners{})
	b.storage.MakeBucket("b", false, false)
	b.listen()
	t.Cleanup(func() {
		b.befall(well)
		b.close()
	})
	return b
}

func (b *backend) listen() {
	ln, err := net.Listen("tcp", b.addr)
	testkit.MustDo(b.t, err)
	b.server = &http.Server{Handler: b, ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			b.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			b.open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
	}}
	server := b.server
	b.serving.Go(func() { _ = server.Serve(ln) })
}

func (b *backend) close() {
	_ = b.server.Close()
	b.serving.Wait()
}

// befall puts an end to the trouble that it had, and begins another one.
func (b *backend) befall(what trouble) {
	b.mu.Lock()
	before := b.trouble
	b.trouble = what
	b.mu.Unlock()
	switch before {
	case refuses:
		b.storage.Refuse(0)
	case frozen:
		b.storage.Set(s3mem.Well)
	case down:
		b.listen()
	}
	switch what {
	case refuses:
		b.storage.Refuse(http.StatusServiceUnavailable)
	case frozen:
		b.storage.Set(s3mem.Frozen)
	case down:
		b.close()
	}
}

func (b *backend) now() (what trouble, pause time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.trouble, time.Duration(b.random.Int64N(int64(20 * time.Millisecond)))
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what, pause := b.now()
	switch what {
	case resets:
		panic(http.ErrAbortHandler)
	case forgets:
		b.storage.ServeHTTP(&discarded{}, r)
		panic(http.ErrAbortHandler)
	case slow:
		time.Sleep(pause)
		b.storage.ServeHTTP(w, r)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(pause)
	default:
		b.storage.ServeHTTP(w, r)
	}
}

// discarded is an answer that nobody gets.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(int)             {}
