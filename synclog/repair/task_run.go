package repair

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/akubra/akubra/synclog/task"
)

// end is what has become of a task for now.
type end uint8

const (
	endResolved end = iota // all are equal
	endAgain               // a client is at it, or has been: look again soon
	endPartly              // equal as far as can be seen, but a backend is out
	endFailed              // see err
	endReported            // nothing that repair does by itself
)

// result is what a run came to.
type result struct {
	end     end
	err     error
	actions []string
	copied  int
	deleted int
	bytes   int64
	out     []string // backends that could not be asked
}

// maxRounds bounds how often one run looks and acts before it gives up for now.
const maxRounds = 4

// run is the way of one task about an object.
type run struct {
	r     *Repairer
	t     *task.Task
	event event
	held  bool // the fence
	// given is what a target was given in this run.
	given []gift
	result
}

// gift is what a copy has left at a target, and what it was a copy of.
type gift struct {
	etag string // of the target's; "" is none
	from *object
}

// do makes the backends equal about the task's object.
func (r *Repairer) do(ctx context.Context, t *task.Task) (res result) {
	if t.Key == "" {
		return r.doBucket(ctx, t)
	}
	w := &run{r: r, t: t, given: make([]gift, len(r.backends))}
	if !w.hold() {
		return result{end: endAgain}
	}
	if !w.renew() {
		w.release()
		return result{end: endAgain}
	}
	w.event = eventOf(t)
	w.end, w.err = w.rounds(ctx)
	if !w.release() && w.end != endFailed {
		// What was decided and done may be about something that is gone, and the
		// journal knows of newer things than this task does.
		w.end = endAgain
	}
	return w.result
}

func (w *run) hold() bool {
	w.held = w.r.o.Fence == nil || w.r.o.DryRun || w.r.o.Fence.Begin(w.t.Bucket, w.t.Key)
	return w.held
}

// renew reads the task again, now that the fence tells of whatever comes: a write
// since the journal gave it would not be known, and so undone.
func (w *run) renew() bool {
	if w.r.o.Fence == nil || w.r.o.DryRun {
		return true
	}
	t, _, ok, err := w.r.o.Journal.Next(w.t.Place)
	if err != nil {
		w.r.journalFailed(err)
		return false
	}
	if !ok || taskID(&t) != taskID(w.t) {
		return false
	}
	t.Place = w.t.Place
	*w.t = t
	return true
}

func (w *run) release() (clean bool) {
	if !w.held {
		return false
	}
	w.held = false
	return w.r.o.Fence == nil || w.r.o.DryRun || w.r.o.Fence.End(w.t.Bucket, w.t.Key)
}

// seal keeps clients from writing the key while a backend is changed, and unseal
// lets them again.
func (w *run) seal() error {
	if w.r.o.Fence == nil || w.held && w.r.o.Fence.Seal(w.t.Bucket, w.t.Key) {
		return nil
	}
	return errMoved
}

func (w *run) unseal() {
	if w.r.o.Fence != nil && w.held {
		w.r.o.Fence.Unseal(w.t.Bucket, w.t.Key)
	}
}

// rounds looks, decides and acts until nothing is left to be done.
func (w *run) rounds(ctx context.Context) (end, error) {
	for range maxRounds {
		objects, errs := w.r.observe(ctx, w.t.Bucket, w.t.Key)
		states, err := w.states(ctx, objects, errs)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return endFailed, err
		}
		d := decide(states, w.event)
		if w.r.o.DryRun {
			return w.plan(ctx, d, errs)
		}
		switch d.action {
		case actResolve:
			w.noteSize(objects)
			return endResolved, nil
		case actWait:
			return w.wait(errs)
		}
		if !w.still() {
			// A client has come, and what was seen may be its write: the task knows
			// nothing of that, and would have it undone.
			return endAgain, nil
		}
		switch d.action {
		case actSub:
			err = w.syncSub(ctx, d)
			if err == nil {
				if d.complete {
					w.noteSize(objects)
					return endResolved, nil
				}
				return w.wait(errs)
			}
		case actCopy:
			err = w.copyAll(ctx, d, objects)
		case actDelete:
			err = w.deleteAll(ctx, d, objects)
		}
		if err != nil && !errors.Is(err, errMoved) {
			return endFailed, err
		}
		if err != nil && !w.still() {
			return endAgain, nil
		}
	}
	return endFailed, fmt.Errorf("cannot make %q equal: it still differs after %d rounds", w.t.Key, maxRounds)
}

// still reports whether no client has written the key since the fence was taken. One
// may do so between its end and its beginning; the journal knows then.
func (w *run) still() bool {
	seq := w.t.Newest().Seq
	return w.release() && w.hold() && w.renew() && w.t.Newest().Seq == seq
}

// wait is for backends that cannot be asked. What one of them said about this very
// key is the key's failure.
func (w *run) wait(errs []error) (end, error) {
	var failed error
	for i, err := range errs {
		if err == nil {
			continue
		}
		w.out = append(w.out, w.r.backends[i].name)
		if !errors.Is(err, errOut) && !errors.Is(err, errMaintained) {
			failed = err
		}
	}
	if failed != nil {
		return endFailed, failed
	}
	return endPartly, nil
}

// action is what was done, in words.
func (res *result) action() string {
	if len(res.actions) == 0 {
		return "equal"
	}
	return strings.Join(res.actions, ", ")
}

// noteSize gives a task the size of the object that all have now, 0 where it is gone
// (R16).
func (w *run) noteSize(objects []*object) {
	w.t.Newest().Size = 0
	for _, o := range objects {
		if o != nil {
			w.t.Newest().Size = o.size
			return
		}
	}
}
