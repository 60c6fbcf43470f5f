package engine

import "sync/atomic"

// pendingAnswer is the state of an answer that another goroutine than the server's will
// send (detach.go). The zero value means that there is none.
type pendingAnswer struct {
	state atomic.Uint32
	// sent wakes the server's goroutine, which makes it before it sets answerAwaited.
	sent chan struct{}
}

const (
	answerOut     = 1 << iota // it has not been sent yet
	answerAwaited             // the server's goroutine waits for that
	closePutOff               // the connection is closed after that
)

func (o *pendingAnswer) isOut() bool { return o.state.Load()&answerOut != 0 }

// tryPutOff postpones closing if an answer is pending.
func (o *pendingAnswer) tryPutOff() bool {
	for {
		s := o.state.Load()
		if s&answerOut == 0 {
			return false
		}
		if o.state.CompareAndSwap(s, s|closePutOff) {
			return true
		}
	}
}

// leaveAnswer records that another goroutine will answer the current request and then call
// answerSent. Until then only that goroutine may send.
func (c *clientConn) leaveAnswer() {
	c.dropNext = true
	c.pending.state.Store(answerOut)
}

// awaitAnswer waits until no answer is pending. It returns false if that was the connection's
// last. The server's goroutine calls it before anything that concerns the next request.
func (c *clientConn) awaitAnswer() bool {
	for {
		s := c.pending.state.Load()
		if s&answerOut == 0 {
			break
		}
		if c.pending.sent == nil {
			c.pending.sent = make(chan struct{}, 1)
		}
		if c.pending.state.CompareAndSwap(s, s|answerAwaited) {
			<-c.pending.sent
			break
		}
	}
	if c.interrupted() && c.quiet() != evicted && !c.spared {
		c.linger, c.dropNext = true, true
		return false
	}
	return true
}

// answerSent records that the answer was sent. After a connection's last answer the server's
// goroutine is made to close it.
func (c *clientConn) answerSent(last bool) {
	if last {
		c.interrupt()
	}
	s := c.pending.state.Swap(0)
	if s&closePutOff != 0 {
		_ = c.Close()
	}
	if s&answerAwaited != 0 {
		c.pending.sent <- struct{}{}
	}
}
