package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	endParked              // for a person: see park and err
)

// result is what a run came to.
type result struct {
	end     end
	err     error
	park    task.ParkReason
	actions []string
	copied  int
	deleted int
	bytes   int64
	out     []string // backends that could not be asked, or take nothing
}

// maxRounds bounds how often one run looks and acts before it gives up for now.
const maxRounds = 6

// run is the way of one task about an object.
type run struct {
	r     *Repairer
	t     *task.Task
	know  *knowledge
	parts []*task.Write
	apart []string // lines of metadata that are aspects of their own
	// decided, unless nil, is a person's decision, which stands in place of the plan.
	decided *Decision
	held    bool   // the fence
	old     uint64 // backends that still have the bucket as it was before its removal: nothing is asked of them

	// What was seen and done in this run, by backend.
	given   []gift
	damaged []string // the ETag of content that is
	folded  []bool
	refused []string          // the object, and in which words
	gave    map[string]string // "?tagging 1": a part that a backend was given; "" where it has refused it, or lost it so
	result
}

// gift is what a copy has left at a target, and what it was a copy of.
type gift struct {
	etag   string // of the target's; "" is none
	from   *object
	source int
	extras extras
	gone   bool // it was deleted
}

func (r *Repairer) newRun(t *task.Task) *run {
	n := len(r.backends)
	return &run{r: r, t: t, given: make([]gift, n), damaged: make([]string, n), folded: make([]bool, n), refused: make([]string, n)}
}

// do makes the backends equal about the task's object.
func (r *Repairer) do(ctx context.Context, t *task.Task) (res result) {
	if t.Key == "" {
		return r.doBucket(ctx, t)
	}
	return r.newRun(t).all(ctx)
}

