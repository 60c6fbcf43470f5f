package backends

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Probe sends `HEAD /` on a new connection. The dial timeout bounds the connection, timeout the
// response. Any HTTP response is a success (R13): an S3 backend answers an unsigned request with
// 403.
func (b *Backend) Probe(timeout time.Duration) error {
	c, err := b.Acquire(true)
	if err != nil {
		return err
	}
	defer c.Discard()
	if err := c.Connect(); err != nil {
		return err
	}
	c.ReadTimeout(timeout)
	head := "HEAD / HTTP/1.1\r\nHost: " + b.name + "\r\nUser-Agent: akubra-probe\r\nConnection: close\r\n\r\n"
	if _, err := c.Send([]byte(head), timeout); err != nil {
		return fmt.Errorf("cannot probe backend %q: %w", b.name, err)
	}
	answer := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(answer)
	answer.SkipBody = true
	if err := answer.Read(c.Reader()); err != nil {
		return fmt.Errorf("cannot probe backend %q: %w", b.name, err)
	}
	return nil
}

// Returner decides which backends are probed and is told the results.
type Returner interface {
	// Returnable reports whether the backend should be probed: it is demoted and idle enough to
	// come back (R13), or it is not known yet whether it answers at all (R36).
	Returnable(backend int) bool
	// Return is called when the backend has answered; it puts the backend back into the pool.
	Return(backend int) bool
	// Unreached is called when the backend has not answered; err says why.
	Unreached(backend int, err error)
}

// Prober probes only the backends that its Returner asks for and returns those that answer to the
// pool (R13). It owns one goroutine per backend, and one per probe in progress.
type Prober struct {
	backends []*Backend
	returner Returner
	interval time.Duration
	timeout  atomic.Int64

	stop chan struct{}
	done sync.WaitGroup
}

// NewProber makes a prober that checks every interval and waits up to timeout for a response. The
// list has the same order as the returner's numbers.
func NewProber(list []*Backend, returner Returner, interval, timeout time.Duration) *Prober {
	p := &Prober{backends: list, returner: returner, interval: interval, stop: make(chan struct{})}
	p.SetTimeout(timeout)
	return p
}

// SetTimeout changes how long probes that begin from now on wait for a response.
func (p *Prober) SetTimeout(d time.Duration) { p.timeout.Store(int64(d)) }

// Start starts the goroutines.
func (p *Prober) Start() {
	for i := range p.backends {
		p.done.Go(func() { p.watch(i) })
	}
}

// Close stops the goroutines and waits for them, at most for as long as a probe in progress takes.
func (p *Prober) Close() {
	close(p.stop)
	p.done.Wait()
}

// If the first packet of a probe was lost, the probe notices that the link is up again only when
// TCP retransmits, after 1, 3, 7 … seconds (RFC 6298). So another probe is begun every nextProbe
// meanwhile, up to maxProbes.
const (
	nextProbe = time.Second
	maxProbes = 4
)

// mayBegin reports whether another probe may begin beside those running, of which the last one has begun so long
// ago. Where ticks are as far apart as probes, each tick counts, though it is a little early after a late one.
func (p *Prober) mayBegin(running int, ago time.Duration) bool {
	return running == 0 || running < maxProbes && ago >= nextProbe-p.interval/2
}

func (p *Prober) watch(i int) {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	results := make(chan error, maxProbes)
	running, last := 0, time.Time{}
	for {
		select {
		case <-p.stop:
			return
		case err := <-results:
			switch running--; {
			case err != nil:
				p.returner.Unreached(i, err)
			case p.returner.Returnable(i): // another one may have brought it back
				p.returner.Return(i)
			}
			continue
		case <-ticker.C:
		}
		if !p.mayBegin(running, time.Since(last)) || !p.returner.Returnable(i) {
			continue
		}
		running, last = running+1, time.Now()
		p.done.Go(func() { results <- p.backends[i].Probe(time.Duration(p.timeout.Load())) })
	}
}
