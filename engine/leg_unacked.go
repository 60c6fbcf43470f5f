package engine

import "errors"

// What the system has taken of a message is no sign of its backend: over a link that was cut without a word
// it takes some megabytes, which a slow client needs minutes for. So bytes count as moved once the
// backend's system has acknowledged them (R13). Legs do not ask for that: who looks for silent backends does,
// where no leg ends well.

// acknowledged is what the backend has acknowledged of a leg's message, as far as it was looked at.
type acknowledged struct {
	conn  Conn
	bytes uint64
	again bool  // they were sent again and again in vain
	since int64 // when it was seen first that others were waited for; 0: they were not
}

// Unacknowledged returns for how long the backend has acknowledged nothing of what was sent on the connection of
// a leg, at most; a leg whose client pauses with all of it acknowledged waits for nothing. The time counts from the
// first call that saw it. One goroutine may call it for a backend. It looks at every request.
func (e *Engine) Unacknowledged(backend int, now int64) (longest int64) {
	for _, r := range e.list() {
		if l := r.legAt(backend); l != nil {
			longest = max(longest, l.unacknowledged(now))
		}
		r.release()
	}
	return longest
}

// legAt is the leg to that backend, if there is one that was asked.
func (r *request) legAt(backend int) *leg {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.legs {
		if l := &r.legs[i]; l.backend == backend && !l.held {
			return l
		}
	}
	return nil
}

func (l *leg) unacknowledged(now int64) int64 {
	l.mu.Lock() // nobody gives the connection back meanwhile
	defer l.mu.Unlock()
	if l.conn == nil {
		l.ack = acknowledged{}
		return 0
	}
	bytes, more, again := l.conn.Acknowledged()
	switch a := &l.ack; {
	case !more:
		*a = acknowledged{}
		return 0
	case a.since == 0 || a.conn != l.conn || a.bytes != bytes:
		*a = acknowledged{conn: l.conn, bytes: bytes, since: now}
	}
	l.ack.again = again
	return now - l.ack.since
}

// errLost ends a connection that a middlebox has forgotten.
var errLost = errors.New("connection lost: nothing arrives that is sent on it, while the backend answers on others")

// Renew cuts the connections of a backend on which it has acknowledged nothing for that long, although it was sent
// again and again. The caller knows that others arrive there. Their legs begin again on fresh connections, where
// they may (R12). It looks at every request, as Unacknowledged does, and is for the same goroutine.
func (e *Engine) Renew(backend int, now, patience int64) {
	for _, r := range e.list() {
		if l := r.legAt(backend); l != nil && l.unacknowledged(now) >= patience {
			l.renew()
		}
		r.release()
	}
}

func (l *leg) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := &l.ack; a.again && a.conn == l.conn && l.conn != nil {
		l.lost = true
		l.conn.Abort()
	}
}

// orLost is err, or errLost if it has come of renew.
func (l *leg) orLost(err error) error {
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost && l.cause == nil {
		return errLost
	}
	return err
}
