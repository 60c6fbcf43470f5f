package engine

// While the socket takes whatever arrives of a large body at once, no goroutine of the leg's own
// sends it: the handler pushes it there right after filling the pipe. The first time that
// something is left over, the send goroutine takes over for good. Whoever looks at sending sees no
// difference: both announce their end through sent.

// startPushing leaves sending to the handler's goroutine, which is the caller, and sends what is
// in the pipe.
func (l *leg) startPushing(c Conn) {
	// Waiting for the client is not the backend's fault (R13).
	l.r.e.o.Limiter.Progress(l.backend, l.slot, farFuture)
	l.beginSend(c, false)
	l.mu.Lock()
	l.pushing = true
	l.mu.Unlock()
	l.push()
}

// push sends what is in the pipe, if that is up to the handler.
func (l *leg) push() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.pushing {
		return
	}
	pushed := l.r.message.Pushed(l.index)
	if pushed.Len() == 0 {
		return
	}
	switch all, err := l.sendChunks(l.sendTo, pushed, 0, false); {
	case err != nil:
		l.stopPushingLocked(err)
	case !all:
		l.pushing = false
		go l.sendFn()
	}
}

// push has each leg send what is in its pipe, if that is up to the handler.
func (r *request) push() {
	for i := range r.legs {
		r.legs[i].push()
	}
}

// endPushing records that the body has come to its end.
func (r *request) endPushing() {
	for i := range r.legs {
		l := &r.legs[i]
		l.mu.Lock()
		l.stopPushingLocked(nil)
		l.mu.Unlock()
	}
}

// stopPushingLocked ends pushing if it has not ended yet. Any goroutine may call it.
func (l *leg) stopPushingLocked(cause error) {
	if l.pushing {
		l.pushing = false
		l.endSend(cause) // first: somebody waits for it
		l.progress()
	}
}
