package backends

import (
	"fmt"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Probe asks the backend for `HEAD /` on a new connection, within timeout for
// the answer and the dial timeout for the connection. Any HTTP answer is a
// success (R13): an S3 storage answers an unsigned request with 403.
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

// Returner decides which backends are probed, and hears what came of it.
type Returner interface {
	// Returnable reports whether backend is to be probed: it is demoted and idle enough to
	// come back (R13), or it is not known whether it answers at all (R36).
	Returnable(backend int) bool
	// Return: it has answered, and is put back into the pool.
	Return(backend int) bool
	// Unreached: it has not, and err is why.
	Unreached(backend int, err error)
}

// Prober probes the backends that its Returner asks for, and no others, and lets those that
// answer back into the pool (R13). It owns one goroutine a backend.
type Prober struct {
	backends []*Backend
	returner Returner
	interval time.Duration
	timeout  time.Duration

	stop chan struct{}
	done sync.WaitGroup
}

// NewProber makes a prober that looks every interval and waits up to timeout for
// an answer. The order of backends is that of the returner's numbers.
func NewProber(list []*Backend, returner Returner, interval, timeout time.Duration) *Prober {
	return &Prober{backends: list, returner: returner, interval: interval, timeout: timeout, stop: make(chan struct{})}
}

// Start starts the goroutines.
func (p *Prober) Start() {
	for i := range p.backends {
		p.done.Go(func() { p.watch(i) })
	}
}

// Close stops the goroutines and waits for them: for as long as a probe under
// way may take.
func (p *Prober) Close() {
	close(p.stop)
	p.done.Wait()
}

func (p *Prober) watch(i int) {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
		if !p.returner.Returnable(i) {
			continue
		}
		if err := p.backends[i].Probe(p.timeout); err != nil {
			p.returner.Unreached(i, err)
		} else {
			p.returner.Return(i)
		}
	}
}