func (w *run) all(ctx context.Context) result {
	if !w.hold() {
		return result{end: endAgain}
	}
	if !w.renew() {
		w.release()
		return result{end: endAgain}
	}
	behind, parked, err := w.behindRemoval()
	if behind || err != nil {
		w.release()
		return behindResult(parked, err)
	}
	w.end, w.err = w.rounds(ctx)
	w.leaveOld()
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
	if w.r.o.Fence != nil && !w.r.o.DryRun {
		t, _, ok, err := w.r.o.Journal.Next(w.t.Place)
		if err != nil {
			w.r.journalFailed(err)
			return false
		}
		if !ok || taskID(&t) != taskID(w.t) {
			return false
		}
		if w.decided != nil && newestSeq(&t) != newestSeq(w.t) {
			return false // the decision was about something else
		}
		t.Place = w.t.Place
		*w.t = t
	}
	w.r.pairs.recall(w.t)
	recallMade(w.t)
	w.know = w.r.knowledgeOf(w.t)
	if w.decided == nil {
		w.parts = partsOf(w.t)
	}
	w.apart = apartOf(w.parts, versionsOf(w.t))
	w.know.tagged = slices.Contains(w.apart, lineTags) || untagged(w.t)
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

// rounds looks, plans and acts until nothing is left to be done.
func (w *run) rounds(ctx context.Context) (end, error) {
	for range maxRounds {
		s, err := w.look(ctx)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return endFailed, err
		}
		p := w.plan(s)
		if p, err = w.orDeleted(ctx, p); err != nil {
			return endFailed, err
		}
		if p.action == actCopy && s.objects[p.source].sealed {
			p = parked(task.NeedsPerson, "it is encrypted with a key that only its client has (SSE-C): the client has to write it again")
		}
		switch {
		case p.park != "":
			return w.leave(s, p)
		case p.action == actNothing:
			acted, e, err := w.rest(ctx, s, p)
			if !acted && !errors.Is(err, errMoved) {
				return e, err
			}
			if !w.still() {
				return endAgain, nil
			}
			continue
		case w.r.o.DryRun:
			return w.would(s, p)
		}
		if p = w.allowed(p); len(p.targets) == 0 {
			return w.wait(s.errs)
		}
		if !w.still() {
			// A client has come, and what was seen may be its write: the task knows
			// nothing of that, and would have it undone.
			return endAgain, nil
		}
		if p.action == actCopy {
			err = w.copyAll(ctx, p, s)
		} else {
			err = w.deleteAll(ctx, p, s)
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

// plan is the content's. Where nothing of it is known, there is nothing to be done about
// it; where a version was deleted since, and nobody shows what stands, the versions tell.
func (w *run) plan(s *sight) plan {
	k := w.know
	switch {
	case w.decided != nil:
		return w.decided.plan(w.r, s.views)
	case k.stands == nil && len(k.rivals) == 0 && !k.lost && k.found == nil,
		k.byVersions(s.views), k.isUnmade(s.views):
		return plan{source: -1, wait: unseen(s.views) == len(s.views)}
	}
	p := w.nearer(planContent(k, s.views, w.r.policy), s)
	for _, part := range w.parts {
		if c := w.r.claimOf(part); p.action == actCopy && c.gone(s.views) {
			return k.settled(parked(task.Conflict, "?"+partNames[part.Aspect]+" was acknowledged, and where it was taken the object is gone"), s.views, w.r.policy)
		}
	}
	return p
}

// allowed leaves out the targets that take no writes for now.
func (w *run) allowed(p plan) plan {
	var targets []int
	for _, i := range p.targets {
		if b := w.r.backends[i]; w.r.mayWrite(b, w.t) {
			targets = append(targets, i)
		} else {
			w.out = append(w.out, b.name)
		}
	}
	p.targets = targets
	return p
}

// still reports whether no client has written the key since the fence was taken. One
// may do so between its end and its beginning; the journal knows then.
func (w *run) still() bool {
	seq := newestSeq(w.t)
	return w.release() && w.hold() && w.renew() && newestSeq(w.t) == seq
}

// newestSeq is that of the newest of all writes.
func newestSeq(t *task.Task) (seq uint64) {
	for w := range t.All() {
		seq = max(seq, w.Seq)
	}
	return seq
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
		if !errors.Is(err, errOut) && !errors.Is(err, errMaintained) && !errors.Is(err, errOld) {
			failed = err
		}
	}
	if failed != nil {
		return endFailed, failed
	}
	return endPartly, nil
}

// leave parks a key, with what each backend shows side by side.
func (w *run) leave(s *sight, p plan) (end, error) {
	w.park = p.park
	w.err = errors.New(p.why + ": " + w.heads(s))
	return endParked, w.err
}

// heads is what was acknowledged, and what each backend shows of the key.
func (w *run) heads(s *sight) string {
	var all []string
	if c := w.know.stands; c != nil {
		switch {
		case c.del:
			all = append(all, "acknowledged: a delete")
		case w.t.Key == "":
			all = append(all, "acknowledged: the bucket")
		default:
			all = append(all, fmt.Sprintf("acknowledged: %d B, ETag %q", c.size, c.etag))
		}
	}
	for i := range s.views {
		v, b := &s.views[i], w.r.backends[i]
		line := b.name + ": "
		switch {
		case v.is == unknown:
			line += "not known"
		case v.is == absent:
			line += "none"
		case w.t.Key == "" && v.hasName(lineLock):
			line += "there, with object lock"
		case w.t.Key == "":
			line += "there, without object lock"
		default:
			line += fmt.Sprintf("%d B, ETag %q", v.size, v.etag)
			if !v.modified.IsZero() {
				line += ", of " + v.modified.UTC().Format("2006-01-02 15:04:05") + " by its own clock"
			}
			if v.damaged {
				line += ", damaged"
			}
			if v.folded {
				line += ", another key's"
			}
		}
		if w.know.owes(i) {
			line += " (owes it)"
		}
		all = append(all, line)
	}
	return strings.Join(all, "; ")
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
	newest := w.t.Newest()
	if newest == nil {
		return
	}
	newest.Size = 0
	for _, o := range objects {
		if o != nil {
			newest.Size = o.size
			return
		}
	}
}
