package engine

import (
	"cmp"
	"crypto/tls"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/internal/accept"
	"github.com/akubra/akubra/internal/seldom"
)

// listener accepts clients' connections up to a bound (R23). At the bound it closes the connection
// that has been idle for longest, or that has taken too long to send a request's head. If there is
// none, the newcomer is told so, by goroutines of the listener's own, which are bounded as well.
type listener struct {
	*accept.Listener
	e   *Engine
	tls *tls.Config // of the clients; nil is plain HTTP

	open    atomic.Int64  // connections that were accepted and not closed
	leaving atomic.Int64  // of them, those that were evicted
	left    chan struct{} // capacity 1: one has gone
	ended   chan struct{} // closed once Accept has failed, for good: nobody comes any more
	atBound seldom.Counter
	cuts    [cutReasons]atomic.Uint64

	noneSilent atomic.Int64 // until then no upload has been silent for long enough; on the engine's clock

	end      sync.Once
	refusing atomic.Int64
	refusals sync.WaitGroup

	mu    sync.Mutex    // never held over a wait
	conns []*clientConn // that are open
	quiet []candidate   // the next ones to be evicted, the last one first
}

// candidate is a connection that could be evicted when it was looked at.
type candidate struct {
	c *clientConn
	q quiet
}

const (
	refusalTime = 2 * time.Second

	// idleGrace is how long a connection must have been idle before it can be closed: most of
	// those that have just connected, or just had an answer, are about to send a request.
	idleGrace = 250 * time.Millisecond

	// roomTime bounds the wait for a place.
	roomTime = time.Second

	// headGrace is how long a request's head may take before its connection can be closed.
	headGrace = 5 * time.Second

	// maxCandidates is how many connections are selected for eviction at a time: looking through
	// all of them for each connection past the bound would cost too much.
	maxCandidates = 64
)

// aside bounds the connections past the bound that exist because evicted ones are not quite gone,
// and, separately, those that are being refused.
func aside(limit int64) int64 { return min(4+limit/16, 64) }

// Why clients' connections are cut or refused, as metrics name it.
const (
	cutRefused = iota // no place was free
	cutIdle           // it made room for another one
	cutSilent         // nothing has come on it
	cutHead           // the head of a request took too long
	cutBody           // a body came too slowly
	cutAnswer         // an answer was taken too slowly
	cutReasons
)

var cutNames = [cutReasons]string{"refused", "idle", "silent", "head", "body", "answer"}

func newListener(ln net.Listener, e *Engine) *listener {
	l := &listener{e: e, tls: e.o.TLS, left: make(chan struct{}, 1), ended: make(chan struct{})}
	l.Listener = accept.New(ln, accept.Options{
		Log:        func(msg string, keyvals ...any) { e.o.Log.Warn(msg, keyvals...) },
		OutOfFiles: e.relieve,
	})
	return l
}

// max is the bound, which can change while connections are open.
func (l *listener) max() int64 { return int64(l.e.current().MaxConnections) }

// shrink evicts idle connections past the bound after it has been lowered.
func (l *listener) shrink() {
	for l.open.Load()-l.leaving.Load() > l.max() {
		if evicted, _ := l.evict(); !evicted {
			return
		}
	}
}

func (l *listener) cut(reason int) { l.cuts[reason].Add(1) }

func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			l.end.Do(func() { close(l.ended) })
			return nil, err
		}
		if l.open.Add(1) <= l.max() || l.makeRoom() {
			return newClientConn(nc, l), nil
		}
		l.open.Add(-1)
		l.cut(cutRefused)
		if l.refusing.Add(1) > aside(l.max()) {
			l.refusing.Add(-1)
			l.refuseShort(nc)
			continue
		}
		l.refusals.Go(func() {
			l.refuse(nc)
			l.refusing.Add(-1)
		})
	}
}

// makeRoom finds a place for the connection that has just been counted past the bound. If every
// candidate has been idle for only a moment, it waits for the first of them, or for evicted ones
// to go; others that connect meanwhile would have to wait as well.
func (l *listener) makeRoom() bool {
	if times, say := l.atBound.Happened(); say {
		l.e.o.Log.Warn("as many clients are connected as can be: the ones that are idle make room, or else new ones get 503",
			"bound", l.max(), "times", times, "evicted", l.cuts[cutIdle].Load()+l.cuts[cutHead].Load(), "refused", l.cuts[cutRefused].Load())
	}
	patience := time.NewTimer(roomTime)
	defer patience.Stop()
	for {
		open, wait := l.open.Load(), roomTime
		if l.leaving.Load() < aside(l.max()) { // else those that were evicted have to go first
			if open-l.leaving.Load() <= l.max() {
				return true
			}
			evicted, later := l.evict()
			if evicted || later <= 0 {
				return evicted
			}
			wait = later
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.left:
			timer.Stop()
		case <-patience.C:
			return false
		case <-l.Closed():
			return false
		}
	}
}

