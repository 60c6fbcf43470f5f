package repair

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// wire is a way to a fake in a test's own time (synctest): a round trip, and a rate that all requests share
// in each direction. What waits for the rate waits in line.
type wire struct {
	f    *fake
	trip time.Duration
	rate float64 // bytes a second; 0: no limit
	// work is how long the storage has one of its hands full with a request; hands is how many there are.
	work  time.Duration
	hands chan struct{}

	mu          sync.Mutex
	there, back time.Time // when each direction is free again
	busy, peak  int       // requests under way
	moved       int64     // bytes of content
}

// newWired is a world whose backends are behind wires.
func newWired(t *testing.T, wires ...*wire) *world {
	t.Helper()
	w := newWorld(t, 0)
	for i, link := range wires {
		name := string(rune('a'+i)) + ":1"
		link.f = &fake{t: t, buckets: map[string]*fakeBucket{}, uploads: map[string]*fakeUpload{}, name: name}
		link.f.makeBucket("b")
		w.stores = append(w.stores, link.f)
		w.o.Backends = append(w.o.Backends, Backend{Name: name, URL: "http://" + name, Transport: link, Weight: 1})
		w.q.names = append(w.q.names, name)
	}
	w.o.OnResolved = nil
	return w
}

// pass waits for n bytes' turn, and until they have gone.
func (l *wire) pass(free *time.Time, n int) {
	if l.rate == 0 || n == 0 {
		return
	}
	l.mu.Lock()
	if now := time.Now(); free.Before(now) {
		*free = now
	}
	*free = free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	until := *free
	l.moved += int64(n)
	l.mu.Unlock()
	time.Sleep(time.Until(until)) // in a bubble, as all here
}

func (l *wire) count(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy += n
	l.peak = max(l.peak, l.busy)
}

// headSize is what a message has beside its content.
const headSize = 500

func (l *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	l.count(1)
	l.mu.Lock()
	trip := l.trip
	l.mu.Unlock()
	l.pass(&l.there, headSize)
	time.Sleep(trip / 2)
	served := httptest.NewRequestWithContext(req.Context(), req.Method, "http://"+req.Host+"/", &paced{l, &l.there, req.Body})
	served.RequestURI, served.Header, served.ContentLength = req.URL.RequestURI(), req.Header, req.ContentLength
	if l.hands != nil {
		l.hands <- struct{}{}
		time.Sleep(l.work)
		<-l.hands
	}
	answer := httptest.NewRecorder()
	l.f.serve(answer, served)
	_ = req.Body.Close()
	l.pass(&l.back, headSize)
	time.Sleep(trip / 2)
	l.count(-1)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	res := answer.Result()
	if req.Method == http.MethodHead {
		res.Body = http.NoBody
	}
	res.Body = &paced{l, &l.back, res.Body}
	return res, nil
}

// paced is content on a wire.
type paced struct {
	l    *wire
	free *time.Time
	io.ReadCloser
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b[:min(len(b), 16<<10)])
	p.l.pass(p.free, n)
	return n, err
}
