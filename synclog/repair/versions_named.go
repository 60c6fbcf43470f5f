package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// A backend says yes to the delete of a version whose id it does not know, and the client is told
// so even if the backend that issued the id was out, or refused. Then only the id itself can tell:
// it is never issued twice, and while it is in a backend's list, the delete has not been done
// there.

// namedVersion is a version on one backend.
type namedVersion struct {
	backend int
	id      string
}

// pairedWith is the id that the version named by a write has on a backend, as the proxy has seen
// when it was made; "" if it is not known.
func (c *claim) pairedWith(i int) string {
	if i < len(c.etags) {
		return c.etags[i]
	}
	return ""
}

// planPaired finds where a version that was deleted for its client still exists under the id that
// it has on that backend, if that is known. Nothing else in the lists matters then. done reports
// that the id is known for each backend, and that all backends can be seen.
func planPaired(c *claim, id string, stacks [][]version, seen func(int) bool) (gone []namedVersion, done bool) {
	others := 0
	done = true
	for i := range stacks {
		paired := c.pairedWith(i)
		if paired == "" {
			others++ // who gave the id that the client knows
		} else if seen(i) && has(c.owed, i) && indexOf(stacks[i], paired) >= 0 {
			gone = append(gone, namedVersion{i, paired})
		}
		done = done && seen(i) && (paired != "" || indexOf(stacks[i], id) < 0)
	}
	return gone, done && others == 1
}

// planNamed finds where an acknowledged delete of a version has not been done at all: the backend
// that owes it has its id. There it is deleted last, after what the other backends have in its
// place, if they have the same versions: whatever ends the run in between, the id is still there
// to tell. leave is for a version that is there again.
func planNamed(c *claim, id string, stacks [][]version, seen func(int) bool) (gone []namedVersion, leave plan) {
	gone, _ = planPaired(c, id, stacks, seen)
	paired := len(gone)
	holder, at := -1, 0
	same := true
	for i := range stacks {
		if !seen(i) {
			same = false
			continue
		}
		found := indexOf(stacks[i], id)
		switch {
		case found < 0:
		case has(c.said, i):
			return nil, parked(task.Conflict, "version "+id+" was deleted, and has come back past the proxy")
		case has(c.owed, i):
			if holder >= 0 { // replicas of each other
				gone = append(gone, namedVersion{i, id})
			} else {
				holder, at = i, found
			}
		}
	}
	if holder < 0 {
		return gone, plan{}
	}
	for i := range stacks {
		if seen(i) {
			_, ok := counterpart(stacks[holder], stacks[i], id)
			same = same && ok
		}
	}
	if len(gone) == paired && same {
		for i := range stacks {
			if i != holder && has(c.owed, i) && c.pairedWith(i) == "" {
				gone = append(gone, namedVersion{i, stacks[i][at].id})
			}
		}
	}
	return append(gone, namedVersion{holder, id}), plan{}
}

// neverDone reports whether a delete of a version of which no client was told that it is done,
// as where that is locked, did nothing: the version is still there. Others that said yes do
// not know its id, unless they are replicas of that one.
func neverDone(c *claim, id string, stacks [][]version, seen func(int) bool) bool {
	if c.acked || id == nullVersion {
		return false
	}
	there, replicas := false, false
	ids := map[string]int{}
	for i := range stacks {
		if !seen(i) {
			continue
		}
		there = there || indexOf(stacks[i], id) >= 0
		for j := range stacks[i] {
			v := stacks[i][j].id
			other, known := ids[v]
			replicas = replicas || known && other != i && v != nullVersion
			ids[v] = i
		}
	}
	return there && !replicas
}

