package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/akubra/akubra/s3/sigv4"
)

// runTarget drives S3 endpoints, round by round, and removes what it put there. The targets of a case
// follow each other directly, in an order that changes with the round (measureAll). Each has a bucket of
// its own, because one may be in front of the other.
func (o *options) runTarget(ctx context.Context, rs *Results) (err error) {
	cases := o.cases()
	for i := range cases {
		c := &cases[i]
		if c.Fault != "" || c.Idle || c.TLS || c.Cut || c.Way != nil {
			return fmt.Errorf("cannot use -scenario %q or -cut with -target: put, get, head, mix and noalive can be", o.scenario)
		}
		c.Backends = 0 // nobody knows
	}
	var removes []func() error
	defer func() {
		for _, remove := range removes {
			err = errors.Join(err, remove())
		}
	}()
	for _, t := range o.targets {
		remove, err := o.prepareBucket(t)
		if err != nil {
			return err
		}
		removes = append(removes, remove)
		t.prefix = fmt.Sprintf("akubra-bench-%08x", rand.Uint32())
		fmt.Fprintf(o.log, "driving %s, bucket %s, keys under %s/\n", t.url, t.bucket, t.prefix)
	}
	for round := range o.rounds {
		for i := range cases {
			for j := range o.targets {
				t := o.targets[(j+round)%len(o.targets)]
				r, err := o.measureTarget(ctx, t, &cases[i], round)
				if err != nil {
					return fmt.Errorf("cannot measure %s with %s: %w", t.name, &cases[i], err)
				}
				fmt.Fprintf(o.log, "%d/%d %s\n", round+1, o.rounds, r.line())
				rs.Runs = append(rs.Runs, r)
				if ctx.Err() != nil {
					return errors.New("interrupted")
				}
			}
		}
	}
	printTable(o.out, rs.Runs)
	printTargets(o.out, rs.Runs, o.targets)
	printSummary(o.out, rs.Runs)
	return nil
}

func (t *s3Target) dialer() func() (net.Conn, error) {
	if !t.tls {
		return dialer(t.addr, nil)
	}
	name, _, _ := net.SplitHostPort(t.addr)
	return dialer(t.addr, &tls.Config{ServerName: name, NextProtos: []string{"http/1.1"}, InsecureSkipVerify: t.insecure})
}

func (o *options) measureTarget(ctx context.Context, t *s3Target, c *Case, round int) (run *Run, err error) {
	hashes := payloadHashes(c)
	l := &load{dial: t.dialer(), conns: c.Conns, rate: c.Rate, fresh: c.NoAlive, timeout: o.timeout}
	l.source = func(conn int) source { return t.newSource(c, hashes, conn) }
	defer l.close()
	if err := l.open(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, removeKeys(l)) }()
	if c.Method == "GET" || c.Method == "HEAD" {
		if err := fill(l); err != nil {
			return nil, err
		}
	}
	stop := showProgress(o.log, c, nil)
	if c.WarmUp > 0 {
		warm := l.run(ctx, c.WarmUp, nil)
		if warm.succeeded.Load() == 0 && ctx.Err() == nil {
			stop()
			return nil, fmt.Errorf("no request succeeded while it warmed up: %v", warm.errors)
		}
	}
	stop()
	r := l.run(ctx, c.Duration, func(r *recorder) { stop = showProgress(o.log, c, r) })
	stop()
	run = newRun(c, t.name, round, r, usage{})
	run.setFigures()
	return run, nil
}

// fill puts a few objects for each connection to read.
func fill(l *load) error {
	err := eachSource(l, func(c *client, s *s3Source) error {
		s.sizes = s.sizes[:min(len(s.sizes), 8)]
		put := *s.c
		put.Method = "PUT"
		whole := s.c
		s.c = &put
		defer func() { s.c = whole }()
		for range s.sizes {
			var req request
			s.next(&req)
			err := c.do(&req)
			s.done(&req, err)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot put the objects to read: %w", err)
	}
	return nil
}

// removeKeys deletes every key that a connection may have written, each on its own
// connection.
func removeKeys(l *load) error {
	return eachSource(l, func(c *client, s *s3Source) (failed error) {
		for s.key = range s.sizes {
			if !s.touched[s.key] {
				continue
			}
			req := request{method: "DELETE", answer: -1}
			req.head = s.t.s3Request(s.buf, s.signer, "DELETE", s.path(), 0, sigv4.Empty, s.c.NoAlive)
			if err := c.do(&req); err != nil && !errors.Is(err, statusError(404)) {
				failed = fmt.Errorf("cannot remove %s: %w", s.path(), err)
			}
		}
		return failed
	})
}

// eachSource calls do for all connections at once, and returns one of their errors.
func eachSource(l *load, do func(c *client, s *s3Source) error) error {
	var all sync.WaitGroup
	failed := make([]error, len(l.clients))
	for i, c := range l.clients {
		all.Go(func() {
			c.progress, c.until = func(int) {}, time.Time{}
			failed[i] = do(c, l.sources[i].(*s3Source)) //nolint:forcetypeassert // measureTarget's
		})
	}
	all.Wait()
	return cmp.Or(failed...)
}

// payloadHashes are the hashes of the payloads of all sizes that a case sends.
func payloadHashes(c *Case) map[int64]string {
	sizes := []int64{c.Size}
	if c.Method == methodMix {
		sizes = mixSizes
	}
	hashes := map[int64]string{}
	for _, size := range sizes {
		h := sha256.New()
		for left := size; left > 0; left -= int64(len(payload)) {
			h.Write(payload[:min(left, int64(len(payload)))])
		}
		hashes[size] = hex.EncodeToString(h.Sum(nil))
	}
	return hashes
}

// bucketPause is the time between the deletion of the last key and of the bucket.
const bucketPause = 500 * time.Millisecond

// prepareBucket creates a bucket, unless one was given, and returns a function that removes it.
func (o *options) prepareBucket(t *s3Target) (remove func() error, err error) {
	own := t.bucket == ""
	if own {
		t.bucket = fmt.Sprintf("akubra-bench-%08x", rand.Uint32())
	}
	do := func(method string, body []byte) error {
		c := &client{dial: t.dialer(), timeout: o.timeout, progress: func(int) {}}
		defer c.close()
		req := request{method: method, size: int64(len(body)), body: body, answer: -1}
		req.head = t.s3Request(nil, t.signer(), method, "/"+t.bucket, req.size, sigv4.Hash(body), true)
		return c.do(&req)
	}
	if !own {
		if err := do("HEAD", nil); err != nil {
			return nil, fmt.Errorf("cannot use bucket %q: %w", t.bucket, err)
		}
		return func() error { return nil }, nil
	}
	var body []byte
	if t.region != "us-east-1" {
		body = fmt.Appendf(nil, `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>`, t.region)
	}
	if err := do("PUT", body); err != nil {
		return nil, fmt.Errorf("cannot create bucket %q: %w", t.bucket, err)
	}
	return func() error {
		// Behind a fan-out some backend may not have deleted the last key yet.
		time.Sleep(bucketPause)
		if err := do("DELETE", nil); err != nil {
			return fmt.Errorf("cannot remove bucket %q: %w", t.bucket, err)
		}
		return nil
	}, nil
}
