package repair

import (
	"slices"

	"github.com/akubra/akubra/synclog/task"
)

// part is what one backend has of a sub-resource of an object.
type part struct {
	is     presence // unknown: it does not say
	none   bool     // it does not know such documents at all
	normal string
	// object is what it has of the object: a part is not carried over to another one.
	object  *view
	refused bool // it was given it in this run
	lossy   bool // it is known not to keep it
	bare    bool // it shows no such document at all: not even one that says that there is none
	// late: it has the object by repair, or owes it: what it took of the part was for what it had before.
	late bool
}

func (p *part) same(o *part) bool {
	return (p.is == present) == (o.is == present) && (p.is != present || p.normal == o.normal)
}

// tellsMore reports whether p is the better source of the two: it has the part, or says that it has none.
func (p *part) tellsMore(o *part) bool {
	if p.is == present || o.is == present {
		return o.is != present
	}
	return o.bare && !p.bare
}

// planPart plans for one sub-resource of an object: each is carried over by itself, as it
// is now, from who took the newest write of it. In doubt, which is where a write of the content
// may have landed behind that one and taken the part away, who has the part goes before who has
// none, and nobody is known to have been changed.
func planPart(c *claim, parts []part, name string, doubt bool) plan {
	d := plan{action: actCopy, source: -1}
	equal, out, gone, forgot := true, false, true, false
	for i := range parts {
		p := &parts[i]
		forgot = forgot || p.lossy && has(c.took, i)
		if p.is == unknown && !p.none || p.object.is == unknown {
			out = true
			continue
		}
		gone = gone && p.object.is == absent
		equal = equal && p.object.is == parts[0].object.is && p.same(&parts[0])
		took := p.object.is == present && !p.none && !p.lossy && !has(c.owed, i) && (has(c.took, i) || c.took == 0 && c.acked)
		if took && (d.source < 0 || (doubt && !c.clears || isLock(name)) && p.tellsMore(&parts[d.source])) {
			d.source = i
		}
	}
	switch {
	case out && d.source < 0:
		return plan{source: -1, wait: true}
	case gone && !out:
		return plan{source: -1}
	case d.source < 0 && equal:
		return plan{source: -1} // of unknown outcome, and everywhere the same
	case d.source < 0:
		if c.acked && !doubt && forgot {
			return parked(task.NotKept, "?"+name+": the backend that took it does not keep it")
		} else if c.acked && !doubt {
			return parked(task.Conflict, "?"+name+" differs, and no backend is known to have the newest")
		}
		return planEither(parts, name)
	}
	source := &parts[d.source]
	if c.clears && c.acked && !doubt && source.is == present { // as it was restored, for example
		return parked(task.Conflict, "?"+name+" was deleted, and has come back past the proxy")
	}
	if source.bare && c.acked && !doubt && (name == "legal-hold" || isLock(name) && !equal) {
		if source.late {
			return parked(task.NeedsPerson, "?"+name+" was taken by a backend that had another object then")
		}
		return parked(task.NotKept, "?"+name+": the backend that took it shows none")
	}
	var leave plan
	for i := range parts {
		p := &parts[i]
		switch {
		case i == d.source || p.object.is == unknown || p.is == unknown && !p.none:
		case p.object.is == absent:
			leave = worse(leave, parked(task.Conflict, "the object that ?"+name+" belongs to is not there"))
		case !p.object.sameContent(source.object):
			leave = worse(leave, parked(task.Conflict, "the object that ?"+name+" belongs to is another one"))
		case p.same(source):
		case p.refused || p.none || p.lossy && source.is == present:
			leave = worse(leave, parked(task.NotKept, "?"+name))
		case has(c.owed, i) || doubt:
			d.targets = append(d.targets, i)
		case p.is != present:
			leave = worse(leave, parked(task.NotKept, "?"+name))
		default:
			leave = worse(leave, parked(task.Conflict, "?"+name+" was changed past the proxy"))
		}
	}
	switch {
	case len(d.targets) > 0:
		return d
	case leave.park != "":
		return leave
	}
	return plan{source: -1, wait: out && c.owed != 0 && outOwes(c, parts)}
}

// isLock reports whether a sub-resource is a lock. A backend that took one shows it as long as it has the object, even a
// hold that was lifted: if it shows none, it has not kept it, and no lock elsewhere is lifted because of that.
func isLock(name string) bool { return name == "retention" || name == "legal-hold" }

