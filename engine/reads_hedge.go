package engine

import (
	"math"
	"time"
)

// readClass is a kind of read whose answers take about the same time on one backend.
type readClass uint8

const (
	classHead readClass = iota
	classGet
	classList
	readClasses
)

// readClass is the request's.
func (h *requestHead) readClass() readClass {
	switch {
	case h.method == "HEAD":
		return classHead
	case len(h.target.Key) == 0:
		return classList
	}
	return classGet
}

// hedgeDelay is how long the first backend of a read may take before the next one is asked as
// well; 0 means for ever.
func (r *request) hedgeDelay(backend int, class readClass) time.Duration {
	if r.o.HedgeP95 {
		return r.e.latencies[backend][class].P95()
	}
	return r.o.HedgeAfter
}

// startHedge has the next backend asked if the first one is slow. Launch calls it.
func (r *request) startHedge() {
	p := &r.plan
	if p.n == 0 || p.all {
		return
	}
	r.e.hedges.Began(r.o.HedgeBudget)
	if p.first != 1 || p.fresh < 2 || p.lacking&(1<<r.legs[1].backend) != 0 {
		return
	}
	d := r.hedgeDelay(r.legs[0].backend, r.head.readClass())
	if d <= 0 {
		return
	}
	r.refs.Add(1)       // the timer's
	if r.hedge == nil { // it is known before it can go off: what it starts may end, and stop it, at once
		r.hedge = time.AfterFunc(math.MaxInt64, r.hedgeNow)
	}
	r.hedge.Reset(d)
}

// hedgeNow is called by the timer.
func (r *request) hedgeNow() {
	defer r.release()
	defer r.e.recoverStep("hedging a read")
	if l := r.takeHedge(); l != nil {
		r.ask(l, ReadHedged)
	}
}

// takeHedge returns the leg that is to be asked, if the first one is still out.
func (r *request) takeHedge() *leg {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.race.waitsForOne() || !r.e.hedges.Take() {
		return nil
	}
	r.plan.hedged = true
	return r.unholdLocked(1)
}

// stopHedge stops the timer of a read that is decided.
func (r *request) stopHedge() {
	if r.plan.n > 0 && r.hedge != nil && r.hedge.Stop() {
		r.release()
	}
}

// observe records how long a leg of a planned read has taken. A failure counts as a slow answer: a
// backend that fails at once is not fast.
func (l *leg) observe() {
	r := l.r
	p := &r.plan
	if p.n == 0 || p.all || l.why() != nil {
		return
	}
	d := time.Duration(r.e.now() - l.asked)
	if l.state == voteFailed || l.state == voteNegative && l.answerClass() == classBroken {
		d = max(d, failureTakes)
	}
	r.e.latencies[l.backend][r.head.readClass()].Observe(d)
}

// failureTakes is the least time that ReadFastest counts for a failure.
const failureTakes = time.Second
