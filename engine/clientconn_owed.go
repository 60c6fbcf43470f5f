package engine

import "sync/atomic"

// owedAnswer is what a client's connection knows of an answer that not the server's
// goroutine is going to send (detach.go). The zero value stands for none.
type owedAnswer struct {
	state atomic.Uint32
	// paid is received from by the server's goroutine, which makes it before it says so.
	paid chan struct{}
}

const (
	answerOut     = 1 << iota // it was not sent yet
	answerAwaited             // the server's goroutine waits until it was
	closePutOff               // the connection is to be closed then
)

func (o *owedAnswer) isOut() bool { return o.state.Load()&answerOut != 0 }

// tryPutOff puts closing off, if there is something to wait for.
func (o *owedAnswer) tryPutOff() bool {
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

// owe notes that somebody else is going to answer the request at hand, and pay then.
// Until that, only who answers may send.
func (c *clientConn) owe() {
	c.void = true
	c.owed.state.Store(answerOut)
}

// awaitAnswer waits until no answer is owed. It is false where that was the connection's
// last. The server's goroutine calls it before anything that is about the next request.
func (c *clientConn) awaitAnswer() bool {
	for {
		s := c.owed.state.Load()
		if s&answerOut == 0 {
			break
		}
		if c.owed.paid == nil {
			c.owed.paid = make(chan struct{}, 1)
		}
		if c.owed.state.CompareAndSwap(s, s|answerAwaited) {
			<-c.owed.paid
			break
		}
	}
	if c.interrupted() && c.quiet() != evicted {
		c.linger, c.void = true, true
		return false
	}
	return true
}

// pay notes that the answer was sent. After the last one of a connection the server's
// goroutine is made to close it.
func (c *clientConn) pay(last bool) {
	if last {
		c.interrupt()
	}
	s := c.owed.state.Swap(0)
	if s&closePutOff != 0 {
		_ = c.Close()
	}
	if s&answerAwaited != 0 {
		c.owed.paid <- struct{}{}
	}
}
