package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/akubra/akubra/internal/words"
	"github.com/akubra/akubra/s3"
)

// Reads know who is behind (R30): a backend that owes what is asked for does not answer it.
// Which of the others are asked, and in which order, is ReadPolicy's; reads_race.go asks
// the next one where that is called for.

// Who is asked for a read, and what becomes of one that only backends can answer that owe
// what it asks for (R30).
const (
	ReadAll     = words.ReadAll
	ReadPrefer  = words.ReadPrefer
	ReadSpread  = words.ReadSpread
	ReadFastest = words.ReadFastest

	StaleRefuse = words.StaleRefuse
	StaleAllow  = words.StaleAllow
)

// checkReads looks at what is said of reads, and fills in what is not.
func (o *Options) checkReads() error {
	o.ReadPolicy, o.StaleReads = cmp.Or(o.ReadPolicy, ReadAll), cmp.Or(o.StaleReads, StaleRefuse)
	switch o.ReadPolicy {
	case ReadAll, ReadPrefer, ReadSpread, ReadFastest:
	default:
		return fmt.Errorf("cannot use ReadPolicy %q: it is none of %s, %s, %s, %s", o.ReadPolicy, ReadAll, ReadPrefer, ReadSpread, ReadFastest)
	}
	switch o.StaleReads {
	case StaleRefuse, StaleAllow:
	default:
		return fmt.Errorf("cannot use StaleReads %q: it is none of %s, %s", o.StaleReads, StaleRefuse, StaleAllow)
	}
	if o.HedgeAfter < 0 || o.HedgeBudget < 0 || o.HedgeBudget > 1 {
		return fmt.Errorf("cannot hedge after %v, %v of all reads", o.HedgeAfter, o.HedgeBudget)
	}
	if o.ReadFrom != nil && len(o.ReadFrom) != len(o.Backends) {
		return fmt.Errorf("cannot use %d weights for %d backends", len(o.ReadFrom), len(o.Backends))
	}
	return nil
}

// answerer is a backend as the routing of a read sees it.
type answerer struct {
	backend int
	weight  int    // ReadFrom
	owes    int    // of a listing: how many keys of the bucket; else 1 where it owes the key
	rank    uint64 // in the order of the bucket's backends (R28): the highest speaks first
	late    bool   // of a listing: writes that it waits for are under way to the backend
	decides bool   // at this moment its answer has to wait for a conditional write to the key
	latency int64  // ReadFastest: how long an answer takes, by experience; 0 if there is none
	dice    uint64 // ReadSpread: drawn anew for each read
}

// readPlan is who is asked for a read: the first of order at once, and the others one
// after another as far as they are needed.
type readPlan struct {
	order [MaxBackends]uint8
	n     int // backends in order
	first int // of these are asked at once
	fresh int // of these owe nothing of what is asked for; the rest is for StaleAllow
	// all: every backend speaks, and what one of them refuses is no answer as long as another
	// one may give it (R3).
	all bool
	// busy: the backends that are not asked at once are only busy (R13), so their answers count as much.
	busy bool
	// owed are the backends that owed what is asked for when it was planned, and decisions the
	// conditional writes that had been decided.
	owed, decisions uint64
	// lacking are the backends that lack some of a listing: one of them is asked after a failure, and not as a hedge.
	lacking uint64
	// Under the request's mu: whether the second one was asked because the first is slow, and
	// what the answers of legs say that have ended.
	hedged bool
	class  [MaxBackends]answerClass
}

// reset empties it.
func (p *readPlan) reset() {
	p.n, p.first, p.fresh, p.busy, p.owed, p.decisions, p.lacking, p.hedged = 0, 0, 0, false, 0, 0, 0, false
}

// note takes in what a leg has come to.
func (p *readPlan) note(l *leg) {
	if p.n > 0 {
		p.class[l.index] = l.answerClass()
	}
}

// route puts the backends that may answer a read into the order in which they are asked.
// listing: what is owed there makes nobody unfit, for a bucket has many keys, but whoever
// owes less comes first.
//
// It changes the order of list; else it is a pure function of its arguments.
func route(p *readPlan, policy, stale string, listing bool, list []answerer) {
	p.reset()
	p.all = policy == ReadAll
	slices.SortFunc(list, func(a, b answerer) int { return before(policy, &a, &b) })
	for i := range list {
		c := &list[i]
		if c.owes > 0 && !listing && stale != StaleAllow {
			continue
		}
		p.order[p.n] = uint8(c.backend)
		p.n++
		if listing || c.owes == 0 {
			p.fresh++
		}
	}
	p.first = min(1, p.n)
	if p.all {
		for p.first < p.fresh && list[p.first].isWhole() && list[0].isWhole() {
			p.first++
		}
	}
}

