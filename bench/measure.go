package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// measure starts a peer, drives it, and stops it.
func (o *options) measure(ctx context.Context, c *Case, peer string, round int, all []*process) (*Run, error) {
	stores := all[:c.Backends]
	if c.Way != nil {
		return o.measureWan(ctx, c, peer, round, stores)
	}
	p, err := startPeer(peer, o, c, stores)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if drivesOne(peer) {
		stores = stores[:1]
	}
	var conf = trusted
	if !c.TLS || peer == "direct" {
		conf = nil
	}
	l := &load{
		dial: dialer(p.addr, conf), source: func(conn int) source { return newStubSource(c, p.addr, conn) },
		conns: c.Conns, rate: c.Rate, fresh: c.NoAlive, timeout: o.timeout, cut: c.Cut,
	}
	defer l.close()
	if err := l.open(); err != nil {
		return nil, err
	}
	if c.WarmUp > 0 && !c.Idle && !c.Cut {
		warm := l.run(ctx, c.WarmUp, nil)
		if warm.succeeded.Load() == 0 {
			return nil, fmt.Errorf("no request was answered while it warmed up: %v", warm.errors)
		}
		if err := settle(stores, warm); err != nil {
			return nil, err
		}
	}
	r, used, err := o.window(ctx, l, c, p, stores)
	if err != nil {
		return nil, err
	}
	run := newRun(c, peer, round, r, used)
	counts, err := takeAll(stores)
	if err != nil {
		return nil, err
	}
	if err := verify(c, peer, r, counts); err != nil {
		run.Wrong = err.Error()
	}
	if o.syscalls && p.cmd != nil && !c.Idle {
		if run.Syscalls, err = countSyscalls(ctx, l, p); err != nil {
			return nil, err
		}
	}
	run.setFigures()
	return run, nil
}

// window drives for the time that counts, and measures what the peer used for all requests begun in
// it, including copies that end after the last answer.
func (o *options) window(ctx context.Context, l *load, c *Case, p *process, stores []*process) (*recorder, usage, error) {
	if _, err := takeAll(stores); err != nil {
		return nil, usage{}, err
	}
	before, err := p.usageBefore()
	if err != nil {
		return nil, usage{}, err
	}
	drive := l.run
	if c.Idle {
		drive = l.idle
	}
	var faulty *process
	if c.Fault != "" && p.cmd != nil {
		// The last backend: the first is the one that nginx's client waits for.
		faulty = stores[len(stores)-1]
		defer func() { _ = faulty.setFault(newFault(faultNone)) }()
	}
	profiled := make(chan error, 1)
	go func() { profiled <- o.profileOf(p, c.Duration) }()
	stop := make(chan struct{})
	failed := make(chan error, 1)
	r := drive(ctx, c.Duration, func(r *recorder) {
		go r.watch(p.rss, stop)
		go func() { failed <- o.breakBackend(c, faulty, r, stop) }()
	})
	close(stop)
	if err := errors.Join(<-failed, <-profiled); err != nil {
		return nil, usage{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, usage{}, err
	}
	if faulty == nil && !c.Cut {
		if err := settle(stores, r); err != nil {
			return nil, usage{}, err
		}
	}
	after, err := p.usage()
	return r, after.since(before), err
}

// breakBackend begins the case's fault when its time has come.
func (o *options) breakBackend(c *Case, faulty *process, r *recorder, stop <-chan struct{}) error {
	if faulty == nil {
		return nil
	}
	t := time.NewTimer(time.Until(r.start.Add(time.Duration(faultAt * float64(c.Duration)))))
	defer t.Stop()
	select {
	case <-stop:
		return nil
	case <-t.C:
	}
	f := newFault(c.Fault)
	f.rate, f.period = o.fault.rate, o.fault.period
	return faulty.setFault(f)
}

func newRun(c *Case, peer string, round int, r *recorder, used usage) *Run {
	run := &Run{
		Round: round, Peer: peer, Case: *c, Started: r.start, Seconds: r.window.Seconds(),
		Sent: r.sent.Load(), Succeeded: r.succeeded.Load(), Failed: r.failed.Load(), Unsent: r.unsent.Load(),
		Errors: r.errors, Bytes: r.moved.Load(), BytesWithin: r.bytesInWindow(),
		Latency: r.latencyBetween(0, 1), First: &r.first, LateP99: int64(r.late.At(.99)), Operations: r.byOperation(c),
		Usage: used, Series: r.series(),
	}
	run.SucceededWithin, run.FailedWithin = r.inWindow()
	if c.Fault != "" {
		run.FaultAt = faultAt * run.Seconds
		run.Before, run.Settled = r.latencyBetween(0, faultAt), r.latencyBetween(settledAt, 1)
	}
	return run
}
