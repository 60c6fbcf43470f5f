package repair

import (
	"maps"
	"slices"
	"sync"

	"github.com/akubra/akubra/synclog/task"
)

// maxPairs bounds how many versions are remembered with the ids that they have elsewhere.
const maxPairs = 1 << 14

// pairs are the ids that versions have on the other backend, known because repair has copied them. It
// keeps two generations and drops the older one.
type pairs struct {
	mu         sync.Mutex
	young, old map[pairKey]map[string]string // by backend's name
}

type pairKey struct{ bucket, key, id string }

func (p *pairs) note(k pairKey, backend, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := map[string]string{}
	maps.Copy(ids, p.ofLocked(k))
	ids[backend] = id
	if len(p.young) >= maxPairs/2 || p.young == nil {
		p.old, p.young = p.young, map[pairKey]map[string]string{}
	}
	p.young[k] = ids
}

func (p *pairs) ofLocked(k pairKey) map[string]string {
	if ids, ok := p.young[k]; ok {
		return ids
	}
	return p.old[k]
}

// notePair remembers which version a copy has made of which.
func (c *transfer) notePair() {
	from := c.from.header.Get(headerVersion)
	if from == "" || c.made == "" || c.another.Load() || from == nullVersion || c.made == nullVersion {
		return
	}
	c.r.pairs.note(pairKey{c.bucket, c.key, from}, c.dst.name, c.made)
	c.r.pairs.note(pairKey{c.bucket, c.key, c.made}, c.src.name, from)
}

const headerVersion = "X-Amz-Version-Id"

// recallMade adds to a task's writes to versions the ids that these have elsewhere, where the
// journal has the write that made them.
func recallMade(t *task.Task) {
	for i := range t.Writes {
		w := &t.Writes[i]
		id := versionID(w)
		if w.Aspect != task.Version || id == nullVersion {
			continue
		}
		for _, by := range slices.Concat(t.Writes, t.Rivals) {
			if !slices.Contains(slices.Collect(maps.Values(by.Made)), id) {
				continue
			}
			all := maps.Clone(by.Made)
			maps.DeleteFunc(all, func(_, its string) bool { return its == id || its == nullVersion })
			maps.Copy(all, w.ETags)
			w.ETags = all
		}
	}
}

// recall adds to a task's writes to versions the ids that these have elsewhere, where repair
// has made them.
func (p *pairs) recall(t *task.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range t.Writes {
		w := &t.Writes[i]
		if w.Aspect != task.Version {
			continue
		}
		ids := p.ofLocked(pairKey{t.Bucket, t.Key, versionID(w)})
		if len(ids) == 0 {
			continue
		}
		all := maps.Clone(ids)
		maps.Copy(all, w.ETags)
		w.ETags = all
	}
}
