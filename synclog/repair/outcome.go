package repair

import (
	"context"
	"strings"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// settle records the result of a task.
func (r *Repairer) settle(ctx context.Context, t *task.Task, res result, s *tally) {
	c := &r.counts
	c.copied.Add(uint64(res.copied))   //nolint:gosec // never negative
	c.deleted.Add(uint64(res.deleted)) //nolint:gosec // never negative
	var sum Summary
	sum.Copied, sum.Deleted, sum.Bytes = res.copied, res.deleted, res.bytes
	switch res.end {
	case endResolved:
		r.resolve(t, &res, &sum)
	case endAgain:
		c.left.Add(1)
		if s != nil {
			s.again.Add(1)
		}
	case endPartly:
		r.keep(t, &res)
	case endParked:
		r.park(t, res.park, res.err, &sum)
	case endFailed:
		r.fail(ctx, t, res.err, &sum)
	}
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.Resolved += sum.Resolved
		s.Copied += sum.Copied
		s.Deleted += sum.Deleted
		s.Equal += sum.Equal
		s.Failed += sum.Failed
		s.Parked += sum.Parked
		s.Bytes += sum.Bytes
	}
}

func (r *Repairer) resolve(t *task.Task, res *result, sum *Summary) {
	if r.restLate(t) {
		r.counts.left.Add(1)
		return
	}
	if !r.o.DryRun {
		switch ok, err := r.o.Journal.Resolve(t); {
		case err != nil:
			r.journalFailed(err)
			return
		case !ok: // there is a newer write: it comes again
			r.counts.left.Add(1)
			return
		}
	}
	sum.Resolved++
	r.counts.resolved.Add(1)
	r.counts.recent.add(1, 0)
	if len(res.actions) == 0 {
		sum.Equal++
		r.counts.equal.Add(1)
	}
	if r.o.OnResolved != nil {
		r.o.OnResolved(*t, res.action())
	}
}

// keep leaves a task for the backends that are out: those that could be seen are equal. The return
// of the others ends the wait; until then it is not looked at often.
func (r *Repairer) keep(t *task.Task, res *result) {
	r.counts.left.Add(1)
	if r.o.DryRun {
		if r.o.OnResolved != nil && len(res.actions) > 0 {
			r.o.OnResolved(*t, res.action())
		}
		return
	}
	if r.waits(t) { // it costs nothing to come by again
		return
	}
	now := r.o.Now()
	t.LastError = "waiting for " + strings.Join(res.out, ", ")
	t.NotBefore = now.Add(min(max(now.Sub(unixNano(t.First))/8, 10*time.Second), idleMost))
	r.note(t)
}

// park leaves a task to a person.
func (r *Repairer) park(t *task.Task, reason task.ParkReason, err error, sum *Summary) {
	t.Parked, t.LastError, t.NotBefore = reason, err.Error(), time.Time{}
	if !r.note(t) { // a client has written it meanwhile, or its bucket is gone
		r.counts.left.Add(1)
		return
	}
	sum.Parked++
	r.counts.park(reason)
	r.counts.failure(err)
	if r.o.OnFailed != nil { // one line for each is enough
		r.o.OnFailed(*t, err)
		return
	}
	r.o.Log.Warn("a key is parked: repair does not go on with it by itself", "bucket", t.Bucket, "key", t.Key,
		"reason", string(reason), "tries", t.Tries, "error", t.LastError)
}

// fail finds out what caused a failure. One that is due to the backend uses up none of an object's
// tries.
func (r *Repairer) fail(ctx context.Context, t *task.Task, err error, sum *Summary) {
	if ctx.Err() != nil {
		return
	}
	r.counts.failure(err)
	if b := faultOf(err); b != nil && r.refusedWrite(ctx, b, t, err) {
		r.counts.left.Add(1)
		return
	}
	if b := faultOf(err); b != nil && backendFault(err) && r.suspect(ctx, b, err) || ctx.Err() != nil {
		r.counts.left.Add(1)
		return
	}
	if b := faultOf(err); b != nil && r.refusesBucket(ctx, b, t, err) {
		r.keep(t, &result{out: []string{b.name + ": " + err.Error()}})
		return
	}
	r.counts.failed.Add(1)
	t.Tries++
	if t.Tries >= r.o.MaxTries {
		r.park(t, task.Failed, err, sum)
		return
	}
	sum.Failed++
	t.LastError = err.Error()
	t.NotBefore = r.o.Now().Add(backoff(t.Tries, r.o.RetryBase, r.o.RetryMax))
	r.note(t)
	if r.o.OnFailed != nil {
		r.o.OnFailed(*t, err)
	}
}

func (r *Repairer) note(t *task.Task) (stands bool) {
	if r.o.DryRun {
		return true
	}
	ok, err := r.o.Journal.Note(t)
	if err != nil {
		r.journalFailed(err)
	}
	return ok || err != nil
}

func (r *Repairer) journalFailed(err error) {
	r.counts.failure(err)
	r.warnOnce("journal", "repair cannot write to the journal", "error", err.Error())
}

// warnOnce warns once about what would be the same for every key.
func (r *Repairer) warnOnce(id, msg string, keyvals ...any) {
	r.mu.Lock()
	_, told := r.told[id]
	r.told[id] = struct{}{}
	r.mu.Unlock()
	if !told {
		r.o.Log.Warn(msg, keyvals...)
	}
}
