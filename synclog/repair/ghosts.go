package repair

import (
	"sync"
	"time"
)

// ghosts are the copies that were sent on their way. One may land late, on a
// storage that is slow, and then looks younger than writes that have come since:
// it is as old as what it was a copy of. They are kept until their key is equal.
type ghosts struct {
	mu    sync.Mutex
	byKey map[string][]ghost
}

type ghost struct {
	backend  int
	etag     string
	modified time.Time // of what it was a copy of
}

// maxGhosts bounds the keys that copies are remembered for.
const maxGhosts = 4096

func (g *ghosts) add(id string, x ghost) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byKey == nil {
		g.byKey = map[string][]ghost{}
	}
	if _, known := g.byKey[id]; !known && len(g.byKey) >= maxGhosts {
		for other := range g.byKey { // any
			delete(g.byKey, other)
			break
		}
	}
	for _, old := range g.byKey[id] {
		if old.backend == x.backend && old.etag == x.etag {
			return // the first is the oldest
		}
	}
	g.byKey[id] = append(g.byKey[id], x)
}

// age gives a key's states the age of what they are copies of.
func (g *ghosts) age(id string, states []state) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.byKey[id] {
		if s := &states[x.backend]; s.is == present && s.etag == x.etag && x.modified.Before(s.modified) {
			s.modified = x.modified
		}
	}
}

func (g *ghosts) forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.byKey, id)
}
