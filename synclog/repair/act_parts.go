package repair

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// rest carries over what is not the content itself, which is settled as far as can be
// seen: sub-resources and writes to versions. acted tells that something was done, so that
// it has to be looked at again.
func (w *run) rest(ctx context.Context, s *sight, content plan) (acted bool, e end, err error) {
	wait := content.wait
	var leave plan
	if w.decided == nil {
		for _, part := range w.parts {
			did, p, err := w.carryPart(ctx, s, part)
			if err != nil {
				return false, endFailed, err
			}
			acted, wait, leave = acted || did, wait || p.wait, worse(leave, p)
		}
		did, p, err := w.carryVersions(ctx, s)
		if err != nil {
			return false, endFailed, err
		}
		acted, wait, leave = acted || did, wait || p.wait, worse(leave, p)
	}
	switch {
	case acted && !w.r.o.DryRun:
		return true, endAgain, nil
	case leave.park != "" && !wait:
		e, err = w.leave(s, leave)
		return false, e, err
	case wait:
		e, err = w.wait(s.errs)
		return false, e, err
	}
	w.noteSize(s.objects)
	return false, endResolved, nil
}

// carryPart carries over one sub-resource of an object.
func (w *run) carryPart(ctx context.Context, s *sight, write *task.Write) (acted bool, p plan, err error) {
	name := partNames[write.Aspect]
	c := w.r.claimOf(write)
	parts, docs, errs := w.partsOfAll(ctx, s, name)
	for i := range parts {
		gave, given := w.gave[fmt.Sprint("?", name, " ", i)]
		if parts[i].refused = given; gave != "" && parts[i].is == absent && parts[i].object.is == present {
			w.r.learn(w.r.backends[i], "?"+name) // it has said yes
		}
		if err := errs[i]; err != nil && s.errs[i] == nil {
			return false, p, err
		}
	}
	p = planPart(&c, parts, name, c.overlapped || w.know.stands != nil && w.know.stands.overlapped)
	if p.action != actCopy {
		return false, p, nil
	}
	p = w.allowed(p)
	if len(p.targets) == 0 {
		return false, plan{source: -1, wait: true}, nil
	}
	src := w.r.backends[p.source]
	for _, i := range p.targets {
		b := w.r.backends[i]
		did := "copied ?" + name + " from " + src.name + " to " + b.name
		if w.r.o.DryRun {
			w.copied++
			w.actions = append(w.actions, "would have "+did)
			continue
		}
		mark := fmt.Sprint("?", name, " ", i)
		w.give(mark, "")
		if err := w.seal(); err != nil {
			return false, p, err
		}
		err := w.r.writeDocument(ctx, w.t.Bucket, w.t.Key, name, &docs[p.source], b)
		w.unseal()
		switch {
		case errors.Is(err, errCannotTakeAway):
			return false, parked(task.NeedsPerson, err.Error()), nil
		case noLock(err): // of its bucket; others may have locks there
		case client.Unsupported(err), client.HasCode(err, "AccessControlListNotSupported"):
			w.r.learn(b, "?"+name)
		case err != nil:
			return false, p, err
		default:
			w.give(mark, docs[p.source].normal)
			w.r.wrote(b)
			w.copied++
			w.actions = append(w.actions, did)
		}
	}
	return true, plan{source: -1}, nil
}

// give notes that a backend was given a part in this run.
func (w *run) give(mark, normal string) {
	if w.gave == nil {
		w.gave = map[string]string{}
	}
	w.gave[mark] = normal
}

