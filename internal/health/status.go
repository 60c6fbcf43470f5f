package health

import (
	"slices"
	"time"
)

// Status is how one backend does, for people and metrics.
type Status struct {
	// Silent: it does not answer anything.
	Silent bool `json:"silent"`
	// Failing are the causes that go on.
	Failing []Failure `json:"failing"`
	// LastError is the last one, also where it is over.
	LastError *Failure `json:"lasterror,omitempty"`
	// Errors are the failures ever, by cause; causes without any are left out.
	Errors map[Cause]uint64 `json:"errors,omitempty"`
}

// Is reports whether a cause goes on.
func (s *Status) Is(cause Cause) bool {
	return slices.ContainsFunc(s.Failing, func(f Failure) bool { return f.Cause == cause })
}

// Failure is one cause of a backend's.
type Failure struct {
	Cause Cause     `json:"cause"`
	Means string    `json:"means"`
	Error string    `json:"error"`
	Since time.Time `json:"since,omitzero"` // zero where it is over
	Last  time.Time `json:"last"`
	Count uint64    `json:"count"` // since Since; where it is over, ever
}

// Status is that of all backends.
func (h *Health) Status() []Status {
	all := make([]Status, len(h.backends))
	for i := range h.backends {
		all[i] = h.StatusOf(i)
	}
	return all
}

// StatusOf is that of one backend.
func (h *Health) StatusOf(backend int) Status {
	b := &h.backends[backend]
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Status{Silent: b.silent, Failing: []Failure{}}
	for i := range b.failing {
		if f := &b.failing[i]; !f.since.IsZero() {
			s.Failing = append(s.Failing, Failure{Causes[i], f.means, f.text, f.since.UTC(), f.latest().UTC(), f.count})
		}
		if b.counts[i] > 0 {
			if s.Errors == nil {
				s.Errors = map[Cause]uint64{}
			}
			s.Errors[Causes[i]] = b.counts[i]
		}
	}
	if l := &b.last; !l.at.IsZero() {
		i := l.cause.index()
		s.LastError = &Failure{l.cause, l.means, l.text, b.failing[i].since.UTC(), l.at.UTC(), b.counts[i]}
		if b.failing[i].since.IsZero() {
			s.LastError.Since = time.Time{}
		}
	}
	return s
}
