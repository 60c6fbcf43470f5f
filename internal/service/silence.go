package service

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/limiter"
)

// silenceWatch looks for backends that have become silent: a link that was cut without a word tells nobody,
// and requests would wait until ConnectionTimeout. Such a backend is probed on a connection of its own, and
// demoted when that fails; whoever waits for a backend that has left the pool is let go (R13). It owns one
// goroutine per backend, and one per probe in progress, from start to close.
type silenceWatch struct {
	limiter   watchedLimiter
	engine    watchedEngine
	targets   []probed
	unreached func(backend int, err error)
	patience  atomic.Int64  // ConnectionDialTimeout, see setPatience
	silent    []atomic.Bool // it was demoted for silence last
	watches   []*watch      // one per backend
	probes    sync.WaitGroup
}

// watchedLimiter is what the watch needs of the limiter.
type watchedLimiter interface {
	State(backend int) string
	Busy(backend int) int
	Silence(backend int, now int64, unacknowledged func(backend int, now int64) int64) int64
	Waits(backend int, now int64) int64
	Heard(backend int, now int64)
	DemoteSilent(backend int, now int64) bool
}

// watchedEngine is what the watch needs of the engine.
type watchedEngine interface {
	Now() int64
	Unacknowledged(backend int, now int64) int64
	Renew(backend int, now, patience int64)
	LetGo(backend int, all bool)
}

// probed is a backend as the watch needs it.
type probed interface {
	Probe(timeout time.Duration) error
	Close()
}

func newSilenceWatch(list []*backends.Backend, l *limiter.Limiter, engine watchedEngine, health *healthWatch, patience time.Duration) *silenceWatch {
	w := &silenceWatch{limiter: l, engine: engine, unreached: health.Unreached, silent: make([]atomic.Bool, len(list))}
	w.setPatience(patience)
	for _, b := range list {
		w.targets = append(w.targets, b)
	}
	return w
}

// setPatience changes how long a backend may be silent.
func (w *silenceWatch) setPatience(d time.Duration) { w.patience.Store(int64(d)) }

func (w *silenceWatch) start() {
	interval := max(time.Duration(w.patience.Load())/looks, leastLook)
	for i := range w.targets {
		var s suspicion
		each := newWatch(func() { w.look(i, &s) }, interval)
		each.start()
		w.watches = append(w.watches, each)
	}
}

// close waits for probes in progress, too.
func (w *silenceWatch) close() {
	for _, each := range w.watches {
		each.close()
	}
	w.probes.Wait()
}

// demoted lets go of whoever waits for a backend that has just left the pool. It also closes the
// backend's idle connections: the link may be back before they notice that it was cut.
func (w *silenceWatch) demoted(e limiter.Event) {
	silent := e.Reason == limiter.ReasonSilent
	w.silent[e.Backend].Store(silent)
	go func() { // this may be a goroutine that must not wait
		w.engine.LetGo(e.Backend, silent)
		w.targets[e.Backend].Close()
	}()
}

// The watch looks this many times within its patience, with at least leastLook between two looks.
const (
	looks     = 12
	leastLook = 10 * time.Millisecond
)

// look is one look at backend i.
func (w *silenceWatch) look(i int, s *suspicion) {
	now := w.engine.Now()
	switch w.limiter.State(i) {
	case limiter.StateActive:
	case limiter.StateDemoted:
		*s = suspicion{}
		if w.limiter.Busy(i) > 0 { // a request may have begun while it left the pool
			w.engine.LetGo(i, w.silent[i].Load())
		}
		return
	default:
		*s = suspicion{}
		return
	}
	silence := w.limiter.Silence(i, now, w.engine.Unacknowledged)
	if s.result != nil {
		select {
		case err := <-s.result:
			s.result, s.failed, s.err = nil, err != nil, err
			if err == nil {
				w.limiter.Heard(i, now)
			}
		default:
		}
	}
	switch s.verdict(silence, now, w.patience.Load()) {
	case beginProbe:
		s.began = now
		s.result = make(chan error, 1)
		result := s.result
		w.probes.Go(func() { result <- w.targets[i].Probe(time.Duration(w.patience.Load())) })
	case demoteIt:
		err := s.err
		if err == nil {
			err = errUnansweredProbe
		}
		w.unreached(i, fmt.Errorf("nothing has come for %s: %w", time.Duration(silence).Round(time.Millisecond), err))
		w.limiter.DemoteSilent(i, now) // the last one in the pool stays
		*s = suspicion{}
	case justWait:
		// It answers others, so whoever waits may be on a connection that a middlebox has forgotten.
		if half := w.patience.Load() / 2; silence < half && w.limiter.Waits(i, now) >= half {
			w.engine.Renew(i, now, half)
		}
	}
}

var errUnansweredProbe = fmt.Errorf("a probe on a new connection has no answer yet: %w", os.ErrDeadlineExceeded)

// suspicion is what is known of a backend that is silent.
type suspicion struct {
	result chan error // of the probe in progress; else nil
	began  int64      // when that was begun
	failed bool       // a probe has failed since it is silent
	err    error
}

type verdict int

const (
	justWait verdict = iota
	beginProbe
	demoteIt
)

// verdict says what to do about a backend that has been silent for this long. The probe begins after half of the
// patience, which leaves time for a second one.
func (s *suspicion) verdict(silence, now, patience int64) verdict {
	switch {
	case silence < patience/2:
		*s = suspicion{} // the result of a probe in progress no longer matters
		return justWait
	case silence >= patience && (s.failed || s.result != nil && now-s.began >= patience/3):
		return demoteIt
	case s.result == nil:
		return beginProbe
	}
	return justWait
}
