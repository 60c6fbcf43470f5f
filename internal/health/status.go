package health

import (
	"slices"
	"time"
)

// Status is the state of one backend, for operators and metrics.
type Status struct {
	// Silent means that the backend does not answer at all.
	Silent bool `json:"silent"`
	// Failing are the current causes.
	Failing []Failure `json:"failing"`
	// LastError is the last error, even if it is over.
	LastError *Failure `json:"lasterror,omitempty"`
	// Errors are the failures in total, by cause; causes without failures are left out.
	Errors map[Cause]uint64 `json:"errors,omitempty"`
}

// Is reports whether a cause is current.
func (s *Status) Is(cause Cause) bool {
	return slices.ContainsFunc(s.Failing, func(f Failure) bool { return f.Cause == cause })
}

// Failure is one cause of failure of a backend.
type Failure struct {
	Cause Cause     `json:"cause"`
	Means string    `json:"means"`
	Error string    `json:"error"`
	Since time.Time `json:"since,omitzero"` // zero if it is over
	Last  time.Time `json:"last"`
	Count uint64    `json:"count"` // since Since, or in total if it is over
}

// Status returns the state of all backends.
func (h *Health) Status() []Status {
	all := make([]Status, len(h.backends))
	for i := range h.backends {
		all[i] = h.StatusOf(i)
	}
	return all
}

// StatusOf returns the state of one backend.
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
