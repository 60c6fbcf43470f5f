package repair

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// A gate, one per backend, decides how many keys that the backend lacks are worked on at once. Its
// limit works like TCP Vegas: it grows while that gets more done and the backend answers about as
// fast as it ever does; otherwise it shrinks to what the backend has carried, because more would
// only wait in line. If clients are short of room at the backend (Options.Pressed), the gate lets
// one key through at a time.
const (
	// MostConcurrency bounds the keys that are worked on at once, for all backends together: each
	// takes a connection or two to every backend, and up to smallObject bytes.
	MostConcurrency = 128
	// firstConcurrency is the limit at which a gate begins, and fewConcurrency the least that it
	// falls to by itself: so few make no queue.
	firstConcurrency = 8
	fewConcurrency   = 4
	// leastConcurrency is what repair keeps whatever clients need.
	leastConcurrency = 1
	// paceTolerance is how much longer than the fastest one an answer may always take.
	paceTolerance = 3 * time.Millisecond
	// gateInterval is the least time for which a gate watches answers.
	gateInterval = 100 * time.Millisecond
	// leastAnswers is how many are needed to judge by.
	leastAnswers = 5
	// probeReadings: after this many readings the limit is raised to see whether that gets more
	// done by now.
	probeReadings = 8
	// keyWork is what a key counts for, besides its bytes, when measuring how much is done.
	keyWork = 64 << 10
	// pressedAgain is how often to ask whether clients still need all the room; nobody announces
	// it.
	pressedAgain = 100 * time.Millisecond
)

// reading is what a gate decides by: an interval in which up to peak keys were worked on at once.
type reading struct {
	limit, peak, most int
	rising            bool          // it was never too much: the limit doubles
	answer            time.Duration // a quarter of the answers took no longer: what did has other reasons than a queue
	floor             time.Duration // what one takes where nothing waits
	rate              float64       // of work done
	raised            float64       // what that was when the limit was raised last; 0: it was not
	ago               int           // readings since then
}

// nextConcurrency is the limit after a reading.
//
// It is a pure function of its argument.
func nextConcurrency(g reading) (next int, stillRising bool) {
	bound := g.floor + max(g.floor, paceTolerance)
	switch carried := min(g.limit, g.peak); {
	case g.answer > bound:
		// By Little's law, this many would be answered within the bound.
		next = int(float64(carried) * float64(bound) / float64(g.answer))
		return min(max(next, carried/2, fewConcurrency), g.most), false
	case g.peak < g.limit: // it is not the limit that keeps them few
		return g.limit, g.rising
	case g.rising:
		if g.rate < g.raised*9/8 || g.answer > g.floor+max(g.floor, paceTolerance)/2 {
			return g.limit, false // twice as much would be too much
		}
		return min(2*g.limit, g.most), true
	case g.rate < g.raised*33/32 && g.ago < probeReadings && g.answer > g.floor+max(g.floor, paceTolerance)/4:
		return g.limit, false // more has brought nothing but a queue
	}
	return min(g.limit+g.limit/8+1, g.most), false
}

// gate bounds how many keys that one backend lacks are worked on at once.
type gate struct {
	fixed bool // by the configuration

	mu      sync.Mutex
	limit   int
	busy    int
	parts   int    // of busy: parts of large objects (see partsAtOnce)
	waits   bool   // the last key that came found no place
	peak    int    // of busy, since the last look
	rising  bool   // it was never too much
	pressed bool   // by clients, when it was last asked
	keys    int    // that are done
	cut     shrunk // when the limit shrank last
	raised  float64
	ago     int
	last    time.Time // of the last look, and bytes that were moved by then
	moved   int64
	until   time.Time
	sources uint64 // where content was read, since the last look
	seen    []int  // answers of each backend, by then
}

func newGate(fixed, most int) gate {
	if fixed > 0 {
		return gate{fixed: true, limit: fixed}
	}
	return gate{limit: min(firstConcurrency, most), rising: true}
}

// shrunk is what was seen when a gate's limit shrank.
type shrunk struct {
	peak   int
	answer time.Duration
}

// inVain reports whether fewer keys have not made answers faster: then they do not wait in a queue
// of ours. The path has become longer, or others are using it.
func (c shrunk) inVain(peak int, answer time.Duration) bool {
	return c.peak > 0 && (peak*8 <= c.peak*7 || peak <= fewConcurrency) && answer*10 >= c.answer*9
}

// enter takes a place, if there is one. pressed: clients need the room. With force it goes past
// the limit.
func (g *gate) enter(pressed, force bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	entered := g.takeLocked(pressed, force)
	g.waits = !entered
	return entered
}

func (g *gate) takeLocked(pressed, force bool) bool {
	if g.pressed && !pressed && !g.fixed { // what there was room for before says nothing of now
		g.limit, g.rising, g.seen = min(g.limit, firstConcurrency), true, nil
		g.raised, g.ago = 0, 0
	}
	g.pressed = pressed
	limit := g.limit
	if pressed {
		limit = leastConcurrency
	}
	if g.busy >= limit && !force {
		return false
	}
	g.busy++
	g.peak = max(g.peak, g.busy)
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	g.keys++
}

