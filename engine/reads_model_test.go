package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/limiter"
)

// readModel is one client's memory of what it was told, and the trouble that it has.
type readModel struct {
	*rig
	random *rand.Rand
	keys   map[string]*toldOf
	next   int
	reads  int
	failed int
}

// toldOf is what a client knows of a key: what was acknowledged last, or read since, and what
// was not, which may have been done all the same.
type toldOf struct {
	value     string // "" is nothing
	perhaps   map[string]bool
	uncertain bool // perhaps has "nothing"
}

// R30: no read ever gives what is older than what the same client was told of last, whoever
// is out, slow, comes back behind, or breaks off, under every policy.
func TestR30ReadsNeverGoBack(t *testing.T) {
	t.Parallel()
	for _, policy := range readPolicies {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(policy, seed), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 2+int(seed%2), reading(policy), func(o *Options, lo *limiter.Options) {
					o.HedgeAfter, o.HedgeBudget = 2e6, 0.5
					lo.FailureLimit = 1000
				})
				m := &readModel{rig: r, random: rand.New(rand.NewPCG(seed, 30)), keys: map[string]*toldOf{}}
				for range 400 {
					m.step()
				}
				if m.reads == 0 || m.failed > m.reads*2/3 {
					t.Errorf("%d of %d reads failed: this shows nothing", m.failed, m.reads)
				}
			})
		}
	}
}

func (m *readModel) step() {
	key := fmt.Sprint("/b/k", m.random.IntN(4))
	switch n := m.random.IntN(20); {
	case n < 2:
		m.trouble()
	case n < 3:
		m.heal()
	case n < 9:
		m.write(key)
	default:
		m.read(key)
	}
}

// trouble befalls one backend.
func (m *readModel) trouble() {
	s := m.stores[m.random.IntN(len(m.stores))]
	kind := m.random.IntN(5)
	chance := 1 + m.random.IntN(3)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(m.random.Uint64(), 1))
	s.BehaveFunc(func(q *stub.Request) stub.Behaviour {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(chance) > 0 {
			return stub.Behaviour{}
		}
		switch kind {
		case 0:
			return stub.Fails(503)
		case 1:
			return stub.Behaviour{Cut: stub.CutReset, CutAt: stub.NoAnswer, Store: stub.StoreNever, Status: 500}
		case 2:
			return stub.Behaviour{Cut: stub.CutClose, CutAt: int64(random.IntN(100))}
		case 3:
			return stub.Behaviour{ReadRate: 20_000, WriteRate: 20_000}
		}
		return stub.Behaviour{}
	})
}

// heal lets repair bring all keys that are owed to those that owe them.
func (m *readModel) heal() {
	m.settled()
	for _, s := range m.stores {
		s.Behave(stub.Behaviour{})
	}
	for key, known := range m.keys {
		last := m.journal.newest("b", key[len("/b/"):])
		if last.Seq == 0 || known.uncertain || len(known.perhaps) > 0 {
			continue
		}
		for i, s := range m.stores {
			if last.Owed&(1<<i) != 0 {
				if known.value == "" {
					m.remove(s, key)
				} else {
					s.Put(key, []byte(known.value))
				}
			}
		}
		m.journal.forget("b", key[len("/b/"):])
	}
	// What is repaired is none any more, and what is not is owed again (checkJournal).
	m.records.mu.Lock()
	defer m.records.mu.Unlock()
	m.records.all = slices.DeleteFunc(m.records.all, func(d Divergence) bool { return m.journal.newest("b", d.Key).Seq == 0 })
}

func (m *readModel) remove(s *stub.Server, key string) {
	c := stub.Dial(m.t, s.Addr())
	defer c.Close()
	c.Do(requestFor("DELETE", key))
}

func (m *readModel) known(key string) *toldOf {
	if m.keys[key] == nil {
		m.keys[key] = &toldOf{perhaps: map[string]bool{}}
	}
	return m.keys[key]
}

func (m *readModel) write(key string) {
	m.settled() // R19 is not kept yet: a leg that is late may land behind the next write
	known := m.known(key)
	m.next++
	value, request := "", requestFor("DELETE", key)
	if m.random.IntN(4) > 0 {
		value = fmt.Sprintf("%0*d", 10+m.random.IntN(3000), m.next)
		request = putRequest(key, value)
	}
	c := m.dial()
	defer c.Close()
	c.Send(request)
	if a, err := c.ReadAnswerTo("PUT"); err == nil && a.Status/100 == 2 {
		*known = toldOf{value: value, perhaps: map[string]bool{}}
		return
	}
	known.perhaps[value] = true
	known.uncertain = known.uncertain || value == ""
}

func (m *readModel) read(key string) {
	known := m.known(key)
	m.reads++
	c := m.dial()
	defer c.Close()
	c.Send(requestFor("GET", key))
	a, err := c.ReadAnswerTo("GET")
	if err != nil || a.Status != 200 && a.Status != 404 {
		m.failed++
		return
	}
	got := ""
	if a.Status == 200 {
		got = string(a.Body)
	}
	if got != known.value && !known.perhaps[got] {
		m.t.Fatalf("%s is %.20q of %d bytes, and the client was told of %.20q", key, got, len(got), known.value)
	}
}
