package engine

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// A dial that does not succeed may take long, and every request would start another one. So at
// most maxDials are made to a backend at a time, unless one has just succeeded. A leg that gets no
// place within the time for a dial fails like one that cannot connect (R13, R23).
const (
	maxDials  = 64
	mostDials = 1024 // in any case
	justNow   = int64(time.Second)
	// How often a leg that waits for a place looks again.
	firstDialPause = time.Millisecond
	lastDialPause  = 50 * time.Millisecond
)

// dials are the dials to one backend that are in progress.
type dials struct {
	now       atomic.Int64
	succeeded atomic.Int64 // when the last one did that has; 0 is never
}

// tryBegin takes a place for a dial if there is one.
func (d *dials) tryBegin(now int64) bool {
	most := int64(maxDials)
	if last := d.succeeded.Load(); last != 0 && now-last < justNow {
		most = mostDials
	}
	if d.now.Add(1) <= most {
		return true
	}
	d.now.Add(-1)
	return false
}

// end gives the place back.
func (d *dials) end(now int64, ok bool) {
	d.now.Add(-1)
	if ok {
		d.succeeded.Store(max(now, 1))
	}
}

// dial connects c once there is a place for it.
func (l *leg) dial(c Conn) error {
	e := l.r.e
	d := &e.dials[l.backend]
	if !d.tryBegin(e.now()) {
		if err := l.awaitDial(d); err != nil {
			return err
		}
	}
	ok, began := false, e.now()
	defer func() { d.end(e.now(), ok) }()
	err := c.Connect()
	if ok = err == nil; isTimeout(err) && e.adaptive != nil { // whoever looks for silent backends may have missed it
		e.adaptive.Cut(l.backend, began)
	}
	return err
}

// awaitDial waits for a place until the leg is aborted or its backend has left the pool.
func (l *leg) awaitDial(d *dials) error {
	e := l.r.e
	over := e.now() + int64(l.r.o.SlotTimeout)
	for pause := firstDialPause; ; pause = min(2*pause, lastDialPause) {
		time.Sleep(pause)
		now := e.now()
		switch cause := l.why(); {
		case cause != nil:
			return cause
		case e.o.Limiter.State(l.backend) == stateDemoted:
			return errDemoted
		case d.tryBegin(now):
			return nil
		case now >= over:
			return fmt.Errorf("cannot connect to backend %q: %w", l.name(), os.ErrDeadlineExceeded)
		}
	}
}
