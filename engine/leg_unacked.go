package engine

import "errors"

// That our system has taken bytes says nothing about the backend: over a link that was cut silently it
// takes some megabytes, which a slow client needs minutes to send. So bytes count as moved once the
// backend's system has acknowledged them (R13). Legs do not check that; the watch for silent backends
// does, while no leg ends well.

// acknowledged is what the backend has acknowledged of a leg's message, as far as it was looked at.
type acknowledged struct {
	conn  Conn
	bytes uint64
	again bool  // they were sent again and again in vain
	since int64 // when it was seen first that others were waited for; 0: they were not
}

// Unacknowledged returns the longest time for which the backend has acknowledged nothing on the
// connection of one of its legs, although something was sent. The time counts from the first call that
// saw it. Only one goroutine may call it per backend. It looks at every request.
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

// Renew cuts the connections on which a backend has acknowledged nothing for that long, although bytes
// were sent again and again. The caller knows that other connections work. The legs start again on new
// connections, if they may (R12). Like Unacknowledged it looks at every request, and is for the same
// goroutine.
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
