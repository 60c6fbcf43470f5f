package engine

import (
	"math/bits"
	"time"

	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/internal/words"
	"github.com/akubra/akubra/s3"
)

// slotRetry is how often a request that waits at the limit checks whether backends have stalled
// meanwhile.
const slotRetry = 50 * time.Millisecond

// route says which backends the request is for.
func (r *request) route() uint64 {
	switch r.head.kind {
	case s3.KindPart, s3.KindUpload, s3.KindComplete:
		if backend, ok := r.e.uploads.Get(r.head.uploadID()); ok {
			return 1 << backend
		}
	case s3.KindInitiate:
		r.awaitPrimary()
		return r.primaryOf(r.head.bucket(), r.head.tried)
	}
	if r.head.target.Version {
		if backend, ok := r.versionOwner(); ok {
			return 1 << backend
		}
	}
	if r.head.target.Page != "" && r.head.isListing() {
		if backend, ok := r.e.pages.Get(r.pageKey(r.head.target.Page)); ok {
			return 1 << backend
		}
	}
	if r.head.isListing() && (r.head.target.Versions || r.head.target.Uploads) {
		r.awaitPrimary()
		return r.primaryOf(r.head.bucket(), 0) // ids are one backend's own (R28)
	}
	return r.e.all
}

// takeSlots takes a slot at each backend of want that is in the pool, and waits at the limit
// (R13).
func (r *request) takeSlots(want uint64) *s3Error {
	e := r.e
	slots := &r.race.slots
	var got, crowded, kept uint64
	now := int64(r.head.begun.Sub(e.epoch))
	mayDefer := r.mayDefer(want)
	behind := mayDefer && r.isLarge() && e.o.Journal != nil && !e.o.Journal.Quiet()
	if mayDefer && e.adaptive != nil {
		crowded = e.adaptive.Crowded(now, want)
	}
	if crowded != 0 && !r.head.write {
		want = r.askLater(want, crowded)
		r.countSkipped(crowded, ResultDeferred)
	} else if crowded != 0 || mayDefer && r.isLarge() {
		kept = r.keptForDecision(want)
	}
	for {
		var ok bool
		if got, ok = e.o.Limiter.TryBegin(now, want, slots); !ok {
			got, ok = r.awaitSlots(want, slots)
		}
		if !ok {
			return errSlowDown
		}
		if got != 0 {
			break
		}
		if want, ok = r.plan.next(); !ok {
			return errNoPool
		}
	}
	if r.plan.n > 0 {
		r.setReadLegs(got, slots)
		return nil
	}
	var late uint64
	if mayDefer {
		late = r.deferLegs(got, crowded, kept, behind, slots)
		got &^= late
		r.countSkipped(late, ResultDeferred)
	}
	r.setLegs(got, slots)
	r.takeLanes()
	want |= r.race.lacking
	if r.head.write && want == e.all && !r.head.isUploadsOwn() {
		r.race.need = r.acks()
		r.race.skipped = want &^ got
		for s := r.race.skipped; s != 0; s &= s - 1 {
			b := bits.TrailingZeros64(s)
			if r.race.removing&(1<<b) != 0 {
				r.race.reasons[b] = ReasonRemoval
				continue
			}
			if r.race.lacking&(1<<b) != 0 {
				r.race.reasons[b] = r.head.reasonOfSource()
				continue
			}
			if late&(1<<b) != 0 {
				r.race.reasons[b] = OutcomeDeferred
				continue
			}
			if r.race.reasons[b] = e.o.Limiter.State(b); r.race.reasons[b] == stateActive {
				r.race.reasons[b] = stateDemoted // it has come back since
			}
		}
		r.countSkipped(r.race.skipped&^late, ResultSkipped)
	}
	if r.head.write && r.head.target.Version && want != e.all {
		r.race.skipped = e.all &^ got
		for s := r.race.skipped; s != 0; s &= s - 1 {
			r.race.reasons[bits.TrailingZeros64(s)] = outcome.VersionOfAnother
		}
	}
	return nil
}

// hasOwnVersion reports whether a write to a version goes only to the backend that the version
// belongs to.
func (c *race) hasOwnVersion() bool {
	return c.skipped != 0 && c.reasons[bits.TrailingZeros64(c.skipped)] == outcome.VersionOfAnother
}

func (r *request) awaitSlots(want uint64, slots *[MaxBackends]int32) (got uint64, ok bool) {
	e := r.e
	deadline := time.NewTimer(r.o.SlotTimeout)
	defer deadline.Stop()
	retry := time.NewTicker(slotRetry)
	defer retry.Stop()
	madeRoom := e.spareSilent() // one upload for one request
	for {
		changed := e.o.Limiter.Changed()
		if got, ok = e.o.Limiter.TryBegin(e.now(), want, slots); ok {
			return got, true
		}
		select {
		case <-changed:
		case <-retry.C:
			madeRoom = madeRoom || e.spareSilent()
		case <-deadline.C:
			return 0, false
		}
	}
}

// acks is how many positive answers a write needs (R3). Backends in maintenance are left out, as
// the operator wants it; demoted ones count.
func (r *request) acks() int {
	e := r.e
	n := len(e.o.Backends)
	if r.head.target.Version && r.head.target.Sub {
		return 1 // nobody but the issuer of the id can take it
	}
	switch r.o.WriteAck {
	case AckQuorum:
		return n/2 + 1
	case AckAll:
		for b := range e.o.Backends {
			if e.o.Limiter.State(b) == stateMaintained {
				n--
			}
		}
		return max(n, 1)
	}
	return 1
}

// suffices reports whether so many legs can get the write acknowledged. It is called before the
// legs start.
func (c *race) suffices(legs int) bool { return legs >= c.need }

// stateMaintained is the Limiter's word for a backend that the operator has taken out of service
// (R14).
const stateMaintained = words.StateMaintained

// reasonOf is the label under which metrics count a skipped backend.
func (c *race) reasonOf(backend int) string {
	if why := c.reasons[backend]; why != outcome.VersionOfAnother {
		return why
	}
	return "version"
}