// gone reports whether an acknowledged part has gone with the object, on each backend that
// took it: a copy of the object would bring back what was there before the part was
// written, and make it the newest.
func (c *claim) gone(views []view) bool {
	for i := range views {
		if has(c.took, i) && views[i].is != absent {
			return false
		}
	}
	return c.acked && c.took != 0
}

// planEither is for a write of unknown outcome: both states are right; one that is there
// goes before none.
func planEither(parts []part, name string) plan {
	d := plan{action: actCopy, source: -1}
	for i := range parts {
		if parts[i].object.is == present && parts[i].is == present && d.source < 0 {
			d.source = i
		}
	}
	for i := range parts {
		p := &parts[i]
		switch {
		case d.source < 0 || i == d.source || p.same(&parts[d.source]):
		case p.object.is != present || !p.object.sameContent(parts[d.source].object):
			return parked(task.Conflict, "the object that ?"+name+" belongs to is not the same everywhere")
		case p.refused || p.none || p.lossy:
			return parked(task.NotKept, "?"+name)
		default:
			d.targets = append(d.targets, i)
		}
	}
	if len(d.targets) == 0 {
		return plan{source: -1}
	}
	return d
}

func outOwes(c *claim, parts []part) bool {
	for i := range parts {
		if has(c.owed, i) && (parts[i].object.is == unknown || parts[i].is == unknown && !parts[i].none) {
			return true
		}
	}
	return false
}

// version is one of a key's versions, or one of its delete markers.
type version struct {
	id     string
	marker bool
	etag   string
	size   int64
}

func (v *version) same(o *version) bool {
	return v.marker == o.marker && (v.marker || v.etag == o.etag && v.size == o.size)
}

// planVersions finds what was taken away from the one stack of versions and is still in
// the other: both from the newest to the oldest. ok is false where the other one differs
// in anything else than so many versions, which must include those with these ids where
// it has them: then it is for a person.
func planVersions(source, target []version, deleted []string) (gone []string, ok bool) {
	deleted = slices.DeleteFunc(slices.Clone(deleted), func(id string) bool {
		return id == nullVersion && indexOf(target, id) < 0 // all storages have the same name for it
	})
	if len(target) < len(source) || len(target)-len(source) > len(deleted) {
		return nil, false
	}
	sameIDs := true // the storages give the same ids: replicas of each other
	for i := range source {
		sameIDs = sameIDs && indexOf(target, source[i].id) >= 0
	}
	extra := len(target) - len(source)
	j := 0
	for i := range target {
		keep := j < len(source) && target[i].same(&source[j])
		if keep && sameIDs && len(source) > 0 {
			keep = target[i].id == source[j].id
		}
		// Among versions that look the same, one that was deleted by this id goes.
		if keep && len(gone) < extra && slices.Contains(deleted, target[i].id) && fits(source[j:], target[i+1:], extra-len(gone)-1) {
			keep = false
		}
		if keep {
			j++
			continue
		}
		gone = append(gone, target[i].id)
	}
	if j != len(source) || len(gone) != extra {
		return nil, false
	}
	others := slices.ContainsFunc(deleted, func(id string) bool { return id != nullVersion })
	if !others && slices.ContainsFunc(gone, func(id string) bool { return id != nullVersion }) {
		return nil, false
	}
	return gone, true
}

// nullVersion is the id of the version that was written without versions.
const nullVersion = task.NullVersion

// fits reports whether target is source with so many more.
func fits(source, target []version, more int) bool {
	if len(target)-len(source) != more {
		return false
	}
	j := 0
	for i := range target {
		if j < len(source) && target[i].same(&source[j]) {
			j++
		}
	}
	return j == len(source)
}

func indexOf(stack []version, id string) int {
	return slices.IndexFunc(stack, func(v version) bool { return v.id == id })
}

// counterpart is the version of target that one of source's is, where the stacks are the
// same; -1 where it is there no more.
func counterpart(source, target []version, id string) (at int, ok bool) {
	if len(source) != len(target) {
		return -1, false
	}
	for i := range source {
		if !source[i].same(&target[i]) {
			return -1, false
		}
	}
	return indexOf(source, id), true
}
