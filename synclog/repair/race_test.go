package repair

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// op is one client's write, as the model remembers it. Times are from one counter.
type op struct {
	key        string
	body       string // "" is a delete
	start, end int    // end 0: it is not acknowledged, or the last leg is out
	acked      bool
}

// proxied is a small model of the proxy: legs that fail or come late, an answer
// with the first of them that ends well, the journal, the table of writes.
type proxied struct {
	t      *testing.T
	stores []*fake
	q      *queue
	fence  *fence
	legs   sync.WaitGroup

	mu      sync.Mutex
	clock   int
	ops     []*op
	flying  map[string][]*flight
	stamped uint64
}

type flight struct{ overlapped bool }

func (p *proxied) tick() int {
	p.clock++
	return p.clock
}

// write sends a write to all stores, and returns when one of them has it, or none.
func (p *proxied) write(rnd *rand.Rand, key, body string) {
	o, f := &op{key: key, body: body}, &flight{}
	end := p.fence.begin("b", key)
	p.mu.Lock()
	o.start = p.tick()
	p.ops = append(p.ops, o)
	for _, other := range p.flying[key] {
		other.overlapped, f.overlapped = true, true
	}
	p.flying[key] = append(p.flying[key], f)
	p.mu.Unlock()

	var mu sync.Mutex
	task := flat{Method: "PUT", Bucket: "b", Key: key, Target: "/b/" + key, ETag: md5Hex([]byte(body))}
	if body == "" {
		task.Method, task.ETag = "DELETE", ""
	}
	acked, left := make(chan struct{}), len(p.stores)
	for i := range p.stores {
		fails, late := rnd.IntN(5) == 0, rnd.IntN(3) == 0
		delay := time.Duration(rnd.IntN(3000)) * time.Microsecond
		p.legs.Go(func() {
			if late {
				time.Sleep(delay) // any: the others' answers, or repair, may come before it or after
			}
			if !fails {
				fails = !p.leg(p.stores[i], key, body)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case fails:
				task.Owed = append(task.Owed, p.stores[i].name)
			default:
				task.Took = append(task.Took, p.stores[i].name)
			}
			switch {
			case fails:
			case task.Seq == 0: // the first answer
				p.mu.Lock()
				p.stamped = max(p.stamped+1, uint64(time.Now().UnixNano()))
				task.Seq, o.acked = p.stamped, true
				p.mu.Unlock()
				close(acked)
			}
			if left--; left > 0 {
				return
			}
			if !o.acked {
				close(acked)
			}
			p.settle(&task, o, f)
			end()
		})
	}
	<-acked
}

func (p *proxied) settle(task *flat, o *op, f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.end = p.tick()
	p.flying[o.key] = slices.DeleteFunc(p.flying[o.key], func(x *flight) bool { return x == f })
	if !o.acked {
		return
	}
	task.Settled = max(task.Seq, uint64(time.Now().UnixNano()))
	if f.overlapped {
		task.Doubt = true
		for _, s := range p.stores {
			task.Owed = append(task.Owed, s.name)
		}
	}
	if len(task.Owed) > 0 {
		p.q.push(*task)
	} else {
		p.q.touch(*task)
	}
}

func (p *proxied) leg(s *fake, key, body string) bool {
	method := "PUT"
	if body == "" {
		method = "DELETE"
	}
	req, err := http.NewRequest(method, s.server.URL+"/b/"+key, bytes.NewReader([]byte(body)))
	if err != nil {
		p.t.Error(err)
		return false
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode/100 == 2
}

// mayBe reports whether a key may hold body in the end: some write put it there that
// no acknowledged one has followed from its end on.
func (p *proxied) mayBe(key, body string) bool {
	ever := body == "" // as it was at first
	for _, o := range p.ops {
		if o.key != key || !o.acked {
			continue
		}
		ever = ever && o.body == ""
		if o.body != body {
			continue
		}
		if !slices.ContainsFunc(p.ops, func(n *op) bool { return n.key == key && n.acked && n.start > o.end }) {
			return true
		}
	}
	return ever
}

// Clients write and delete a few keys while repair runs, with legs that fail and
// legs that come late: at rest all are equal, and equal to a write that no other
// one has followed.
func TestRaces(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]quirks{"conditions": {}, "no conditions": {ignoreConditions: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			p := &proxied{t: t, stores: w.stores, q: w.q, fence: newFence(), flying: map[string][]*flight{}}
			for _, s := range w.stores {
				s.quirks = q
				s.quirks.noSubresources = true
			}
			w.o.Fence, w.o.Concurrency, w.o.OnResolved, w.o.IdleInterval = p.fence, 4, nil, time.Millisecond
			w.o.RetryMax, w.o.MaxTries = time.Millisecond, 1<<30
			r := w.follow()
			var clients sync.WaitGroup
			for c := range 6 {
				clients.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(c), 1))
					for i := range 150 {
						body := fmt.Sprintf("client %d, write %d", c, i)
						if rnd.IntN(3) == 0 {
							body = ""
						}
						p.write(rnd, fmt.Sprint("k", rnd.IntN(8)), body)
					}
				})
			}
			clients.Wait()
			p.legs.Wait()
			r.Kick()
			w.await("all is repaired", func() bool { return len(w.q.left()) == 0 })
			r.Close()
			for i := range 8 {
				key := fmt.Sprint("k", i)
				o := w.mustEqual(key)
				body := ""
				if o != nil {
					body = string(o.body)
				}
				if !p.mayBe(key, body) {
					t.Errorf("%s is %q, which an acknowledged write has followed", key, body)
				}
			}
			if s := r.Status(); s.Copied+s.Deleted == 0 || s.Parked > 0 {
				t.Errorf("%+v", s)
			}
			http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		})
	}
}

// R19: no client's write begins between a copy and its ACL, which would be the ACL of what the client wrote.
func TestR19CopyIsSealedUntilItHasItsACL(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(f *fake) *fakeObject{
		"in one":   func(f *fake) *fakeObject { return f.put("b", "k", "body", time.Minute) },
		"in parts": func(f *fake) *fakeObject { return f.putParts("b", "k", "one", "two") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			f := newFence()
			w.o.Fence = f
			source := put(w.stores[0])
			source.docs["acl"] = strings.Replace(w.stores[0].cannedDoc("public-read"), "READ", "READ_ACP", 1) // no header has it
			var open []string
			w.stores[1].setHook(func(_ http.ResponseWriter, r *http.Request) bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				if stores := r.Method == "PUT" && !r.URL.Query().Has("partNumber") || r.Method == "POST" && r.URL.Query().Has("uploadId"); stores && f.sealed["b/k"] == nil {
					open = append(open, r.Method+" "+r.URL.RequestURI())
				}
				return false
			})
			w.q.push(flat{Seq: 5, First: 1, Bucket: "b", Key: "k", Method: "PUT", ETag: source.etag, Took: []string{w.stores[0].name}, Owed: []string{w.stores[1].name}})
			if sum := w.once(); sum.Copied != 1 {
				t.Fatalf("%+v", sum)
			}
			w.mustEqual("k")
			if w.stores[1].requests("PUT /b/k?acl") != 1 || len(open) > 0 {
				t.Errorf("%d ACLs; while clients might write: %q", w.stores[1].requests("PUT /b/k?acl"), open)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.sealed["b/k"] != nil {
				t.Error("it stays sealed")
			}
		})
	}
}
