package limiter

import (
	"time"

	"github.com/akubra/akubra/internal/words"
)

// What State can say.
const (
	StateActive     = words.StateActive
	StateDemoted    = words.StateDemoted
	StateMaintained = words.StateMaintained // whether demoted besides or not
)

// Status is one backend's state for people and metrics.
type Status struct {
	Name       string `json:"name"`
	State      string `json:"state"`
	Demoted    bool   `json:"demoted"` // also where State says maintained
	Maintained bool   `json:"maintained"`
	Busy       int    `json:"busy"`
	Stalled    int    `json:"stalled"`
	// Waiting is how long, in seconds, the one that is stalled the longest has been waiting.
	Waiting   float64 `json:"waitingseconds"`
	Failures  int     `json:"failures"`  // in a row, up to now
	Demotions uint64  `json:"demotions"` // since the start
	// Reason is why the backend was last demoted, or empty.
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

// Status is the state of all backends. It looks through every slot: for an operator or
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
			Failures:   int(b.failures.Load()),
			Demotions:  b.demotions,
			Reason:     b.reason,
		}
	}
	return all
}
