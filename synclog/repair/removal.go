package repair

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// A bucket's acknowledged removal is done first where it is owed, whatever came after it: the bucket
// that is there is the old one. Only then is it made again there, and gets what was written since.

// removalOf is the acknowledged removal of a bucket that its task tells of: what stands, or the one that
// came before it, where the bucket was made again. nil: there is none.
func removalOf(t *task.Task) *task.Write {
	w := t.Of(task.Content)
	if t.Key != "" || w == nil || subresourceOf(t.Target) != "" {
		return nil
	}
	if w.Delete() {
		return w
	}
	for i := range t.Rivals {
		if e := &t.Rivals[i]; e.Delete() && !e.Unacknowledged && precedes(e, w) {
			return e
		}
	}
	return nil
}

// precedes reports whether a write's client was told before another one's write began.
func precedes(e, later *task.Write) bool {
	return e.Answered != 0 && e.Answered <= later.Seq || e.Settled != 0 && e.Settled <= later.Seq
}

// stillOld are the backends that have yet to do the removal, as in the journal's Removing. Backends that
// have taken a write of the bucket itself since, or at the same time, have the new bucket.
func (r *Repairer) stillOld(t *task.Task, removal *task.Write) uint64 {
	set := r.bits(removal.Owed) &^ r.bits(removal.Took)
	for w := range t.All() {
		if w.Aspect == task.Content && (!w.Delete() || w.Unacknowledged) {
			set &^= r.bits(w.Took)
		}
	}
	return set
}

// removeOld does a removal behind which the bucket was made again, where it is owed and as far as
// that can be done now. left are the backends where it is still to be done: what they show is the
// old bucket.
func (w *run) removeOld(ctx context.Context) (left uint64, err error) {
	removal := removalOf(w.t)
	if removal == nil || removal == w.t.Of(task.Content) {
		return 0, nil
	}
	left = w.r.stillOld(w.t, removal)
	var failed []error
	for i, b := range w.r.backends {
		switch {
		case !has(left, i), w.r.usable(b) != nil, w.r.o.DryRun, !w.r.mayWrite(b, w.t):
			continue
		}
		o, err := b.head(ctx, w.t.Bucket, "")
		if err == nil && o != nil {
			if err = w.removeBucket(ctx, i); err == nil {
				w.deleted++
				w.actions = append(w.actions, "deleted the old bucket from "+b.name)
			}
		}
		if err != nil {
			failed = append(failed, b.at(err))
			continue
		}
		left &^= 1 << i
	}
	if left == 0 && !w.r.o.DryRun {
		w.r.endKeys(w.t, removal.Seq)
	}
	var owed []string
	for i, b := range w.r.backends {
		if has(left, i) {
			owed = append(owed, b.name)
		}
	}
	if len(owed) < len(removal.Owed) && !w.r.o.DryRun {
		// Before it is made there, or a process that ends in between would remove the new one.
		removal.Owed = owed
		if _, err := w.r.o.Journal.Note(w.t); err != nil {
			return left, err
		}
	}
	return left, firstOf(failed)
}

// removeBucket deletes a bucket from a backend. Objects that prevent it, if the backend is known to owe
// something of them, went with the bucket: they are deleted first.
func (w *run) removeBucket(ctx context.Context, i int) error {
	b := w.r.backends[i]
	remove := func() error {
		_, err := b.Discard(ctx, &client.Request{Method: http.MethodDelete, Bucket: w.t.Bucket})
		if client.Status(err) == http.StatusNotFound {
			return nil
		}
		return err
	}
	err := remove()
	if client.HasCode(err, "BucketNotEmpty") {
		var emptied bool
		if emptied, err = w.empty(ctx, i); err == nil {
			if err = remove(); client.HasCode(err, "BucketNotEmpty") && !emptied {
				err = w.notEmpty(ctx, i, err)
			}
		}
	}
	if err != nil {
		return err
	}
	w.r.wrote(b)
	return nil
}

