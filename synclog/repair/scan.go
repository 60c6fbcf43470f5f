package repair

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

const (
	// passesOnce is how often RunOnce goes through the journal: for keys that a client was
	// writing, and for those that failed and may be tried again soon.
	passesOnce = 5
	pauseOnce  = 100 * time.Millisecond
	soonOnce   = 5 * time.Second
	// idleMost bounds the pause between two looks at the journal.
	idleMost = time.Minute
)

// tally counts what RunOnce's summary reports.
type tally struct {
	mu sync.Mutex
	Summary
	again atomic.Int64 // tasks of this pass that a client was at
	begun time.Time
	later bool // not the first pass
}

// pass is one way through the journal, from the oldest task to the youngest.
type pass struct {
	work   chan<- task.Task
	force  bool      // whatever the backoff says
	look   bool      // give nothing out
	until  uint64    // end at what is younger; 0: never
	sum    *Summary  // nil: nobody wants to know
	given  int       // tasks handed to workers
	wakeAt time.Time // the earliest NotBefore of those that rest
	beside beside    // see giveBeside
}

func (r *Repairer) scan(ctx context.Context, p *pass) error {
	begun := r.o.Now()
	for cursor := uint64(0); ctx.Err() == nil; {
		r.giveWanted(ctx, p)
		t, next, ok, err := r.o.Journal.Next(cursor)
		if err != nil {
			return fmt.Errorf("cannot read the journal: %w", err)
		}
		if !ok {
			if !p.look {
				r.passed(begun)
			}
			return nil
		}
		t.Place, cursor = next-1, next
		if p.until != 0 && t.First > p.until {
			return nil
		}
		if p.sum != nil {
			p.sum.Seen++
		}
		switch {
		case t.Parked != "" && !r.o.RetryParked:
			if p.sum != nil {
				p.sum.Parked++
			}
			continue
		case !p.force && t.NotBefore.After(r.o.Now()), p.look && !t.NotBefore.IsZero():
			if p.wakeAt.IsZero() || t.NotBefore.Before(p.wakeAt) {
				p.wakeAt = t.NotBefore
			}
			continue
		case p.look || r.waits(&t) || !r.take(&t):
			continue
		}
		r.give(ctx, p, &t, false)
	}
	return ctx.Err()
}

// give hands a task that was taken to a worker; one that somebody waits for does not wait for
// room.
func (r *Repairer) give(ctx context.Context, p *pass, t *task.Task, wanted bool) {
	p.given++
	if wanted {
		r.enter(t, true)
	} else if !r.admit(ctx, p, t) {
		r.putBack(t)
		return
	}
	select {
	case p.work <- *t:
	case <-ctx.Done():
		r.putBack(t)
	}
}

// waits reports whether nothing can be done about a task because backends are out: then it costs
// no request.
func (r *Repairer) waits(t *task.Task) bool {
	usable, owedUsable, owed := 0, 0, 0
	lacking := t.Owed()
	for i, b := range r.backends {
		can := r.usable(b) == nil
		takes := can && r.writable(b, t)
		if can {
			usable++
		}
		if slices.Contains(lacking, r.backends[i].name) {
			owed++
			if takes {
				owedUsable++
			}
		}
	}
	return usable < 2 || owed > 0 && owedUsable == 0
}

func taskID(t *task.Task) string {
	if t.Key == "" {
		return t.Bucket + "\x00" + t.Target
	}
	return t.Bucket + "\x00\x00" + t.Key
}

// take keeps two workers from working on the same key.
func (r *Repairer) take(t *task.Task) bool {
	id := taskID(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.inFlight[id]; taken {
		return false
	}
	r.inFlight[id] = nil
	r.counts.inFlight.Add(1)
	return true
}

// letGo ends the work on a task, and putBack what take began if there was none.
func (r *Repairer) letGo(t *task.Task)   { r.leave(r.untake(t)) }
func (r *Repairer) putBack(t *task.Task) { r.unenter(r.untake(t)) }

func (r *Repairer) untake(t *task.Task) (gates []int) {
	r.mu.Lock()
	gates = r.inFlight[taskID(t)]
	delete(r.inFlight, taskID(t))
	r.mu.Unlock()
	r.counts.inFlight.Add(-1)
	return gates
}

// workers starts the workers; they end when work is closed.
func (r *Repairer) workers(ctx context.Context, work <-chan task.Task, s *tally) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range r.workerCount() {
		wg.Go(func() {
			for t := range work {
				r.handle(ctx, &t, s)
			}
		})
	}
	return &wg
}

func (r *Repairer) handle(ctx context.Context, t *task.Task, s *tally) {
	defer r.letGo(t)
	if r.objects != nil && r.objects.Wait(ctx) != nil || ctx.Err() != nil {
		return
	}
	if s != nil && s.later && t.NotBefore.After(s.begun) {
		s.mu.Lock()
		s.Failed-- // as it did in an earlier pass
		s.mu.Unlock()
	}
	r.abortNoted(ctx, t)
	r.settle(ctx, t, r.do(ctx, t), s)
}
