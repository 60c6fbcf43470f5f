package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// SlowRequest is a request that took long, leg by leg, as an operator sees it.
type SlowRequest struct {
	Time   time.Time // when it began
	ID     string    // also in the access log and the synclog
	Method string
	Path   string        // as it came: whoever shows it hides its secrets (R37)
	First  time.Duration // until the client's answer was chosen; 0 where there was none
	Whole  time.Duration // until the last leg had ended
	Legs   []SlowLeg
}

// SlowLeg is one leg of it.
type SlowLeg struct {
	Backend int
	Took    time.Duration // from the request's beginning to the leg's end
	Outcome string
	Won     bool // its answer was the client's
}

// What is kept of slow requests.
const (
	slowKept    = 16
	slowAge     = 10 * time.Minute
	slowAtLeast = 100 * time.Millisecond
)

// slowRequests holds the slowest recent requests. Nothing is recorded, and no clock is read,
// unless somebody is watching: then each leg's end reads the clock, and a request that took longer
// than slowAtLeast is examined.
type slowRequests struct {
	watched atomic.Bool

	mu   sync.Mutex
	kept []SlowRequest // at most slowKept
}

// WatchSlow says whether anybody wants to know about slow requests. What was recorded is dropped
// once nobody does.
func (e *Engine) WatchSlow(on bool) {
	e.slow.watched.Store(on)
	if !on {
		e.slow.mu.Lock()
		defer e.slow.mu.Unlock()
		e.slow.kept = nil
	}
}

// Slow returns the slowest requests of the last minutes, the slowest one first.
func (e *Engine) Slow() []SlowRequest {
	e.slow.mu.Lock()
	defer e.slow.mu.Unlock()
	e.slow.forgetOldLocked()
	all := slices.Clone(e.slow.kept)
	slices.SortFunc(all, func(a, b SlowRequest) int { return int(b.Whole - a.Whole) })
	return all
}

func (s *slowRequests) forgetOldLocked() {
	s.kept = slices.DeleteFunc(s.kept, func(r SlowRequest) bool { return time.Since(r.Time) > slowAge })
}

// noteSlow records a request whose legs have all ended, if it is among the slowest.
func (r *request) noteSlow(whole time.Duration) {
	s := &r.e.slow
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetOldLocked()
	place := len(s.kept)
	if place == slowKept {
		place = 0
		for i := range s.kept {
			if s.kept[i].Whole < s.kept[place].Whole {
				place = i
			}
		}
		if s.kept[place].Whole >= whole {
			return
		}
	} else {
		s.kept = append(s.kept, SlowRequest{})
	}
	s.kept[place] = r.slowRequest(whole)
}

func (r *request) slowRequest(whole time.Duration) SlowRequest {
	h := &r.head
	slow := SlowRequest{
		Time: h.begun, ID: h.name(), Method: h.method, Path: string(h.raw), Whole: whole,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	legs, winner, first := r.race.ran()
	slow.First = first
	for i := range legs {
		l := &r.legs[i]
		slow.Legs = append(slow.Legs, SlowLeg{Backend: l.backend, Took: l.took, Outcome: l.outcome, Won: i == winner})
	}
	return slow
}