// isWhole reports whether it has everything that is asked for.
func (a *answerer) isWhole() bool { return a.owes == 0 && !a.late }

// before orders answerers: who owes less, then who is not late, then who need not wait for its own
// decision, then who is asked at all (weight 0 is for when there is nobody else), then by the policy.
func before(policy string, a, b *answerer) int {
	switch {
	case a.owes != b.owes:
		return cmp.Compare(a.owes, b.owes)
	case a.late != b.late:
		if a.late {
			return 1
		}
		return -1
	case a.decides != b.decides:
		if a.decides {
			return 1
		}
		return -1
	case (a.weight == 0) != (b.weight == 0):
		return cmp.Compare(b.weight, a.weight)
	}
	switch policy {
	case ReadSpread:
		if x, y := draw(a), draw(b); x != y {
			return cmp.Compare(x, y)
		}
	case ReadFastest:
		if a.latency != b.latency {
			return cmp.Compare(a.latency, b.latency)
		}
	}
	return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(b.rank, a.rank), cmp.Compare(a.backend, b.backend))
}

// draw is when an exponential clock of this weight would ring: the first to ring is each
// one as often as its weight says (Efraimidis and Spirakis 2006).
func draw(c *answerer) float64 {
	u := (float64(c.dice>>11) + 0.5) / (1 << 53)
	return -math.Log(u) / float64(max(c.weight, 1))
}

// isRouted reports whether the request reads what a write that a client was told of may
// have changed. What asks for one version is answered by who has it: an id is one
// backend's own (R28).
func (h *requestHead) isRouted() bool {
	return !h.write && h.kind == s3.KindPlain && !h.target.Version &&
		(h.method == "GET" || h.method == "HEAD" || h.target.Selects)
}

// decodedKey is the key as the journal knows it.
func (h *requestHead) decodedKey() []byte {
	if bytes.IndexByte(h.target.Key, '%') < 0 {
		return h.target.Key
	}
	return []byte(h.target.KeyName())
}

// owedOf is the set of backends that owe the key that is asked for.
func (r *request) owedOf() uint64 {
	j := r.e.o.Journal
	if j == nil {
		return 0
	}
	return j.Owed(r.head.target.Bucket, r.head.decodedKey()) & r.e.all
}

// owedPart is the set of backends that owe the part that is asked for: tags, an ACL, a bucket setting.
func (r *request) owedPart() uint64 {
	if f := r.e.o.OwedPart; f != nil && r.head.target.Sub {
		return f(r.head.target.Bucket, r.head.decodedKey(), r.head.raw) & r.e.all
	}
	return 0
}

// planRead says which backends of want are asked for a read, and in which order. While
// nothing is owed, and every one is asked, there is nothing to plan.
func (r *request) planRead(want uint64) (uint64, *s3Error) {
	e := r.e
	r.plan.decisions = e.writes.decisions.Load()          // before the journal is asked
	if !r.head.isRouted() || want|r.race.old() != e.all { // a page stays with its backend (R28)
		return want, nil
	}
	all := r.o.ReadPolicy == ReadAll
	listing := len(r.head.target.Key) == 0 && !r.head.target.Sub // or a setting of the bucket
	list := listingLack{patience: e.patientFor(e.o.briefWait / listingShare)}
	var settling briefPatience
	for p := e.brieflyPatient(); ; {
		deciding := r.beingDecided() // before the journal is asked: once it is decided that knows who lacks it
		quiet := e.o.Journal == nil || e.o.Journal.Quiet()
		if quiet && all && !deciding.shown {
			return want, nil
		}
		owed := deciding.unseen(e.all) | r.race.old()
		var counts []int
		var late uint64
		switch {
		case quiet:
		case listing:
			counts, late, owed = list.of(r)
		default:
			owed |= r.owedOf() | r.owedPart()
			if lack := owed | r.lackBucket(); e.inPool()&^lack != 0 {
				owed = lack
			}
		}
		if r.plan.owed = owed; owed == 0 && all {
			return want, nil
		}
		r.answerers = r.appendAnswerers(r.answerers[:0], owed, counts)
		if len(r.answerers) == 0 {
			return want, nil // takeSlots says so
		}
		for i := range r.answerers {
			bit := uint64(1) << r.answerers[i].backend
			r.answerers[i].late = late&bit != 0
			r.answerers[i].decides = deciding.set&^deciding.taken&bit != 0
		}
		route(&r.plan, r.o.ReadPolicy, r.o.StaleReads, listing, r.answerers)
		if r.plan.n > 0 {
			if r.answerers[0].late { // route has put them in order
				list.wait(e)
				continue
			}
			r.countAvoided(owed, r.answerers)
			if listing {
				r.plan.lacking = owed
			}
			break
		}
		patience := &p
		if !e.writes.underWay(hashOfTarget(&r.head.target)) { // or not any more, and the journal is about to have that
			patience = &settling
			if settling.until == 0 {
				settling = e.patientFor(e.o.briefWait / settlingShare)
			}
		}
		if !patience.wait(e) {
			e.o.Metrics.Read(ReadRefused)
			r.wantKey()
			return 0, errBehind
		}
	}
	p := &r.plan
	if r.head.hasBody() { // which is not kept for another one
		p.n, p.fresh = p.first, min(p.fresh, p.first)
	}
	return p.asked(), nil
}

