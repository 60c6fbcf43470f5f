package health

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// remind is the minimum time between two lines about one cause (R36).
	remind = time.Minute
	// maxEarly is how often a cause that was over and has come back, or means something else now, is told sooner, or the
	// last word about it would be another one. What comes and goes all the time is not.
	maxEarly = 2
	// calm is how long a cause must not have occurred before it counts as over: what fails every
	// other time is failing.
	calm = 3 * time.Second
	// proven is how long that must be where a probe alone has been answered since: what answers a
	// probe may still hang at the next write.
	proven = 10 * time.Second
	// forgotten is how long a failure counts as current if nobody repeats what has failed: longer than
	// it takes until one that is repeated now and then is told again, and shorter than the alert waits.
	forgotten = 2 * time.Minute
	// waiting is how long that is while repair is refused writes: it waits for up to five minutes before
	// it tries again.
	waiting = 10 * time.Minute
	// slowAfter is how long a request may wait for a backend before that backend counts as slow.
	slowAfter = 2 * time.Second
	// This many refusals in a row, deniedWrites or deniedReads, cannot come from a single client.
	// Some backends answer 403 to a read of something that does not exist.
	deniedWrites = 5
	deniedReads  = 20
	// So many writes in a row, refused where another backend takes them, are not about a single object. A
	// redirect, another region, or the lack of a bucket is told at the first one.
	refusedAlone = 5

	maxText = 300 // of an error, in bytes
)

