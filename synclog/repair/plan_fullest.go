package repair

import (
	"strings"

	"github.com/akubra/akubra/synclog/task"
)

// fullest is the source of a write among those that show it: one that has metadata, tags or a lock
// that the first one lacks, because that one may drop them, which nobody has noticed yet. The
// fuller backend must have taken the write as well, or what it has more must have been part of the
// write, so that the first one does drop it. It does not apply if another write has left the same
// bytes: then what is more may come from that one.
func fullest(c *claim, source int, claims []*claim, views []view) int {
	for i := range views {
		if !c.shownBy(i, &views[i]) || !views[i].keepsMore(&views[source]) || !has(c.said, i) && !(has(c.said, source) && c.drops(&views[source], &views[i])) {
			continue
		}
		if has(c.owed, i) && !has(c.owed, source) && views[i].hasOnlyTypeBefore(&views[source]) {
			continue
		}
		alone := true
		for _, other := range claims {
			alone = alone && (other == c || !other.shownBy(i, &views[i]))
		}
		if alone {
			source = i
		}
	}
	return source
}

// fuller is source, or another backend that shows the same content with more metadata, if both are right
// as far as is known: the rest may have been acknowledged before a write of unknown outcome, and source
// does not keep it.
func fuller(source int, views []view) int {
	for i := range views {
		if v := &views[i]; v.keepsMore(&views[source]) && !v.hasOnlyTypeBefore(&views[source]) {
			source = i
		}
	}
	return source
}

// keepsMore reports whether a view has metadata that another one of the same content lacks, and
// lacks none of the other's: the other backend may have dropped it.
func (v *view) keepsMore(o *view) bool {
	return v.sameContent(o) && v.hasAllNamesOf(o) && !o.hasAllNamesOf(v)
}

// hasOnlyTypeBefore reports whether a view has no more than a Content-Type that another one lacks:
// on a backend that may lack the write it may be a guess.
func (v *view) hasOnlyTypeBefore(o *view) bool {
	for line := range strings.Lines(v.meta) {
		if name, _, _ := strings.Cut(line, ":"); name != headerType && !o.hasName(name) {
			return false
		}
	}
	return true
}

// moreThan is the first name that a view has and another one lacks; "" where there is none.
func (v *view) moreThan(o *view) string {
	for line := range strings.Lines(v.meta) {
		if name, _, _ := strings.Cut(line, ":"); !o.hasName(name) {
			return name
		}
	}
	return ""
}

func (v *view) hasAllNamesOf(o *view) bool { return o.moreThan(v) == "" }

// drops reports whether everything that a view has more than that of a backend which took the
// write is of kinds that the write carried, and of which that backend has nothing.
func (c *claim) drops(took, more *view) bool {
	for line := range strings.Lines(more.meta) {
		name, _, _ := strings.Cut(line, ":")
		if kind := kindOf(name); !took.hasName(name) && (c.carried&kind == 0 || took.hasKind(kind)) {
			return false
		}
	}
	return true
}

// unlike parks what two backends that took the same content show otherwise beside it.
func (k *knowledge) unlike(v, source *view) plan {
	name, c := v.metaBut(source), k.stands
	switch {
	case c != nil && c.drops(v, source) && c.drops(source, v): // each of them another kind
		return parked(task.NotKept, "one backend has no "+v.moreThan(source)+", and another one no "+source.moreThan(v))
	case v.hasName(name):
		return parked(task.Conflict, "it has another "+name)
	}
	return parked(task.NotKept, name)
}

// told parks what would be closed as equal, if the write brought tags or metadata that no backend shows:
// those that took it have acknowledged what they do not keep, and there is nobody to copy it from (R35).
// A backend that took it and is out may still have it. It does not apply to locks, because an expired
// one cannot be seen, nor if another write without tags and metadata has left the same bytes.
func (k *knowledge) told(c *claim, claims []*claim, views []view, p plan) plan {
	if p.action != actNothing || p.park != "" || p.wait || !c.acked {
		return p
	}
	for _, kind := range []task.Carried{task.CarriedTags, task.CarriedMetadata} {
		if c.carried&kind == 0 || kind == task.CarriedTags && k.tagged {
			continue
		}
		kept, out := false, false
		for i := range views {
			kept = kept || views[i].hasKind(kind)
			out = out || has(c.said, i) && views[i].is == unknown
			for _, o := range claims {
				kept = kept || o != c && !o.del && o.carried&kind == 0 && o.etagAt(i) != "" && o.shownBy(i, &views[i])
			}
		}
		switch {
		case kept:
		case out:
			return plan{source: -1, wait: true}
		default:
			return parked(task.NotKept, kindNames[kind]+" that it was written with, of which no backend has anything")
		}
	}
	return p
}

var kindNames = map[task.Carried]string{task.CarriedTags: "tags", task.CarriedMetadata: "metadata"}

func (v *view) hasKind(kind task.Carried) bool {
	for line := range strings.Lines(v.meta) {
		if name, _, _ := strings.Cut(line, ":"); kindOf(name) == kind {
			return true
		}
	}
	return false
}

// kindOf is the kind of a line of metadata; 0 for what any backend may add by itself.
func kindOf(name string) task.Carried {
	switch name {
	case lineTags:
		return task.CarriedTags
	case lineHold, lineMode, lineDate:
		return task.CarriedLock
	case lineACL, headerType:
		return 0
	}
	return task.CarriedMetadata
}
