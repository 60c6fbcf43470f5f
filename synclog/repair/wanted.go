package repair

import (
	"context"
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// maxWanted bounds how many keys are waited for at once. Those beyond it wait for the key's turn.
const maxWanted = 256

// wantedKey is a key that somebody waits for.
type wantedKey struct{ bucket, key string }

// Finder is a Journal that finds what is pending for a key. Next(place) returns it again.
type Finder interface {
	Find(bucket, key string) (t task.Task, place uint64, ok bool, err error)
}

// Prefer makes a follower take a key before all others, if the journal is a Finder: somebody is
// waiting for it. It does not wait itself.
func (r *Repairer) Prefer(bucket, key string) {
	if _, finds := r.o.Journal.(Finder); !finds {
		return
	}
	k := wantedKey{bucket, key}
	r.mu.Lock()
	known := len(r.wanted) >= maxWanted
	for i := range r.wanted {
		known = known || r.wanted[i] == k
	}
	if !known {
		r.wanted = append(r.wanted, k)
	}
	r.mu.Unlock()
	select {
	case r.asked <- struct{}{}:
	default: // it will look
	}
}

// unwant reports whether somebody is waiting for a task's key, which is about to be handed out.
func (r *Repairer) unwant(t *task.Task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.wanted, wantedKey{t.Bucket, t.Key})
	if i < 0 {
		return false
	}
	r.wanted = slices.Delete(r.wanted, i, i+1)
	return true
}

// giveWanted hands out the keys that are waited for, before the pass goes on with the oldest. One
// that has failed keeps its pause: otherwise it would be tried as often as a client asks.
func (r *Repairer) giveWanted(ctx context.Context, p *pass) {
	finder, finds := r.o.Journal.(Finder)
	if !finds || p.look {
		return
	}
	for ctx.Err() == nil {
		r.mu.Lock()
		if len(r.wanted) == 0 {
			r.mu.Unlock()
			return
		}
		k := r.wanted[0]
		r.wanted = append(r.wanted[:0], r.wanted[1:]...)
		r.mu.Unlock()
		t, place, ok, err := finder.Find(k.bucket, k.key)
		if err != nil || !ok || t.Parked != "" || t.NotBefore.After(r.o.Now()) {
			continue
		}
		if t.Place = place; r.waits(&t) || !r.take(&t) {
			continue
		}
		r.give(ctx, p, &t, true)
	}
}
