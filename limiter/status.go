package limiter

import (
	"math"
	"time"

	"github.com/akubra/akubra/internal/words"
)

// The values of Status.State.
const (
	StateActive     = words.StateActive
	StateDemoted    = words.StateDemoted
	StateMaintained = words.StateMaintained // demoted or not
)

// Status is one backend's state, for operators and metrics.
type Status struct {
	Name       string `json:"name"`
	State      string `json:"state"`
	Demoted    bool   `json:"demoted"` // may be true in maintenance as well
	Maintained bool   `json:"maintained"`
	Busy       int    `json:"busy"`
	Stalled    int    `json:"stalled"`
	// Waiting is how long the longest stalled slot has been waiting, in seconds.
	Waiting float64 `json:"waitingseconds"`
	// Limit is how many slots may be busy before the backend is crowded, which adapts to its lag.
	Limit int `json:"limit"`
	// LagFloor is the least lag while nothing queued, in seconds; LagKnown is false before there was one.
	LagFloor  float64 `json:"lagfloorseconds"`
	LagKnown  bool    `json:"-"`
	Failures  int     `json:"failures"`  // in a row, so far
	Demotions uint64  `json:"demotions"` // since the start
	// Since is how long the backend has been in its state, in seconds.
	Since float64 `json:"stateseconds"`
	// Reason is why the backend was last demoted, or "".
	Reason string `json:"reason,omitempty"`
}

// State is the backend's state in one word.
func (l *Limiter) State(backend int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stateLocked(backend)
}

func (l *Limiter) stateLocked(backend int) string {
	switch {
	case l.maintained&bit(backend) != 0:
		return StateMaintained
	case l.demoted&bit(backend) != 0:
		return StateDemoted
	}
	return StateActive
}

// Status returns the state of all backends. It scans every slot, so it is meant for an operator or
// a scrape, not for each request. Slots are taken and given back meanwhile.
func (l *Limiter) Status(now int64) []Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Status, len(l.backends))
	for i := range l.backends {
		b := &l.backends[i]
		busy, stalled, longest := b.slots.count(now, l.stalledAfter)
		all[i] = Status{
			Name:       b.name,
			State:      l.stateLocked(i),
			Demoted:    l.demoted&bit(i) != 0,
			Maintained: l.maintained&bit(i) != 0,
			Busy:       busy,
			Stalled:    stalled,
			Waiting:    time.Duration(longest).Seconds(),
			Limit:      l.limitOf(b, now),
			Failures:   int(b.failures.Load()),
			Demotions:  b.demotions,
			Since:      time.Duration(max(0, now-b.changed)).Seconds(),
			Reason:     b.reason,
		}
		if floor := b.lag.floor.Load(); floor != math.MaxInt64 {
			all[i].LagFloor, all[i].LagKnown = time.Duration(floor).Seconds(), true
		}
	}
	return all
}