// countAvoided counts a read that a backend in the pool would have answered which owes
// something.
func (r *request) countAvoided(owed uint64, list []answerer) {
	var pool uint64
	for i := range list {
		pool |= 1 << list[i].backend
	}
	if owed&pool != 0 && owed&r.plan.asked() == 0 {
		r.e.o.Metrics.Read(ReadAvoided)
	}
}

// asked are the backends that are asked at once.
func (p *readPlan) asked() (set uint64) {
	for _, b := range p.order[:p.first] {
		set |= 1 << b
	}
	return set
}

// appendAnswerers says of each backend in the pool what route goes by.
func (r *request) appendAnswerers(list []answerer, owed uint64, counts []int) []answerer {
	e := r.e
	explore := r.o.ReadPolicy == ReadFastest && uint64(r.head.id)%exploreEach == 0
	class := r.head.readClass()
	for b, backend := range e.o.Backends {
		if e.o.Limiter.State(b) != stateActive || r.race.old()&(1<<b) != 0 {
			continue
		}
		c := answerer{backend: b, weight: r.o.weight(b), rank: r.o.primaries.rank(r.head.target.Bucket, b)}
		switch {
		case counts != nil:
			c.owes = counts[b]
		case owed&(1<<b) != 0:
			c.owes = 1
		}
		switch r.o.ReadPolicy {
		case ReadSpread:
			c.dice = mix(uint64(r.head.id)*diceFactor, backend.Name())
		case ReadFastest:
			c.latency = int64(e.latencies[b][class].Median())
			if explore {
				c.latency = int64(mix(uint64(r.head.id)*diceFactor, backend.Name()) >> 1)
			}
		}
		list = append(list, c)
	}
	return list
}

// Under ReadFastest one read of so many goes to any backend, so that one that has become
// fast is found out: few enough to be beyond the 99th percentile.
const exploreEach = 256

// diceFactor makes ids that follow each other numbers that do not (Knuth, vol. 3, 6.4).
const diceFactor = 0x9e3779b97f4a7c15

// weight is a backend's in ReadFrom.
func (g *generation) weight(backend int) int {
	if g.ReadFrom == nil {
		return 1
	}
	return g.ReadFrom[backend]
}

// wantKey tells repair that a client waits for the key.
func (r *request) wantKey() {
	if f := r.e.o.Wanted; f != nil && len(r.head.target.Key) > 0 {
		f(string(r.head.target.Bucket), string(r.head.decodedKey()))
	}
}

// setReadLegs makes a leg for each backend of the plan, in its order. Those beyond got,
// which the limiter gave slots of, are held until they are needed; one that has left the
// pool just now is left out.
func (r *request) setReadLegs(got uint64, slots *[MaxBackends]int32) {
	p := &r.plan
	q := *p
	p.n, p.first, p.fresh = 0, 0, 0
	r.legs = r.legs[:q.n]
	for i, b := range q.order[:q.n] {
		asked := i < q.first
		if asked && got&(1<<b) == 0 {
			continue
		}
		l := &r.legs[p.n]
		l.reset(r, p.n, int(b), slots[b])
		l.held = !asked
		p.order[p.n] = b
		p.n++
		if asked {
			p.first++
		}
		if i < q.fresh {
			p.fresh++
		}
	}
	r.legs = r.legs[:p.n]
	r.race.enter(p.n)
	r.race.hold(p.first)
	r.launched = p.first
}

// readers says which of the backends that a request is for are asked, with regard to what
// they owe of what it reads: of a copy that is its source.
func (r *request) readers(want uint64) (uint64, *s3Error) {
	r.awaitWritesIn()
	want, problem := r.besideRemoval(want)
	if problem != nil {
		return 0, problem
	}
	if want, problem = r.withSource(want); problem != nil {
		return 0, problem
	}
	r.awaitBucket(want)
	return r.planRead(want)
}