// orDeleted is p, unless that may give a backend for the second time what a client has deleted there: it had
// it late, and has told nobody its id. What an id was that nobody knows only the lists can tell: where
// nothing else that another backend has is missing, nor anything there that it has, it may have been that (R35).
func (w *run) orDeleted(ctx context.Context, p plan) (plan, error) {
	if w.decided != nil || !slices.ContainsFunc(p.targets, func(i int) bool { return has(w.know.revised, i) }) {
		return p, nil
	}
	stacks, errs := w.stacks(ctx)
	for _, target := range p.targets {
		deletes := w.deletesOfUnknown(target, stacks)
		for i := range stacks {
			switch err := cmp.Or(errs[target], errs[i]); {
			case len(deletes) == 0, slices.Contains(p.targets, i), errors.Is(err, errNoVersions), errors.Is(err, errNoBucket):
			case err != nil && errs[target] == nil && i != p.source:
			case err != nil:
				return p, err
			default:
				said := slices.DeleteFunc(slices.Clone(deletes), func(c claim) bool { return !has(c.said, i) })
				there := min(len(said), missing(stacks[i], stacks[target])) // by ids of its own
				if missing(stacks[target], stacks[i]) <= len(deletes)-there {
					return parked(task.NeedsPerson, "a version was deleted, and it may have been what was put last"), nil
				}
			}
		}
	}
	return p, nil
}

// deletesOfUnknown are the acknowledged deletes of versions that a backend has said yes to since what stands, by
// ids that are in no list and nobody knows.
func (w *run) deletesOfUnknown(target int, stacks [][]version) (deletes []claim) {
	for _, write := range versionsOf(w.t) {
		c, id := w.r.claimOf(write), versionID(write)
		known := id == nullVersion || c.etags != nil || slices.ContainsFunc(stacks, func(s []version) bool { return indexOf(s, id) >= 0 })
		if deletesVersion(write) && c.acked && has(c.said, target) && !known && (w.know.stands == nil || c.seq > w.know.stands.seq) {
			deletes = append(deletes, c)
		}
	}
	return deletes
}

// missing is how many versions of another stack this one has not.
func missing(stack, other []version) (n int) {
	stack = slices.Clone(stack)
	for i := range other {
		if at := slices.IndexFunc(stack, func(v version) bool { return v.same(&other[i]) }); at >= 0 {
			stack = slices.Delete(stack, at, at+1)
		} else {
			n++
		}
	}
	return n
}

// withoutPaired are the writes except for deletes that are known to be done everywhere, by the ids
// that the version had. exact reports that there were some.
func (w *run) withoutPaired(writes []*task.Write, stacks [][]version, seen func(int) bool) (rest []*task.Write, exact bool) {
	for _, write := range writes {
		c, id := w.r.claimOf(write), versionID(write)
		if c.acked && deletesVersion(write) && id != nullVersion {
			if gone, done := planPaired(&c, id, stacks, seen); done && len(gone) == 0 {
				exact = true
				continue
			}
		}
		rest = append(rest, write)
	}
	return rest, exact
}

// sameTops reports whether all backends have the same current version.
func sameTops(stacks [][]version) bool {
	for i := range stacks {
		switch a, b := stacks[0], stacks[i]; {
		case len(a) == 0 || len(b) == 0:
			if isThere(a) || isThere(b) {
				return false
			}
		case !a[0].same(&b[0]):
			return false
		}
	}
	return true
}

// isThere reports whether a key with these versions is visible.
func isThere(stack []version) bool { return len(stack) > 0 && !stack[0].marker }

// carryNamed deletes versions where planNamed finds them.
func (w *run) carryNamed(ctx context.Context, writes []*task.Write, stacks [][]version, seen func(int) bool) (acted bool, p plan, err error) {
	p.source = -1
	for _, write := range writes {
		c, id := w.r.claimOf(write), versionID(write)
		if !c.acked || !deletesVersion(write) || id == nullVersion {
			continue
		}
		gone, leave := planNamed(&c, id, stacks, seen)
		p = worse(p, leave)
		for _, v := range gone {
			did, leave, err := w.deleteVersion(ctx, v.backend, v.id)
			acted, p = acted || did, worse(p, leave)
			p.wait = p.wait || leave.wait
			if err != nil || leave.park != "" || leave.wait {
				return acted, p, err
			}
		}
		if acted { // the lists are old now
			return acted, p, nil
		}
	}
	return acted, p, nil
}

