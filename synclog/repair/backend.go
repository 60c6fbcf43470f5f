package repair

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/akubra/akubra/synclog/repair/client"
)

// feature is an S3 feature that a backend may not know. One that it has refused once is not
// requested again.
type feature uint32

const (
	featCondition feature = 1 << iota // If-Match, If-None-Match of a PUT
	featConditionDelete
	featChecksum // x-amz-checksum-*
	featClass    // x-amz-storage-class
	featACL
	featTagging
	featRetention // x-amz-object-lock-mode and its date
	featHold
	featRedirect // x-amz-website-redirect-location
)

func (f feature) String() string {
	return map[feature]string{
		featCondition: "conditional writes", featConditionDelete: "conditional deletes", featChecksum: "checksums",
		featClass: "this storage class", featACL: "ACLs", featTagging: "tags", featRetention: "retention", featHold: "legal holds",
		featRedirect: "redirects",
	}[f]
}

// backend is a backend with what has been learnt about it. Any goroutine may use it.
type backend struct {
	*client.Client
	name     string
	log      Log
	breaker  breaker
	refusals refusals
	pace     pace
	gate     gate
	making   making
	moved    atomic.Int64  // bytes of content that were sent there
	bytes    *rate.Limiter // nil: no bound
	weight   int

	// overwritten: the last copy there replaced something, or it was a delete.
	overwritten atomic.Bool

	lacks  atomic.Uint32 // features
	opaque atomic.Bool   // its ETags are no MD5s
	honest atomic.Bool   // they are, as far as was seen

	judging chan struct{} // of the two, by one at a time; no mutex, which is not held over I/O
}

func (b *backend) has(f feature) bool { return feature(b.lacks.Load())&f == 0 }

// forget records that the backend lacks a feature, and reports that once.
func (b *backend) forget(f feature, err error) {
	if feature(b.lacks.Or(uint32(f)))&f == 0 {
		b.log.Info("a backend does not know "+f.String(), "backend", b.name, "error", err.Error())
	}
}

func newBackends(o []Backend, dial, timeout time.Duration, conns int, log Log) ([]*backend, error) {
	if len(o) > 64 {
		return nil, errors.New("cannot work with more than 64 backends")
	}
	var all []*backend
	for i := range o {
		c := o[i].Credentials
		conn, err := client.New(client.Options{
			Name: o[i].Name, URL: o[i].URL, AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.SessionToken,
			Region: c.Region, TLS: o[i].TLS, Transport: o[i].Transport, DialTimeout: dial, Timeout: timeout, Connections: conns,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, &backend{
			Client: conn, name: o[i].Name, log: log, judging: make(chan struct{}, 1), breaker: breaker{probing: make(chan struct{}, 1)},
			bytes: byteLimiter(o[i].BytesPerSecond), weight: o[i].Weight,
		})
	}
	return all, nil
}

// probeTimeout bounds the question of whether a backend is there at all.
const probeTimeout = 5 * time.Second

// probe asks for anything: every answer will do, except those that everybody would get.
func (b *backend) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	res, err := b.Do(ctx, &client.Request{Method: http.MethodGet})
	if err == nil {
		return res.Body.Close()
	}
	if backendFault(err) {
		return err
	}
	return nil
}

// backendFault reports whether an error may be due to the backend's state rather than to one
// object: no answer, overload, or credentials that it does not accept.
func backendFault(err error) bool {
	var source *client.SourceError
	var transport *client.TransportError
	switch {
	case errors.As(err, &source):
		return backendFault(source.Err)
	case errors.As(err, &transport):
		return !errors.Is(err, context.Canceled)
	}
	switch status := client.Status(err); {
	case status == http.StatusTooManyRequests:
		return true
	case status >= 500 && !client.Unsupported(err):
		return true
	}
	return client.HasCode(err, "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
		"RequestTimeTooSkewed", "AuthorizationHeaderMalformed", "AccountProblem", "InvalidSecurity")
}

func (b *backend) status() BackendStatus {
	s := BackendStatus{Name: b.name, Out: b.breaker.open.Load()}
	s.Busy, s.Limit = b.gate.state()
	b.breaker.mu.Lock()
	defer b.breaker.mu.Unlock()
	s.Failures, s.LastError = b.breaker.failures, b.breaker.last
	b.refusals.mu.Lock()
	defer b.refusals.mu.Unlock()
	if b.refusals.closed {
		s.Refuses, s.Until, s.LastError = true, b.refusals.until, b.refusals.why
	}
	if s.Out {
		s.Until = b.breaker.until
	}
	return s
}

// fault wraps an error with the name of the backend concerned.
type fault struct {
	b   *backend
	err error
}

func (f *fault) Error() string { return f.err.Error() }

func (f *fault) Unwrap() error { return f.err }

// at says which backend an error came from; an error of a stream keeps the backend that it was
// read from.
func (b *backend) at(err error) error {
	var f *fault
	if err == nil || errors.As(err, &f) {
		return err
	}
	return &fault{b, err}
}

func (b *backend) errorf(format string, args ...any) error {
	return &fault{b, fmt.Errorf("backend %q "+format, append([]any{b.name}, args...)...)}
}
