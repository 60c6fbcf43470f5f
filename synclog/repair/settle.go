package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/akubra/akubra/synclog/task"
)

// Decision is what a person decides about a key (akubra resolve); exactly one of its first four
// fields is set.
type Decision struct {
	Take   string // all shall have what this backend has, also where that is nothing
	Delete bool   // none shall have it
	Accept bool   // it stays as it is
	Newest bool   // all shall have what is the youngest by the backends' own clocks
	// OnlyParked: not if it is no longer parked, because there has been a write that the person
	// has not seen.
	OnlyParked bool
}

func (d *Decision) check(r *Repairer) error {
	n := 0
	for _, set := range []bool{d.Take != "", d.Delete, d.Accept, d.Newest} {
		if set {
			n++
		}
	}
	if n != 1 {
		return errors.New("cannot settle a key without one decision")
	}
	if _, known := r.index[d.Take]; d.Take != "" && !known {
		return fmt.Errorf("cannot take backend %q: there is none of that name", d.Take)
	}
	return nil
}

// plan is what follows from the decision, whatever was acknowledged.
func (d *Decision) plan(r *Repairer, views []view) plan {
	p := plan{action: actCopy, source: -1}
	switch {
	case unseen(views) > 0:
		return plan{source: -1, wait: true}
	case d.Delete:
		p.action = actDelete
	case d.Newest:
		for i := range views {
			if v := &views[i]; v.is == present && !v.damaged && !v.folded && (p.source < 0 || v.modified.After(views[p.source].modified)) {
				p.source = i
			}
		}
		if p.source < 0 {
			return parked(task.Lost, "no backend has it")
		}
	default:
		p.source = r.index[d.Take]
		switch v := &views[p.source]; {
		case v.is == absent:
			p.action = actDelete
		case v.damaged || v.folded:
			return parked(task.Damaged, "what is to be taken is not whole, or another key's")
		}
	}
	for i := range views {
		v := &views[i]
		switch {
		case v.refused != "" || v.folded: // it has what it can keep
		case p.action == actDelete && v.is == present, p.action == actCopy && !v.same(&views[p.source]):
			p.targets = append(p.targets, i)
		}
	}
	if len(p.targets) == 0 {
		p.action = actNothing
	}
	return p
}

// Settled is the result of a decision about a key; in a dry run, what the result would be.
type Settled struct {
	Task   task.Task
	Action string
	Done   bool // the key is closed
	Err    error
}

// ErrNotPending: there is nothing to settle.
var ErrNotPending = errors.New("nothing is pending for it")

// Settle applies a decision to one key of the journal; target is for a bucket's task, whose key is
// "".
func (r *Repairer) Settle(ctx context.Context, bucket, key, target string, d Decision) (Settled, error) {
	if err := d.check(r); err != nil {
		return Settled{}, err
	}
	t, ok, err := findTask(r.o.Journal, bucket, key, target)
	if err != nil {
		return Settled{}, fmt.Errorf("cannot read the journal: %w", err)
	}
	if !ok {
		return Settled{}, fmt.Errorf("cannot settle %q in bucket %q: %w", key, bucket, ErrNotPending)
	}
	if d.OnlyParked && t.Parked == "" {
		return Settled{}, fmt.Errorf("cannot settle %q in bucket %q: it is not parked any more", key, bucket)
	}
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return Settled{}, err
	}
	defer end()
	return r.settleOne(ctx, &t, d), nil
}

// SettleAll applies the same decision to all keys of the journal for which ok returns true, for
// example "parked with this reason". told is called for each, one after another.
func (r *Repairer) SettleAll(ctx context.Context, ok func(*task.Task) bool, d Decision, told func(Settled)) error {
	if err := d.check(r); err != nil {
		return err
	}
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	for cursor := uint64(0); ctx.Err() == nil; {
		t, next, more, err := r.o.Journal.Next(cursor)
		if err != nil {
			return fmt.Errorf("cannot read the journal: %w", err)
		}
		if !more {
			return nil
		}
		t.Place, cursor = next-1, next
		if ok(&t) {
			told(r.settleOne(ctx, &t, d))
		}
	}
	return ctx.Err()
}

// Parked is for SettleAll: all keys that are parked for this reason, or for any ("").
func Parked(reason task.ParkReason) func(*task.Task) bool {
	return func(t *task.Task) bool { return t.Parked != "" && (reason == "" || t.Parked == reason) }
}

func (r *Repairer) settleOne(ctx context.Context, t *task.Task, d Decision) Settled {
	var res result
	switch {
	case d.Accept:
		res.actions = []string{"left as it is"}
		if r.o.DryRun {
			res.actions[0] = "would be left as it is"
		}
	case t.Key == "":
		return Settled{Task: *t, Err: errors.New("a bucket's task can only be accepted: make the backends equal yourself before")}
	default:
		w := r.newRun(t)
		w.decided = &d
		res = w.all(ctx)
	}
	s := Settled{Task: *t, Action: res.action(), Err: res.err}
	switch {
	case res.end == endAgain:
		s.Err = errors.New("a client is writing it")
	case res.end == endPartly:
		s.Err = errors.New("a backend cannot be asked, or takes no writes")
	case res.end == endResolved && r.o.DryRun:
		s.Done = true
	case res.end == endResolved:
		s.Done, s.Err = r.o.Journal.Resolve(t)
		if s.Done && r.o.OnResolved != nil {
			r.o.OnResolved(*t, "settled: "+s.Action)
		}
		if !s.Done && s.Err == nil {
			s.Err = errors.New("a newer write has come")
		}
	}
	return s
}
