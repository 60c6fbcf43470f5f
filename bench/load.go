package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// load drives one address with a number of connections. Closed loop: each sends its next request
// when the last one is answered. Open loop (rate > 0): requests are due at even intervals, whatever
// becomes of earlier ones. The first free connection sends the next one, and its latency counts from
// when it was due: a server that stands still is charged for all clients who would have come
// meanwhile (no coordinated omission).
type load struct {
	dial    func() (net.Conn, error)
	source  func(conn int) source
	conns   int
	rate    float64 // requests a second; 0 is closed loop
	fresh   bool    // a new connection for each request
	timeout time.Duration
	limit   int64 // end after so many requests; 0 is none
	cut     bool  // break off at the window's end what is then on its way

	clients []*client
	sources []source
}

// open opens all connections.
func (l *load) open() error {
	for i := range l.conns {
		c := &client{dial: l.dial, timeout: l.timeout, fresh: l.fresh}
		l.clients = append(l.clients, c)
		l.sources = append(l.sources, l.source(i))
		if err := c.open(); err != nil {
			return err
		}
	}
	return nil
}

// reconnect replaces all connections by new ones.
func (l *load) reconnect() error {
	l.close()
	for _, c := range l.clients {
		if err := c.open(); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) close() {
	for _, c := range l.clients {
		c.close()
	}
}

// run drives for a window, and until all requests that began within it have ended. began is called
// at the start; ctx ends the run early.
func (l *load) run(ctx context.Context, window time.Duration, began func(*recorder)) *recorder {
	r := newRecorder(window)
	r.begin()
	if began != nil {
		began(r)
	}
	var over atomic.Bool
	end := time.AfterFunc(window, func() { over.Store(true) })
	defer end.Stop()
	defer context.AfterFunc(ctx, func() { over.Store(true) })()
	var tickets atomic.Int64
	var all sync.WaitGroup
	for i, c := range l.clients {
		all.Go(func() {
			c.progress = r.progress
			if l.cut {
				c.until = r.start.Add(window)
			}
			for !over.Load() {
				intended := time.Now()
				n := tickets.Add(1) - 1
				if l.limit > 0 && n >= l.limit {
					return
				}
				if l.rate > 0 {
					intended = r.start.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
					if r.over(intended) {
						return
					}
					// A connection that is free in time sends it, though the timer may fire late.
					time.Sleep(time.Until(intended))
					if ctx.Err() != nil {
						return
					}
				}
				if err := l.one(c, l.sources[i], r, intended); err != nil {
					// A server that refuses at once is not asked a million times a second.
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	if l.rate > 0 && ctx.Err() == nil {
		r.unsent.Store(max(0, int64(l.rate*window.Seconds())-r.sent.Load()))
	}
	return r
}

func (l *load) one(c *client, s source, r *recorder, intended time.Time) error {
	var req request
	s.next(&req)
	began := time.Now()
	err := c.do(&req)
	s.done(&req, err)
	if err != nil && l.cut && r.over(time.Now()) {
		return nil // broken off by ourselves
	}
	r.done(&req, intended, began, time.Now(), err)
	return err
}

// idle sends one request on each connection, one after the other, and then does
// nothing for the window.
func (l *load) idle(ctx context.Context, window time.Duration, began func(*recorder)) *recorder {
	r := newRecorder(window)
	r.begin()
	began(r)
	for i, c := range l.clients {
		c.progress = r.progress
		_ = l.one(c, l.sources[i], r, time.Now())
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(r.start.Add(window))):
	}
	return r
}