// giveBack is leave for a place where nothing was done.
func (g *gate) giveBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
}

// workerCount is how many workers there are.
func (r *Repairer) workerCount() int {
	if r.o.Concurrency > 0 {
		return r.o.Concurrency
	}
	return r.o.Most
}

// state is the gate's state, for Status.
func (g *gate) state() (busy, limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pressed {
		return g.busy, leastConcurrency
	}
	return g.busy, g.limit
}

// adapt sets the limit of a backend's gate by how fast the farthest of the backends answered that
// its keys involved: most of their time is spent on the way there.
func (r *Repairer) adapt(i int) {
	g := &r.backends[i].gate
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fixed || g.pressed || now.Before(g.until) {
		return
	}
	far := i
	if g.peak > g.limit { // those that went past it, or began before it shrank, say nothing of it yet
		g.peak, g.seen = g.busy, nil
	}
	for j, b := range r.backends {
		if has(g.sources, j) && b.pace.usual() > r.backends[far].pace.usual() {
			far = j
		}
	}
	var answer, floor time.Duration
	if g.seen != nil {
		var ok bool
		if answer, floor, ok = r.backends[far].pace.since(g.seen[far]); !ok {
			return
		}
		rate := float64(r.backends[i].moved.Load()-g.moved+keyWork*int64(g.keys)) / now.Sub(g.last).Seconds()
		g.ago++
		if g.cut.inVain(g.peak, answer) {
			floor = r.backends[far].pace.lengthen(answer)
			g.limit, g.cut = max(g.limit, g.cut.peak), shrunk{}
			g.peak = g.limit
		}
		next, rising := nextConcurrency(reading{
			limit: g.limit, peak: g.peak, most: r.o.Most, rising: g.rising, answer: answer, floor: floor, rate: rate, raised: g.raised, ago: g.ago,
		})
		switch {
		case next < g.limit:
			g.raised, g.ago, g.cut = 0, 0, shrunk{min(g.limit, g.peak), answer}
		case next > g.limit && (r.backends[i].spent() || r.backends[far].spent()):
			next, rising = g.limit, g.rising
		case next > g.limit:
			g.raised, g.ago = rate, 0
		}
		g.limit, g.rising = next, rising
	}
	g.seen = g.seen[:0]
	for _, b := range r.backends {
		g.seen = append(g.seen, b.pace.count())
	}
	g.peak, g.sources, g.keys, g.moved = g.busy, 0, 0, r.backends[i].moved.Load()
	g.last, g.until = now, now.Add(max(gateInterval, 4*floor)) // a key takes about three answers
}

// spent reports whether BytesPerSecond is what limits the copies to a backend.
func (b *backend) spent() bool { return b.bytes != nil && b.bytes.Tokens() < 1 }

// readFrom records that a backend's keys are copied from another one.
func (b *backend) readFrom(source int) {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	b.gate.sources |= 1 << source
}

// lacking are the backends that a task is for and that can be asked, and whether clients need all
// the room at one of them, or at every one that its content can be read from.
func (r *Repairer) lacking(t *task.Task) (targets []int, pressed bool) {
	owed := t.Owed()
	sources, free := 0, 0
	for i, b := range r.backends {
		if r.usable(b) != nil {
			continue
		}
		busy := r.o.Pressed != nil && r.o.Pressed(b.name)
		if slices.Contains(owed, b.name) {
			targets = append(targets, i)
			pressed = pressed || busy
			continue
		}
		if sources++; !busy {
			free++
		}
	}
	return targets, pressed || sources > 0 && free == 0
}

// enter takes a task's places at the gates of all backends that it is for, or none.
func (r *Repairer) enter(t *task.Task, force bool) bool {
	targets, pressed := r.lacking(t)
	for n, i := range targets {
		if !r.backends[i].gate.enter(pressed, force) {
			r.unenter(targets[:n])
			return false
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight[taskID(t)] = targets
	return true
}

// admit waits until there is room for a task, or somebody waits for its key; meanwhile other keys
// that are waited for are handed out.
func (r *Repairer) admit(ctx context.Context, p *pass, t *task.Task) bool {
	for !r.enter(t, false) {
		r.giveBeside(ctx, p, t)
		timer := time.NewTimer(pressedAgain)
		select {
		case <-timer.C:
		case <-r.freed:
		case <-r.asked:
			if r.unwant(t) {
				timer.Stop()
				return r.enter(t, true)
			}
			r.giveWanted(ctx, p)
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

// unenter gives back places that turned out to be useless. Nobody is told: those who wait for room
// would look again at once, and find no more than before.
func (r *Repairer) unenter(gates []int) {
	for _, i := range gates {
		r.backends[i].gate.giveBack()
	}
}

// leave gives back the places of a task that was worked on.
func (r *Repairer) leave(gates []int) {
	for _, i := range gates {
		r.backends[i].gate.leave()
		r.adapt(i)
	}
	r.tellFreed()
}

// tellFreed makes those who wait for room look again.
func (r *Repairer) tellFreed() {
	select {
	case r.freed <- struct{}{}:
	default: // whoever waits will look
	}
}
