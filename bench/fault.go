package main

import (
	"fmt"
	"sync"
	"time"
)

// What can be wrong with a backend.
const (
	faultNone    = "none"
	faultTrickle = "trickle" // receives and sends bodies at RATE bytes a second per connection
	faultHang    = "hang"    // receives a head, then nothing, and sends nothing
	faultDead    = "dead"    // cuts its connections and refuses new ones
	faultFlap    = "flap"    // alternates between dead and well, each for half of PERIOD
)

// fault is what is wrong with a backend until ended is closed.
type fault struct {
	mode   string
	rate   int64
	period time.Duration
	ended  chan struct{}
	flap   sync.WaitGroup
}

func newFault(mode string) *fault {
	return &fault{mode: mode, rate: 64 << 10, period: time.Second, ended: make(chan struct{})}
}

func (f *fault) String() string { return fmt.Sprintf("%s %d %v", f.mode, f.rate, f.period) }

// parseFault reads what String wrote.
func parseFault(s string) (*fault, error) {
	f := newFault(faultNone)
	var period string
	if _, err := fmt.Sscan(s, &f.mode, &f.rate, &period); err != nil {
		return nil, fmt.Errorf("cannot read fault %q: %w", s, err)
	}
	var err error
	if f.period, err = time.ParseDuration(period); err != nil {
		return nil, fmt.Errorf("cannot read fault %q: %w", s, err)
	}
	if f.rate < 1 || f.period < time.Millisecond {
		return nil, fmt.Errorf("cannot use fault %q: want a positive rate and a period from 1ms", s)
	}
	return f, nil
}

// A trickle goes in steps of trickleStep.
const trickleStep = 50 * time.Millisecond

func (f *fault) step() int64 { return max(1, f.rate*int64(trickleStep)/int64(time.Second)) }

// pause waits between two steps, but no longer than the fault lasts.
func (f *fault) pause() {
	if f.mode != faultTrickle {
		return
	}
	t := time.NewTimer(trickleStep)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.ended:
	}
}

// setFault ends the current fault and begins f. Only one goroutine may call it.
func (s *backend) setFault(f *fault) {
	old := s.fault.Swap(f)
	close(old.ended)
	old.flap.Wait()
	switch f.mode {
	case faultDead:
		s.close()
	case faultFlap:
		s.close()
		f.flap.Go(func() { s.flap(f) })
	default:
		s.mustOpen()
	}
}

// flap returns when the fault has ended.
func (s *backend) flap(f *fault) {
	t := time.NewTicker(f.period / 2)
	defer t.Stop()
	for dead := true; ; {
		select {
		case <-f.ended:
			return
		case <-t.C:
		}
		if dead = !dead; dead {
			s.close()
		} else {
			s.mustOpen()
		}
	}
}

// mustOpen listens on the same port again. It is unlikely that somebody else has taken the port in
// between; if so, the benchmark cannot go on.
func (s *backend) mustOpen() {
	if err := s.open(); err != nil {
		panic(fmt.Sprintf("cannot listen again: %v", err))
	}
}
