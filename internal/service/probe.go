package service

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/online"
	"github.com/akubra/akubra/synclog/repair/client"
)

// probeAgain is how long to wait before asking again a backend that could not be asked.
const probeAgain = time.Minute

// conditionsProbe finds out which backends ignore the conditions of writes (R29), in the
// background: a backend about which that is not known yet may still decide. It asks each one until
// that has answered. start starts its goroutine, close ends it.
type conditionsProbe struct {
	bucket   string
	names    []string
	clients  []*client.Client
	found    func(ignoring uint64) // is told whenever that changes
	log      func(backend, what, why string)
	interval time.Duration

	cancel context.CancelFunc
	done   chan struct{}
}

// newConditionsProbe returns nil if there is no ProbeBucket.
func newConditionsProbe(c *config.Config, environ []string) (*conditionsProbe, error) {
	if c.ProbeBucket == "" {
		return nil, nil
	}
	all, unsigned, err := onlineBackends(c, environ)
	if err != nil {
		return nil, err
	}
	p := &conditionsProbe{bucket: c.ProbeBucket, names: c.BackendNames(), interval: probeAgain, done: make(chan struct{})}
	for i, o := range all {
		var made *client.Client // none without keys
		if unsigned[i] == "" {
			if made, err = client.New(o); err != nil {
				p.close()
				return nil, err
			}
		}
		p.clients = append(p.clients, made)
	}
	return p, nil
}

func (p *conditionsProbe) start() {
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(p.done)
		p.run(ctx)
	}()
}

func (p *conditionsProbe) run(ctx context.Context) {
	again := time.NewTicker(p.interval)
	defer again.Stop()
	var ignoring uint64
	told := make([]string, len(p.clients))
	for unknown := true; unknown; {
		unknown = false
		for i, c := range p.clients {
			if c == nil || told[i] != "" && told[i] != online.ConditionsUnknown {
				continue
			}
			what, why := online.Conditions(ctx, c, p.bucket)
			if ctx.Err() != nil {
				return
			}
			// A backend that refuses them never decides wrongly, but it cannot say yes.
			if what == online.ConditionsIgnored || what == online.ConditionsRefused {
				ignoring |= 1 << i
				p.found(ignoring)
			}
			if told[i] == "" || what != online.ConditionsUnknown {
				p.log(p.names[i], what, strings.Join(why, "; "))
			}
			told[i] = what
			unknown = unknown || what == online.ConditionsUnknown
		}
		if !unknown {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *conditionsProbe) close() {
	if p.cancel != nil {
		p.cancel()
		<-p.done
	}
	for _, c := range p.clients {
		if c != nil {
			c.Close()
		}
	}
}

// newProbe makes the probe of conditions, which reports to the engine and to the log.
func (p *Proxy) newProbe(c *config.Config) (*conditionsProbe, error) {
	probe, err := newConditionsProbe(c, os.Environ())
	if probe == nil {
		return nil, err
	}
	probe.found = p.engine.SetIgnoring
	probe.log = func(backend, what, why string) {
		log := p.logs.Main.Info()
		if what != online.ConditionsKept {
			log = p.logs.Main.Warn()
		}
		log.Str("backend", backend).Str("conditions", what).Str("reason", why).Msg("examined whether the backend heeds the conditions of writes")
	}
	return probe, nil
}