// carryVersions does on each backend that owes it what was done to a version, by its own
// id for it.
func (w *run) carryVersions(ctx context.Context, s *sight) (acted bool, p plan, err error) {
	writes := versionsOf(w.t)
	if len(writes) == 0 {
		return false, plan{source: -1}, nil
	}
	stacks, errs := w.stacks(ctx)
	p.source = -1
	gone := make([]bool, len(errs)) // the bucket: no write to a version did that
	for i, err := range errs {
		switch {
		case errors.Is(err, errNoBucket):
			gone[i], errs[i] = true, nil
		case errors.Is(err, errNoVersions):
			return false, parked(task.NeedsPerson, fmt.Sprintf("a write to a version, and backend %q does not list versions", w.r.backends[i].name)), nil
		case err != nil && s.errs[i] == nil:
			return false, p, err
		}
	}
	seen := func(i int) bool { return errs[i] == nil && !gone[i] }
	if acted, p, err = w.carryNamed(ctx, writes, stacks, seen); acted || err != nil || p.park != "" {
		return acted, p, err
	}
	writes = slices.DeleteFunc(writes, func(write *task.Write) bool {
		c := w.r.claimOf(write)
		return deletesVersion(write) && neverDone(&c, versionID(write), stacks, seen)
	})
	writes, exact := w.withoutPaired(writes, stacks, seen)
	wait := p.wait
	for target := range w.r.backends {
		var owed []*task.Write
		source, out, told := -1, false, false
		for _, write := range writes {
			c := w.r.claimOf(write)
			if !has(c.owed, target) || has(c.said, target) && !deletesVersion(write) {
				continue
			}
			owed = append(owed, write)
			told = told || has(c.said, target)
			// S3 says yes to a delete of an id that it does not know: who has the fewest
			// versions of those that said so has done it.
			for i := range stacks {
				switch {
				case i == target || !has(c.said, i) || gone[i]:
				case errs[i] != nil:
					out = true
				case source < 0 || len(stacks[i]) < len(stacks[source]):
					source = i
				}
			}
		}
		switch {
		case len(owed) == 0:
			continue
		case errs[target] != nil, source < 0 && out:
			p.wait = true
			continue
		case told && (source < 0 || len(stacks[target]) <= len(stacks[source])):
			continue // it is this one that has done it
		case source < 0:
			if !w.sameStacks(stacks) {
				p = worse(p, parked(task.NeedsPerson, "a write to a version of unknown outcome"))
			}
			continue
		}
		if w.t.VersionsLost {
			if !w.sameStacks(stacks) {
				p = worse(p, parked(task.NeedsPerson, "more writes to versions than are kept"))
			}
			continue
		}
		did, leave, err := w.carryTo(ctx, source, target, owed, stacks)
		if err != nil {
			return acted, p, err
		}
		acted, p, wait = acted || did, worse(p, leave), wait || leave.wait
	}
	p.wait = p.wait || wait
	if exact && !acted && p.park == "" && !p.wait && !sameTops(stacks) || anyDeletes(writes) && !acted && p.park == "" && !p.wait && !w.sameStacks(stacks) {
		p = parked(task.NeedsPerson, "a version was deleted, and the backends' versions are not the same since")
	}
	if w.know.byVersions(s.views) && !w.know.isUnmade(s.views) && !w.know.stands.del && !acted && w.deleted == 0 && p.park == "" && !p.wait && firstPresent(s.views) < 0 {
		// Whether it was the one that was put last, ids of storages do not tell.
		p = parked(task.NeedsPerson, "a version was deleted, or may have been, and no backend has what was put before")
	}
	return acted, p, nil
}

func anyDeletes(writes []*task.Write) bool {
	return slices.ContainsFunc(writes, deletesVersion)
}

func (w *run) sameStacks(stacks [][]version) bool {
	for i := range stacks {
		if _, same := counterpart(stacks[0], stacks[i], ""); !same {
			return false
		}
	}
	return true
}

