package repair

import (
	"context"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// beside is how far a pass has looked for keys of backends other than the one it is waiting for.
type beside struct {
	cursor uint64
	rest   time.Time // not before: there was none
}

const (
	// besideSteps bounds how many keys are read for that at a time, because each is a read of the
	// journal.
	besideSteps = 100
	besideRest  = time.Second
)

// giveBeside hands out keys for other backends from behind one that waits for room at its
// backend's gate, so that they need not wait for a slow backend. It does so a few at a time; the
// pass itself continues with the oldest key.
func (r *Repairer) giveBeside(ctx context.Context, p *pass, waiting *task.Task) {
	b := &p.beside
	if len(r.backends) < 3 || p.look || p.until != 0 || time.Now().Before(b.rest) {
		return
	}
	b.cursor = max(b.cursor, waiting.Place+1)
	for range besideSteps {
		t, next, ok, err := r.o.Journal.Next(b.cursor)
		if err != nil || ctx.Err() != nil {
			return
		}
		if !ok {
			*b = beside{rest: time.Now().Add(besideRest)}
			return
		}
		t.Place, b.cursor = next-1, next
		if t.Parked != "" && !r.o.RetryParked || t.NotBefore.After(r.o.Now()) || r.waits(&t) || !r.take(&t) {
			continue
		}
		if !r.enter(&t, false) {
			r.putBack(&t)
			continue
		}
		select {
		case p.work <- t:
			p.given++
		default: // all workers are busy: it is the next one
			r.putBack(&t)
			b.cursor = t.Place
			return
		}
	}
}
