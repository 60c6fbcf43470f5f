package stub

import (
	"io"
	"time"
)

// exchange reads the body and sends the response.
func (c *conn) exchange(b *Behaviour) (keep bool) {
	c.body = bodyReader{br: c.br, framing: c.req.Framing, left: max(c.req.Length, 0)}
	c.sink.begin(c.req.Length, c.s.keepLimit(c.req))
	if c.continues(b) && !c.send("HTTP/1.1 100 Continue\r\n\r\n") {
		return false
	}
	if b.ReadRate > 0 {
		c.in.rate = b.ReadRate
		c.nc.SetReadBuffer(16 << 10)
	}
	c.out.rate = b.WriteRate

	if b.During != ReadOn {
		more, ok := c.read(b.After)
		if !ok {
			return false
		}
		if more {
			on, keep := c.during(b)
			if !on {
				return keep
			}
		}
	}
	if _, ok := c.read(whole); !ok {
		return false
	}
	c.in.rate = 0
	c.note(func(r *Request) { r.Stage = StageAnswer })
	a := c.work(b)
	for _, status := range b.Interim {
		if !c.send("HTTP/1.1 " + statusLine(status) + "\r\n\r\n") {
			return false
		}
	}
	if b.HangAfterBody && !c.hold(nil, true) || b.Gate != nil && !c.hold(b.Gate, true) {
		return false
	}
	return c.answer(a, b)
}

func (c *conn) continues(b *Behaviour) bool {
	switch b.Continue {
	case ContinueAlways:
		return true
	case ContinueNever:
		return false
	}
	return c.req.Headers.hasToken("Expect", "100-continue") && (b.During == ReadOn || b.After > 0)
}

// during does what b.During says in the middle of the body. on reports whether the request goes on
// as if nothing had happened.
func (c *conn) during(b *Behaviour) (on, keep bool) {
	switch b.During {
	case HangThere:
		return c.hold(nil, false), false
	case CloseThere, ResetThere:
		c.kill(b.During == ResetThere)
		return false, false
	}
	early := *b
	if early.Status == 0 {
		early.Status = 403
	}
	if b.During == AnswerAndClose || b.During == AnswerAndFin {
		early.Then = SayClose
	}
	keep = c.answer(override(errorAnswer(early.Status), &early), &early)
	if c.killed() {
		return false, false
	}
	switch b.During {
	case AnswerAndStop:
		keep = c.hold(nil, false) && keep
	case AnswerAndFin:
		c.nc.CloseWrite()
		c.read(whole)
		io.Copy(io.Discard, c.br)
		return false, false
	case AnswerAndClose:
		return false, false
	}
	_, ok := c.read(whole)
	return false, ok && keep
}

// hold waits until the gate is closed, or for Unhang if there is no gate, and reports whether to go
// on. With watch it also ends when the peer leaves, which can be noticed only if nothing is left to
// be read.
func (c *conn) hold(gate <-chan struct{}, watch bool) bool {
	var before Stage
	c.s.mu.Lock()
	before, c.req.Stage = c.req.Stage, StageHeld
	if gate == nil {
		gate = c.s.unhang
	}
	c.s.bumpLocked()
	c.s.mu.Unlock()

	var left chan error
	if watch {
		left = make(chan error, 1)
		go func() {
			_, err := c.br.Peek(1)
			left <- err
		}()
	}
	on := false
	for waiting := true; waiting; {
		select {
		case <-gate:
			on, waiting = true, false
		case <-c.down:
			waiting = false
		case err := <-left:
			left = nil // a next request sent early does not mean that the peer has left
			waiting = err == nil
			if err != nil {
				c.lost()
			}
		}
	}
	if left != nil { // stop the watcher
		c.nc.SetReadDeadline(time.Now())
		<-left
		c.nc.SetReadDeadline(time.Time{})
	}
	if on {
		c.note(func(r *Request) { r.Stage = before })
	}
	return on
}

// lost records that the peer left before it had its response.
func (c *conn) lost() {
	if !c.killed() {
		c.note(func(r *Request) { r.Gone = true })
	}
}
