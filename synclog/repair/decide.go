package repair

import "time"

// presence is what a backend says of a key.
type presence uint8

const (
	unknown presence = iota // it gave no answer, or is not asked
	absent
	present
)

// state is what one backend has of a key.
type state struct {
	is       presence
	etag     string // without quotes
	size     int64
	modified time.Time // by this machine's clock; zero: not known
	// meta stands for the metadata, as far as all backends can hold it.
	meta string
	// content, unless 0, stands for content that was compared byte by byte: two
	// states with the same number have the same, whatever their ETags.
	content int
	// owed: the journal says that the backend may lack a write.
	owed bool
}

// same reports whether two backends have the same object.
func (s *state) same(o *state) bool {
	return s.is == o.is && (s.is != present ||
		s.size == o.size && s.meta == o.meta && (s.etag == o.etag || s.content != 0 && s.content == o.content))
}

// eventKind is what the newest write was.
type eventKind uint8

const (
	eventUnknown eventKind = iota // not journaled, or never acknowledged
	eventWrite
	eventDelete
	eventSub // a write to ?acl, ?tagging, …: the content stands as it is
)

// event is the newest write that the journal knows.
type event struct {
	kind eventKind
	etag string // "" where not known
	// limit is the time after which a change cannot be from the event or an
	// earlier write: it is a newer one, made past the journal.
	limit time.Time
	// doubt: a write that nobody was told of may have replaced the newest one.
	doubt bool
}

// action is what is to be done about a key.
type action uint8

const (
	actWait    action = iota // more has to be known first
	actResolve               // all are equal
	actCopy                  // source to targets
	actDelete                // at targets
	actSub                   // equal as objects; their subresources are to be compared
)

// decision is what decide has come to. complete tells that all backends are
// known: else the task stays, whatever is done for now.
type decision struct {
	action   action
	source   int
	targets  []int
	complete bool
}

// decide tells what makes backends equal. It acts on what they have; the event
// only tells which of it is right.
//
// Where a backend is unknown, only what the event proves is acted on: what is
// merely the youngest of those that can be seen may be older than what cannot,
// and a copy of it would look younger than that.
//
// It is a pure function of its arguments.
func decide(states []state, e event) decision {
	d := decision{complete: true, source: -1}
	first, equal := -1, true
	for i := range states {
		switch {
		case states[i].is == unknown:
			d.complete = false
		case first < 0:
			first = i
		case !states[first].same(&states[i]):
			equal = false
		}
	}
	switch {
	case first < 0:
		return d
	case equal && e.kind == eventSub && states[first].is == present:
		// Only who took the write is sure to have it.
		if source := best(states, isPresent, true); d.complete || !states[source].owed {
			d.action, d.source = actSub, source
		}
		return d
	case equal:
		if d.complete {
			d.action = actResolve
		}
		return d
	}
	if e.kind == eventDelete {
		d.decideDelete(states, e)
	} else {
		d.decideWrite(states, e)
	}
	return d
}

func (d *decision) decideDelete(states []state, e event) {
	gone := false
	for i := range states {
		gone = gone || states[i].is == absent
	}
	switch newer := newest(states, e); {
	case newer >= 0:
		// It was made anew, past the journal.
		d.copyFromYoungest(states, newer)
	case gone:
		d.action = actDelete
		for i := range states {
			if states[i].is == present {
				d.targets = append(d.targets, i)
			}
		}
	default:
		// Nobody has deleted it that can be asked: it was made anew everywhere,
		// or who has is out.
		d.copyFromYoungest(states, best(states, isPresent, false))
	}
}

func (d *decision) decideWrite(states []state, e event) {
	holds := func(s *state) bool {
		return s.is == present && e.kind == eventWrite && e.etag != "" && s.etag == e.etag
	}
	if holder := best(states, holds, true); holder >= 0 {
		// Copies of it look younger than it is: the oldest counts.
		since := states[holder].modified
		for i := range states {
			if s := &states[i]; holds(s) && s.modified.Before(since) {
				since = s.modified
			}
		}
		since = later(since, e.limit)
		newer := best(states, func(s *state) bool { return isPresent(s) && !holds(s) && s.modified.After(since) }, false)
		if newer >= 0 && !e.limit.IsZero() {
			d.copyFromYoungest(states, newer)
		} else {
			d.copyFrom(states, holder)
		}
		return
	}
	if newer := newest(states, e); newer >= 0 {
		d.copyFromYoungest(states, newer)
		return
	}
	if e.doubt && d.complete && d.fromTaker(states) {
		return
	}
	// Who is not owed anything has taken every write that the journal knows.
	trusted := e.kind == eventSub || e.kind == eventWrite && e.etag == ""
	if trusted {
		took := best(states, func(s *state) bool { return s.is == present && !s.owed }, false)
		if took >= 0 {
			d.copyFrom(states, took)
			return
		}
	}
	d.copyFromYoungest(states, best(states, isPresent, false))
}

// fromTaker goes by a backend that has taken every acknowledged write, whatever it
// has now: that is of a later write, perhaps of a delete. The others have something
// older.
func (d *decision) fromTaker(states []state) bool {
	took := best(states, func(s *state) bool { return isPresent(s) && !s.owed }, false)
	if took >= 0 {
		d.copyFrom(states, took)
		return true
	}
	for i := range states {
		if states[i].is == absent && !states[i].owed {
			took = i
		}
	}
	if took < 0 {
		return false
	}
	d.action = actDelete
	for i := range states {
		if states[i].is == present {
			d.targets = append(d.targets, i)
		}
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func isPresent(s *state) bool { return s.is == present }

// newest is the youngest object that must be newer than the event, or -1.
func newest(states []state, e event) int {
	if e.kind == eventUnknown || e.limit.IsZero() {
		return -1
	}
	return best(states, func(s *state) bool { return s.is == present && s.modified.After(e.limit) }, false)
}

// granule is how exactly storages tell when an object was modified.
const granule = time.Second

// best is the youngest of the backends that ok says yes of, or -1; of those that
// are as young: who is not owed, then whose object most have, then the first.
// With trust, who is not owed comes before who is young.
func best(states []state, ok func(*state) bool, trust bool) int {
	b := -1
	for i := range states {
		if s := &states[i]; ok(s) && (b < 0 || better(states, i, b, trust)) {
			b = i
		}
	}
	return b
}

func better(states []state, i, j int, trust bool) bool {
	a, b := &states[i], &states[j]
	if trust && a.owed != b.owed {
		return !a.owed
	}
	switch age := a.modified.Sub(b.modified); {
	case age > granule:
		return true
	case age < -granule:
		return false
	case a.owed != b.owed:
		return !a.owed
	}
	return agreeing(states, i) > agreeing(states, j)
}

func agreeing(states []state, i int) (n int) {
	for j := range states {
		if states[i].same(&states[j]) {
			n++
		}
	}
	return n
}

// copyFrom makes every known backend that differs from source a target.
func (d *decision) copyFrom(states []state, source int) {
	if source < 0 {
		return
	}
	d.action, d.source = actCopy, source
	for i := range states {
		if states[i].is != unknown && !states[i].same(&states[source]) {
			d.targets = append(d.targets, i)
		}
	}
	if len(d.targets) == 0 {
		d.action, d.source = actWait, -1
	}
}

// copyFromYoungest is copyFrom where only age speaks for the source: all of them
// have to be known then.
func (d *decision) copyFromYoungest(states []state, source int) {
	if d.complete {
		d.copyFrom(states, source)
	}
}