// carryTo does to one backend's versions what was done to another one's.
func (w *run) carryTo(ctx context.Context, source, target int, owed []*task.Write, stacks [][]version) (acted bool, leave plan, err error) {
	b := w.r.backends[target]
	var deleted []string
	var others []*task.Write
	for _, write := range owed {
		if id := versionID(write); !deletesVersion(write) {
			others = append(others, write)
		} else if !slices.Contains(deleted, id) { // a slot may have left it a second time
			deleted = append(deleted, id)
		}
	}
	paired := func(write *task.Write) bool {
		c := w.r.claimOf(write)
		return indexOf(stacks[source], versionID(write)) >= 0 && indexOf(stacks[target], c.pairedWith(target)) >= 0
	}
	var gone []string
	ok := len(deleted) == 0 && !slices.ContainsFunc(others, func(write *task.Write) bool { return !paired(write) })
	if !ok {
		gone, ok = planVersions(stacks[source], stacks[target], deleted)
	}
	if !ok {
		return false, parked(task.NeedsPerson, fmt.Sprintf("a write to a version: %q has %d versions, and %q has %d, which are not the same but for that",
			w.r.backends[source].name, len(stacks[source]), b.name, len(stacks[target]))), nil
	}
	for _, id := range gone {
		did, leave, err := w.deleteVersion(ctx, target, id)
		acted = acted || did
		if err != nil || leave.park != "" || leave.wait {
			return acted, leave, err
		}
	}
	if acted || len(others) == 0 {
		return acted, leave, nil
	}
	for _, write := range others {
		did, more, err := w.carryVersionPart(ctx, source, target, write, stacks)
		if err != nil {
			return acted, leave, err
		}
		acted, leave = acted || did, worse(leave, more)
	}
	return acted, leave, nil
}

// carryVersionPart carries over a sub-resource of one version.
func (w *run) carryVersionPart(ctx context.Context, source, target int, write *task.Write, stacks [][]version) (acted bool, leave plan, err error) {
	name, id := subresourceOf(write.Target), versionID(write)
	at, same := counterpart(stacks[source], stacks[target], id)
	c := w.r.claimOf(write)
	if paired := indexOf(stacks[target], c.pairedWith(target)); paired >= 0 && indexOf(stacks[source], id) >= 0 {
		at, same = paired, true
	}
	switch {
	case same && at < 0:
		return false, plan{source: -1}, nil // it is there no more
	case !same || !s3.Subresources[name].Document:
		return false, parked(task.NeedsPerson, "a write to ?"+name+" of a version that cannot be carried over"), nil
	}
	src, b := w.r.backends[source], w.r.backends[target]
	there := client.Param{Name: "versionId", Value: stacks[target][at].id}
	want, err := src.getDocument(ctx, w.t.Bucket, w.t.Key, name, client.Param{Name: "versionId", Value: id})
	if err != nil {
		return false, leave, err
	}
	have, err := b.getDocument(ctx, w.t.Bucket, w.t.Key, name, there)
	if err != nil {
		return false, leave, err
	}
	mark := fmt.Sprint("?", name, " ", there.Value, " ", target)
	_, given := w.gave[mark]
	switch {
	case want.is == have.is && want.normal == have.normal:
		return false, plan{source: -1}, nil
	case given || have.is == unknown:
		w.r.learn(b, "?"+name)
		return false, parked(task.NotKept, "?"+name+" of a version"), nil
	case w.r.o.DryRun:
		w.copied++
		w.actions = append(w.actions, "would have copied ?"+name+" of a version from "+src.name+" to "+b.name)
		return true, plan{source: -1}, nil
	case !w.r.mayWrite(b, w.t):
		return false, plan{source: -1, wait: true}, nil
	}
	w.give(mark, want.normal)
	if err := w.seal(); err != nil {
		return false, leave, err
	}
	err = w.r.writeDocument(ctx, w.t.Bucket, w.t.Key, name, &want, b, there)
	w.unseal()
	switch {
	case errors.Is(err, errCannotTakeAway):
		return false, parked(task.NeedsPerson, err.Error()), nil
	case noLock(err):
		return false, parked(task.NotKept, "?"+name+" of a version"), nil
	case err != nil:
		return false, leave, err
	}
	w.r.wrote(b)
	w.copied++
	w.actions = append(w.actions, "copied ?"+name+" of a version from "+src.name+" to "+b.name)
	return true, plan{source: -1}, nil
}

// versionID is the id that a write was to.
func versionID(w *task.Write) string {
	raw, _ := paramOf(queryOf(w.Target), "versionId")
	if id, err := url.QueryUnescape(raw); err == nil {
		return id
	}
	return raw
}