// deleteVersion permanently deletes one version on one backend.
func (w *run) deleteVersion(ctx context.Context, i int, id string) (acted bool, leave plan, err error) {
	b := w.r.backends[i]
	leave.source = -1
	switch {
	case w.r.o.DryRun:
		w.deleted++
		w.actions = append(w.actions, "would delete version "+id+" from "+b.name)
		return false, leave, nil
	case !w.r.mayWrite(b, w.t):
		leave.wait = true
		return false, leave, nil
	}
	if err := w.seal(); err != nil {
		return false, leave, err
	}
	version := []client.Param{{Name: "versionId", Value: id}}
	err = w.r.discardVersion(ctx, w.t, b, version)
	w.unseal()
	switch {
	case refusedLocked(err) && w.locked(ctx, b, version):
		return false, parked(task.NeedsPerson, fmt.Sprintf("version %s was deleted, and is locked on %q", id, b.name)), nil
	case err != nil && client.Status(err) != http.StatusNotFound:
		return false, leave, b.at(err)
	}
	w.r.wrote(b)
	w.deleted++
	w.actions = append(w.actions, "deleted version "+id+" from "+b.name)
	return true, leave, nil
}

// discardVersion deletes a version, or the object where there are none. A lock in its way is lifted or
// bypassed where what clients were told allows it.
func (r *Repairer) discardVersion(ctx context.Context, t *task.Task, b *backend, version []client.Param) error {
	req := client.Request{Method: http.MethodDelete, Bucket: t.Bucket, Key: t.Key, Query: version}
	_, err := b.Discard(ctx, &req)
	if len(version) > 0 && refusedLocked(err) && r.unlock(ctx, t, b, version[0].Value) {
		req.Header = bypass()
		_, err = b.Discard(ctx, &req)
	}
	return err
}

// refusedLocked reports whether a delete may have been refused because of a lock: S3 says AccessDenied,
// MinIO says InvalidRequest.
func refusedLocked(err error) bool {
	status := client.Status(err)
	return status == http.StatusForbidden || status == http.StatusBadRequest
}

// unlock lifts the lock of a version that was deleted. A retention in governance mode may be bypassed where
// the client that deleted the version did so. Else the lock has to be known to be old: the backend owes a
// change of it, and the backend that has taken both the change and the delete has found no lock in
// the delete's way. It reports whether that is so. Only by its paired id is a version known to be the same.
func (r *Repairer) unlock(ctx context.Context, t *task.Task, b *backend, id string) (old bool) {
	var deleted *task.Write
	for i := range t.Writes {
		w := &t.Writes[i]
		if w.Aspect != task.Version || !deletesVersion(w) || w.Unacknowledged {
			continue
		}
		if paired := w.ETags[b.name]; paired == id {
			deleted = w
		} else if paired != "" {
			continue // it is about another one
		}
		old = old || w.Carried&task.CarriedBypass != 0
	}
	for i := range t.Writes {
		w := &t.Writes[i]
		name := subresourceOf(w.Target)
		if deleted == nil || w.Aspect != task.Version || w.Method != http.MethodPut || w.Seq > deleted.Seq || w.ETags[b.name] != id || !slices.Contains(w.Owed, b.name) ||
			!slices.ContainsFunc(w.Took, func(giver string) bool { return deleted.ETags[giver] == "" && slices.Contains(deleted.Took, giver) }) {
			continue
		}
		switch name {
		case "legal-hold":
			err := r.writeDocument(ctx, t.Bucket, t.Key, name, &document{is: absent}, b, client.Param{Name: "versionId", Value: id})
			old = old || err == nil
		case "retention":
			old = true // in governance mode; the other one nobody can shorten
		}
	}
	return old
}

// bypassGovernance is what S3 wants of who shortens a retention in governance mode, or deletes in spite
// of it.
const bypassGovernance = "X-Amz-Bypass-Governance-Retention"

func bypass() http.Header { return http.Header{bypassGovernance: {"true"}} }

// locked reports whether a version must not be deleted, because of its legal hold or its
// retention.
func (w *run) locked(ctx context.Context, b *backend, version []client.Param) bool {
	if hold, err := b.getDocument(ctx, w.t.Bucket, w.t.Key, "legal-hold", version...); err == nil && hold.normal != "" {
		return true
	}
	doc, err := b.getDocument(ctx, w.t.Bucket, w.t.Key, "retention", version...)
	if err != nil {
		return false
	}
	_, until := cutSpace(doc.normal)
	at, err := time.Parse(time.RFC3339, until)
	return err == nil && at.After(w.r.o.Now())
}
