package repair

import (
	"context"
	"math"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// RunOnce tries every task of the journal that is older than its start, whatever its backoff, and
// returns when each has been resolved or tried, a few times if that can be done soon. The error is
// the journal's, or ctx's; failed tasks are counted in the summary.
func (r *Repairer) RunOnce(ctx context.Context) (Summary, error) {
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return Summary{}, err
	}
	defer end()
	r.counts.running.Store(true)
	defer r.counts.running.Store(false)

	s := tally{begun: r.o.Now()}
	start := uint64(s.begun.UnixNano()) //nolint:gosec // after 1970
	var seen Summary
	for n := range passesOnce {
		work := make(chan task.Task)
		workers := r.workers(ctx, work, &s)
		p := pass{work: work, force: n == 0, until: start}
		if n == 0 {
			p.sum = &seen
		}
		s.again.Store(0)
		err = r.scan(ctx, &p)
		close(work)
		workers.Wait()
		s.later = true
		if err != nil || s.again.Load() == 0 && s.Failed == 0 || n == passesOnce-1 {
			break
		}
		pause := time.Duration(n+1) * pauseOnce
		if s.again.Load() == 0 {
			if pause = r.soonest(ctx, start); pause > soonOnce {
				break
			}
		}
		if !sleep(ctx, pause) {
			break
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	sum := s.Summary
	sum.Parked += seen.Parked
	done := sum.Resolved + sum.Failed + sum.Parked
	sum.Seen = max(seen.Seen, done) // a later pass has met keys that clients were writing in the first
	sum.Left = sum.Seen - done
	return sum, err
}

// soonest is the time until one of the resting tasks may be tried again; for ever if none rests.
func (r *Repairer) soonest(ctx context.Context, until uint64) time.Duration {
	work := make(chan task.Task) // nobody takes from it
	p := pass{work: work, until: until, look: true}
	if err := r.scan(ctx, &p); err != nil || p.wakeAt.IsZero() {
		return math.MaxInt64
	}
	return max(p.wakeAt.Sub(r.o.Now()), pauseOnce)
}

// follow goes through the journal again and again.
func (r *Repairer) follow(ctx context.Context) {
	r.counts.running.Store(true)
	defer r.counts.running.Store(false)
	work := make(chan task.Task)
	workers := r.workers(ctx, work, nil)
	defer workers.Wait()
	defer close(work)
	for ctx.Err() == nil {
		p := pass{work: work}
		begun, before := time.Now(), r.counts.resolved.Load()
		if err := r.scan(ctx, &p); err != nil && ctx.Err() == nil {
			r.counts.failure(err)
			r.warnOnce("journal", "repair cannot go on for now", "error", err.Error())
		}
		if p.given > 0 && r.counts.resolved.Load() > before {
			continue
		}
		// Nothing to do, or nothing that can be done: the longer a look takes, the rarer it is.
		wait := min(max(r.o.IdleInterval, 10*time.Since(begun)), idleMost)
		if !p.wakeAt.IsZero() {
			wait = min(wait, max(p.wakeAt.Sub(r.o.Now()), r.o.IdleInterval/10))
		}
		r.rest(ctx, &p, wait)
	}
}

// rest waits until it is time for another look. Keys that somebody waits for are handed out
// meanwhile and cost no look: clients ask for them over and over.
func (r *Repairer) rest(ctx context.Context, p *pass, wait time.Duration) {
	timer, end := time.NewTimer(wait), time.Now().Add(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-r.kick:
			return
		case <-r.late: // or one was while the journal was gone through
			if due := max(r.o.LateWait, r.o.IdleInterval); due < time.Until(end) {
				end = time.Now().Add(due)
				timer.Reset(due)
			}
		case <-ctx.Done():
			return
		case <-r.asked:
			r.giveWanted(ctx, p)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