// empty deletes from a backend, in a bucket that was removed, all versions of each key that the backend
// owes something of: wherever all of that was done, the bucket was removed. It also deletes delete
// markers with nothing under them, which one backend may have alone, since nothing is lost with them.
// It leaves objects that the journal does not know, which were put there past the proxy.
func (w *run) empty(ctx context.Context, i int) (emptied bool, err error) {
	finder, finds := able[Finder](w.r.o.Journal)
	if !finds {
		return false, nil
	}
	b := w.r.backends[i]
	tasks := map[string]*task.Task{} // nil: it stays
	dropped := map[client.KeyVersion]bool{}
	for ctx.Err() == nil {
		page, err := b.BucketVersions(ctx, w.t.Bucket)
		if err != nil {
			return emptied, b.at(err)
		}
		did := false
		for k := range page {
			v := page[k]
			t, asked := tasks[v.Key]
			if !asked {
				if t, err = w.owing(finder, b, v.Key); err == nil && t == nil && v.Marker {
					t, err = w.bare(ctx, b, v.Key)
				}
				if err != nil {
					return emptied, err
				}
				tasks[v.Key] = t
			}
			if t == nil {
				continue
			}
			if dropped[v] {
				return emptied, b.errorf("still has %q in bucket %q, which was deleted there", v.Key, w.t.Bucket)
			}
			if err := w.dropVersion(ctx, t, b, &v); err != nil {
				return emptied, err
			}
			did, emptied, dropped[v] = true, true, true
		}
		if !did {
			return emptied, nil
		}
	}
	return emptied, ctx.Err()
}

// owing is the task of a key of which the backend owes a write, and not only a difference that verify
// has found; nil if there is none.
func (w *run) owing(finder Finder, b *backend, key string) (*task.Task, error) {
	t, _, ok, err := finder.Find(w.t.Bucket, key)
	if err != nil || !ok {
		return nil, err
	}
	w.r.pairs.recall(&t)
	recallMade(&t)
	for write := range t.All() {
		if write.Aspect != task.Found && slices.Contains(write.Owed, b.name) {
			return &t, nil
		}
	}
	return nil, nil
}

// bare is a task for a key of which a backend has nothing but delete markers, or nil.
func (w *run) bare(ctx context.Context, b *backend, key string) (*task.Task, error) {
	entries, err := b.Versions(ctx, w.t.Bucket, key)
	if err != nil {
		return nil, b.at(err)
	}
	if slices.ContainsFunc(entries, func(e client.VersionEntry) bool { return !e.Marker }) {
		return nil, nil
	}
	return &task.Task{Bucket: w.t.Bucket, Key: key}, nil
}

// dropVersion deletes a version for good.
func (w *run) dropVersion(ctx context.Context, t *task.Task, b *backend, v *client.KeyVersion) error {
	var version []client.Param
	if v.ID != "" {
		version = []client.Param{{Name: "versionId", Value: v.ID}}
	}
	err := w.r.discardVersion(ctx, t, b, version)
	if err != nil && client.Status(err) != http.StatusNotFound {
		return b.at(err)
	}
	w.deleted++
	w.actions = append(w.actions, fmt.Sprintf("deleted %q with the bucket from %s", v.Key, b.name))
	return nil
}

// notEmpty says what keeps a bucket from being removed.
func (w *run) notEmpty(ctx context.Context, i int, refusal error) error {
	b := w.r.backends[i]
	what := "it does not list what"
	if page, err := b.BucketVersions(ctx, w.t.Bucket); err == nil && len(page) > 0 {
		what = fmt.Sprintf("it has %q, of which nothing is known, or which is being written", page[0].Key)
	}
	return b.at(fmt.Errorf("%w: %s: %w", errNotEmpty, what, refusal))
}

var errNotEmpty = errors.New("cannot remove a bucket that is not empty")

// leaveForced parks a forced removal if the bucket is not empty where it is owed: its content was removed
// without being named, and repair does not force removals.
func (w *run) leaveForced(removal *task.Write, err error) (end, error) {
	if removal == nil || !removal.Unrepeatable || !errors.Is(err, errNotEmpty) {
		return endFailed, err
	}
	w.person("a write that cannot be repeated: %s: %w", removal.Method, err)
	return w.end, w.err
}

// doneByAll reports whether what stands is a removal that all backends owing it have confirmed: it is
// pending only because of the keys that went with the bucket.
func (w *run) doneByAll() bool {
	removal := w.t.Of(task.Content)
	return removal != nil && removal == removalOf(w.t) && !removal.Overlapped && len(w.t.Rivals) == 0 &&
		w.r.bits(removal.Owed)&^w.r.bits(removal.Took) == 0
}

// BucketFinder is a Journal that finds what is pending in a bucket without reading the rest.
type BucketFinder interface {
	NextIn(bucket string, cursor uint64) (t task.Task, next uint64, ok bool, err error)
}