// evict closes the connection that can best be spared, if there is one. If there is none yet,
// later is the time until there may be one.
func (l *listener) evict() (evicted bool, later time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for chosen := false; ; {
		n := len(l.quiet)
		if !chosen && (n == 0 || !l.quiet[n-1].q.idle()) { // others may be idle by now
			later = l.chooseLocked()
			chosen = true
			continue
		}
		if n == 0 {
			return false, later
		}
		next := l.quiet[n-1]
		l.quiet[n-1] = candidate{}
		l.quiet = l.quiet[:n-1]
		if next.c.place < 0 || !next.c.tryEvict(next.q) {
			continue
		}
		l.leaving.Add(1)
		if next.q.idle() {
			l.cut(cutIdle)
		} else {
			l.cut(cutHead)
		}
		return true, 0
	}
}

// chooseLocked selects what can be evicted: the connections that have been idle for longest, then
// those whose head has taken longest. later is the time until the next idle one can be.
func (l *listener) chooseLocked() (later time.Duration) {
	now := l.e.now()
	slowBefore, idleBefore := idleSince(now-int64(l.e.o.headGrace)), idleSince(now-int64(idleGrace))
	youngest := quiet(math.MaxInt64)
	l.quiet = l.quiet[:0]
	for _, c := range l.conns {
		switch q := c.quiet(); {
		case q <= 0:
		case q.idle() && q > idleBefore:
			youngest = min(youngest, q)
		case q.idle() || q <= slowBefore:
			l.quiet = append(l.quiet, candidate{c, q})
		}
	}
	slices.SortFunc(l.quiet, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.q&quietHead, a.q&quietHead), cmp.Compare(b.q, a.q))
	})
	if more := len(l.quiet) - maxCandidates; more > 0 {
		l.quiet = slices.Delete(l.quiet, 0, more)
	}
	if youngest == math.MaxInt64 {
		return 0
	}
	return time.Duration(youngest-idleBefore) / 2
}

// enter and leave keep the list of open connections.
func (l *listener) enter(c *clientConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.place = len(l.conns)
	l.conns = append(l.conns, c)
}

func (l *listener) leave(c *clientConn) {
	l.mu.Lock()
	last := len(l.conns) - 1
	l.conns[last].place = c.place
	l.conns[c.place] = l.conns[last]
	l.conns[last] = nil
	l.conns, c.place = l.conns[:last], -1
	l.mu.Unlock()
	c.cede()
	if c.quiet() == evicted {
		l.leaving.Add(-1) // before open: makeRoom must not count one that has gone as one that is leaving
	}
	l.open.Add(-1)
	select {
	case l.left <- struct{}{}:
	default:
	}
}

// refuse answers when the request arrives, because clients take an answer that was there before it
// for a broken connection (net/http does). If no request arrives in time, the answer is what they
// find when they send one.
func (l *listener) refuse(nc net.Conn) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(refusalTime))
	if l.tls != nil {
		nc = tls.Server(nc, l.tls)
	}
	buf := make([]byte, 4<<10)
	n, err := nc.Read(buf)
	if err != nil && !isTimeout(err) {
		return
	}
	_ = nc.SetDeadline(time.Now().Add(refusalTime))
	answer, size, id := l.e.ownAnswer(errTooManyConnections)
	if _, err := nc.Write(answer); err != nil {
		return
	}
	method, target := parseRequestLine(string(buf[:n]))
	l.e.told(nc.RemoteAddr(), id, method, target, errTooManyConnections.status, size)
	// Input that is still arriving would turn the close into a reset (R7).
	if c, ok := nc.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		return
	}
	for {
		if _, err := nc.Read(buf); err != nil {
			return
		}
	}
}

// refuseShort is refuse without waiting, for when too many are being refused.
func (l *listener) refuseShort(nc net.Conn) {
	defer nc.Close()
	if l.tls != nil {
		return // it would have to wait for a handshake
	}
	answer, size, id := l.e.ownAnswer(errTooManyConnections)
	_ = nc.SetDeadline(time.Now().Add(refusalTime)) // a new socket takes it at once
	if _, err := nc.Write(answer); err == nil {
		l.e.told(nc.RemoteAddr(), id, "", "", errTooManyConnections.status, size)
	}
}

// Clients describes the clients' connections.
type Clients struct {
	Open           int
	Bound          int
	Requests       int // that clients wait for
	RequestsBound  int
	Deletes        int64 // bytes that lists of objects to delete take
	DeletesBound   int64
	AcceptFailures uint64            // how often none could be accepted, for a time
	Cut            map[string]uint64 // refused or cut, by the reason
}

// door is the listener; nil before Serve. Any goroutine may call it.
func (e *Engine) door() *listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listener
}

// Clients returns the state of the clients' connections.
func (e *Engine) Clients() Clients {
	o := e.current()
	s := Clients{
		Bound: o.MaxConnections, Cut: make(map[string]uint64, cutReasons),
		Requests: int(e.handling.Load()), RequestsBound: o.MaxConcurrentRequests,
		Deletes: e.deleting.Load(), DeletesBound: maxDeleteMemory,
	}
	l := e.door()
	if l == nil {
		return s
	}
	s.Open, s.AcceptFailures = int(l.open.Load()), l.Failed()
	for reason, name := range cutNames {
		s.Cut[name] = l.cuts[reason].Load()
	}
	return s
}