// Options configures a Health.
type Options struct {
	Names []string // of the backends, by index
	// Failing is told what the operator should know: a first failure, and later failures with their
	// count since the last report. Over is told when a failure has ended.
	Failing, Over func(Event)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Event is a report about one cause.
type Event struct {
	Backend int
	Name    string
	Cause   Cause
	Means   string // in an operator's words
	Error   string // the error's text
	First   bool   // the first report
	Proven  bool   // for Over: what failed has succeeded since, rather than not been asked for again
	Count   uint64 // failures since the last report; for Over, in total
	Since   time.Time
	For     time.Duration // from the first failure to the last one; for Over
}

// Health keeps the state of the backends.
type Health struct {
	o        Options
	backends []backend
}

// class separates writes from reads: a full disk fails the former and not the latter.
type class int

const (
	reads class = iota
	writes
	classes
)

func classOf(write bool) class {
	if write {
		return writes
	}
	return reads
}

type backend struct {
	name string
	// watched is true if something has failed, so that successes matter. Set under mu.
	watched atomic.Bool

	mu      sync.Mutex
	failing []failing // indexed like Causes
	counts  []uint64  // failures in total, indexed like Causes
	silent  bool      // a probe got no response, and nothing has since
	refuses bool      // it refused repair a write, and has taken none since
	denied  [classes]int
	alone   int       // writes in a row that it refused, and another backend took
	took    time.Time // last write that it took
	refusal struct {  // the last one
		status int
		code   string
	}
	good     [classes]time.Time // last response that was not an error
	answered time.Time          // last response
	reached  time.Time          // last probe that was answered
	wrote    time.Time          // last write of repair that it took

	last struct {
		cause Cause
		text  string
		means string
		at    time.Time
	}
}

// failing is one cause; it is current unless since is zero.
type failing struct {
	since  time.Time
	last   [classes]time.Time
	text   string
	means  string
	count  uint64 // since it began
	untold uint64
	told   time.Time // last report, of any failure of this cause
	meant  string    // means as of then
	early  int       // reports in a row that did not wait for remind
	begun  bool      // the first report has been made
}

func (f *failing) latest() time.Time {
	if f.last[writes].After(f.last[reads]) {
		return f.last[writes]
	}
	return f.last[reads]
}

// New makes a Health in which all is well.
func New(o Options) *Health {
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Health{o: o, backends: make([]backend, len(o.Names))}
	for i := range h.backends {
		b := &h.backends[i]
		b.name, b.failing, b.counts = o.Names[i], make([]failing, len(Causes)), make([]uint64, len(Causes))
	}
	return h
}

// Failed records that there was no response: err is the reason, text is its wording in the synclog.
func (h *Health) Failed(backend int, write bool, err error, text string) {
	cause, means := ofError(err)
	h.backends[backend].mu.Lock()
	h.failUnlock(backend, cause, classOf(write), means, text)
}

// Lagged records that the backend was cut from a request because the others were waiting for it.
func (h *Health) Lagged(backend int, write bool, text string) {
	h.backends[backend].mu.Lock()
	h.failUnlock(backend, Slow, classOf(write), meanings[Slow], text)
}

// Wrote records that the backend took a write of repair. It was signed with the proxy's own keys, so that
// nothing is known of the clients'.
func (h *Health) Wrote(backend int) {
	b := &h.backends[backend]
	if !b.watched.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrote, b.silent, b.refuses = h.o.Now(), false, false
}

// Refused records that the backend refused repair a write, for a reason that has nothing to do with the key.
func (h *Health) Refused(backend, status int, code string) {
	cause, wrong := ofAnswer(status, code)
	if !wrong || cause == Denied {
		return
	}
	b := &h.backends[backend]
	b.mu.Lock()
	b.answered, b.silent, b.refuses = h.o.Now(), false, true
	h.failUnlock(backend, cause, writes, meaningOfAnswer(cause, status, code), answerText(status, code))
}

// Reached records that a probe was answered.
func (h *Health) Reached(backend int) {
	b := &h.backends[backend]
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reached, b.silent = h.o.Now(), false
}

// Unreached records that a probe was not answered.
func (h *Health) Unreached(backend int, err error) {
	cause, means := ofError(err)
	b := &h.backends[backend]
	b.mu.Lock()
	b.silent = true
	h.failUnlock(backend, cause, reads, means, err.Error())
}

// Doubtful reports whether a probe should find out if the backend answers at all, because its last
// requests went unanswered.
func (h *Health) Doubtful(backend int) bool {
	b := &h.backends[backend]
	if !b.watched.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.silent {
		return true
	}
	for i := range b.failing {
		f := &b.failing[i]
		if f.since.IsZero() || !Causes[i].transport() && Causes[i] != Slow {
			continue
		}
		if from := f.latest(); Causes[i] == Slow && b.answered.Before(f.since) || Causes[i] != Slow && b.answered.Before(from) {
			if b.reached.Before(from) {
				return true
			}
		}
	}
	return false
}

// failUnlock records a failure, and reports it if a report is due. It unlocks the backend.
func (h *Health) failUnlock(backend int, cause Cause, c class, means, text string) {
	b, now := &h.backends[backend], h.o.Now()
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	i := cause.index()
	f := &b.failing[i]
	if f.since.IsZero() {
		f.since, f.count, f.begun, f.last = now, 0, false, [classes]time.Time{}
	}
	b.counts[i]++
	f.count++
	f.untold++
	f.last[c], f.text, f.means = now, text, means
	b.last.cause, b.last.text, b.last.means, b.last.at = cause, text, means, now
	b.watched.Store(true)
	e, tell := b.tell(backend, i, now)
	b.mu.Unlock()
	if tell {
		h.o.Failing(e)
	}
}

// tell returns the report about a cause that is due now, if any.
func (b *backend) tell(backend, i int, now time.Time) (e Event, tell bool) {
	f := &b.failing[i]
	recent := !f.told.IsZero() && now.Sub(f.told) < remind
	if f.untold == 0 || recent && (f.begun && f.means == f.meant || f.early == maxEarly) {
		return Event{}, false
	}
	if !recent {
		f.early = 0
	} else {
		f.early++
	}
	e = Event{Backend: backend, Name: b.name, Cause: Causes[i], Means: f.means, Error: f.text, First: !f.begun, Count: f.untold, Since: f.since}
	f.told, f.meant, f.untold, f.begun = now, f.means, 0, true
	return e, true
}

// over reports whether a cause has ended, and whether that is proven.
func (b *backend) over(i int, now time.Time) (over, isProven bool) {
	quiet := now.Sub(b.failing[i].latest())
	patience := forgotten
	if b.refuses {
		patience = waiting
	}
	switch isProven = b.proves(i, quiet); {
	case quiet < calm:
		return false, false
	case isProven, quiet >= patience && !b.silent:
		return true, isProven
	}
	return false, false
}

// proves reports whether what failed for a cause has succeeded since.
func (b *backend) proves(i int, quiet time.Duration) bool {
	f, cause := &b.failing[i], Causes[i]
	latest := f.latest()
	switch {
	case cause == Slow:
		return true
	case cause == Unsupported: // what it takes is something else
		return false
	case cause == Refuses: // other refusals are no proof
		return b.took.After(latest) || b.wrote.After(latest)
	case cause.transport():
		return b.answered.After(latest) || b.wrote.After(latest) || b.reached.After(latest) && (cause.connecting() || quiet >= proven)
	}
	good := b.good
	if cause != Denied && b.wrote.After(good[writes]) {
		good[writes] = b.wrote
	}
	for c := range classes {
		if !f.last[c].IsZero() && !good[c].After(f.last[c]) {
			return false
		}
	}
	return true
}

// Waiting is what the limiter knows about requests that wait for a backend.
type Waiting struct {
	Requests int
	Longest  time.Duration
}

// Look must be called about once a second. waiting is indexed by backend.
func (h *Health) Look(waiting []Waiting) {
	now := h.o.Now()
	for i := range h.backends {
		b := &h.backends[i]
		if w := waiting[i]; w.Longest >= slowAfter {
			b.mu.Lock()
			h.failUnlock(i, Slow, writes, meanings[Slow], fmt.Sprintf("requests without progress, or behind the other backends: %d, one of them for %v",
				w.Requests, w.Longest.Round(100*time.Millisecond)))
		}
		if !b.watched.Load() {
			continue
		}
		b.mu.Lock()
		var failing, ended []Event
		open := b.silent || b.denied != [classes]int{} || b.alone > 0
		for c := range b.failing {
			f := &b.failing[c]
			if f.since.IsZero() {
				continue
			}
			over, isProven := b.over(c, now)
			if !over {
				open = true
				if e, tell := b.tell(i, c, now); tell {
					failing = append(failing, e)
				}
				continue
			}
			if f.begun {
				ended = append(ended, Event{Backend: i, Name: b.name, Cause: Causes[c], Means: f.means, Error: f.text, Proven: isProven, Count: f.count,
					Since: f.since, For: f.latest().Sub(f.since)})
			}
			f.since, f.untold = time.Time{}, 0
		}
		b.watched.Store(open)
		b.refuses = b.refuses && open
		b.mu.Unlock()
		for _, e := range failing {
			h.o.Failing(e)
		}
		for _, e := range ended {
			h.o.Over(e)
		}
	}
}
