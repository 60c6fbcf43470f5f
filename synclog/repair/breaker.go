package repair

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/internal/seldom"
)

// breaker keeps a backend that is out from costing a timeout per object. It opens when a probe
// fails, and closes when one succeeds.
type breaker struct {
	open atomic.Bool

	probing chan struct{} // one probe at a time; no mutex, which is not held over I/O

	mu       sync.Mutex
	until    time.Time // of the next probe
	cooldown time.Duration
	failures uint64
	last     string
	untold   seldom.Counter // failed probes
	told     bool           // that it is out
}

const (
	cooldownFirst = time.Second
	cooldownMost  = 30 * time.Second
)

// errOut stands for the answer of a backend whose breaker is open.
var errOut = errors.New("repair: the backend is out")

// suspect finds out whether the backend is to blame for err: it probes the backend and, if that
// fails too, opens the breaker and returns true.
func (r *Repairer) suspect(ctx context.Context, b *backend, err error) bool {
	if b.breaker.open.Load() || errors.Is(err, errOut) {
		return true
	}
	b.breaker.probing <- struct{}{} // others wait for what comes of it
	defer func() { <-b.breaker.probing }()
	if b.breaker.open.Load() {
		return true
	}
	probed := b.probe(ctx)
	if probed == nil || ctx.Err() != nil {
		return false
	}
	b.breaker.mu.Lock()
	b.breaker.cooldown = cooldownFirst
	b.breaker.mu.Unlock()
	r.tripped(ctx, b, probed)
	b.breaker.open.Store(true)
	return true
}

// forget closes the breaker. It reports whether the log has told that the backend is out.
func (b *breaker) forget() (told bool) {
	b.open.Store(false)
	b.mu.Lock()
	defer b.mu.Unlock()
	told, b.told = b.told, false
	return told
}

// tripped schedules the next probe. It tells that the backend is out, but for one that comes and goes
// only once a minute (R36).
func (r *Repairer) tripped(ctx context.Context, b *backend, err error) {
	br := &b.breaker
	br.mu.Lock()
	defer br.mu.Unlock()
	wait := br.cooldown/2 + jitter(br.cooldown/2)
	br.cooldown = min(2*br.cooldown, cooldownMost)
	br.until = r.o.Now().Add(wait)
	br.failures++
	br.last = err.Error()
	if !br.told {
		var failures uint64
		if failures, br.told = br.untold.Happened(); br.told {
			b.log.Warn("a backend is out: its keys wait", "backend", b.name, "error", br.last, "failures", failures)
		}
	}
	r.later(ctx, wait, func() { r.reprobe(ctx, b) })
}

func (r *Repairer) reprobe(ctx context.Context, b *backend) {
	b.breaker.probing <- struct{}{}
	defer func() { <-b.breaker.probing }()
	err := b.probe(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.tripped(ctx, b, err)
	default:
		if told := b.breaker.forget(); told {
			b.log.Info("a backend is back", "backend", b.name)
		}
		r.counts.recent.restart()
		r.Kick()
	}
}