// Removals is a Journal that knows at once of buckets whose removal is owed, or under way.
type Removals interface{ Removing(bucket string) bool }

// endKeys closes everything pending in a bucket, parked or not, from before its removal: the removal is
// done everywhere, and the keys went with the bucket.
func (r *Repairer) endKeys(bucket *task.Task, removal uint64) {
	next := func(cursor uint64) (task.Task, uint64, bool, error) { return r.o.Journal.Next(cursor) }
	if finder, finds := able[BucketFinder](r.o.Journal); finds {
		next = func(cursor uint64) (task.Task, uint64, bool, error) { return finder.NextIn(bucket.Bucket, cursor) }
	}
	for cursor := uint64(0); ; {
		t, after, ok, err := next(cursor)
		if err != nil {
			r.journalFailed(err)
		}
		if err != nil || !ok {
			return
		}
		t.Place, cursor = after-1, after
		if t.Bucket != bucket.Bucket || taskID(&t) == taskID(bucket) || newestSeq(&t) >= removal {
			continue
		}
		if done, err := r.o.Journal.Resolve(&t); err == nil && done && r.o.OnResolved != nil {
			r.o.OnResolved(t, "its bucket was removed")
		}
	}
}

// behindRemoval reports whether a task has to wait for the removal of its bucket: what was pending may have
// gone with it, and copying a key would make the bucket again. If the bucket was made again since, and the
// removal does not come soon, the others get what they lack meanwhile, and only the backends that still
// have the old one are left out (R17). parked: the removal is left to a person.
func (w *run) behindRemoval() (behind, parked bool, err error) {
	removals, knows := able[Removals](w.r.o.Journal)
	if knows && !removals.Removing(w.t.Bucket) {
		return false, false, nil
	}
	finder, finds := able[Finder](w.r.o.Journal)
	if !finds {
		return false, false, nil
	}
	t, _, ok, err := finder.Find(w.t.Bucket, "")
	switch {
	case err != nil:
		return false, false, err
	case !ok: // a client is at the bucket itself
		return knows, false, nil
	case taskID(&t) == taskID(w.t):
		return false, false, nil
	}
	removal := removalOf(&t)
	if removal == nil {
		return false, false, nil
	}
	old := w.r.stillOld(&t, removal)
	if old == 0 {
		return false, false, nil
	}
	madeAgain := removal != t.Of(task.Content) && len(t.Rivals) == 1 // in no doubt
	others := w.r.bits(w.t.Owed())&^old != 0
	if madeAgain && others && w.decided == nil && !w.r.isSoon(&t, old) && isSince(w.t, removal) {
		w.old = old
		return false, false, nil
	}
	return true, t.Parked != "", nil
}

// isSoon reports whether the removal of a bucket can be done now where it is owed.
func (r *Repairer) isSoon(t *task.Task, old uint64) bool {
	if t.Parked != "" || t.NotBefore.After(r.o.Now()) {
		return false
	}
	for i, b := range r.backends {
		if has(old, i) && r.usable(b) == nil && r.writable(b, t) {
			return true
		}
	}
	return false
}

// isSince reports whether all that is pending of a key was surely written to the bucket that was made again
// after this removal.
func isSince(t *task.Task, removal *task.Write) bool {
	for w := range t.All() {
		if w.Aspect == task.Found || w.Unacknowledged || !precedes(removal, w) {
			return false
		}
	}
	return true
}

// errOld stands for the answer of a backend that has yet to remove the old bucket.
var errOld = errors.New("repair: the backend still has the bucket as it was before its removal")

// usableBut is usable for a backend that may be one of old.
func (r *Repairer) usableBut(old uint64, i int) error {
	if has(old, i) {
		return errOld
	}
	return r.usable(r.backends[i])
}

// leaveOld keeps a key pending that is equal wherever the new bucket is, and says what it waits for.
func (w *run) leaveOld() {
	if w.old != 0 && (w.end == endResolved || w.end == endPartly) {
		w.end, w.out = endPartly, []string{oldBucket}
	}
}

const oldBucket = "the removal of the old bucket"

// behindResult leaves such a task for later: the removal comes soon, unless a person has to see to it.
func behindResult(parked bool, err error) result {
	switch {
	case err != nil:
		return result{end: endFailed, err: err}
	case parked:
		return result{end: endPartly, out: []string{oldBucket}}
	}
	return result{end: endAgain}
}
