package service

import (
	"slices"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/config"
)

func (p *Proxy) makeEngine() error {
	pool := make([]engine.Backend, len(p.backends))
	for i, b := range p.backends {
		pool[i] = engineBackend{b}
	}
	o := engineOptions(p.Config, p.files)
	o.Backends, o.Limiter, o.Synclog, o.Log = pool, p.limiter, syncRecorder{p.synclog, p.health.Health}, engineLog{p.logs}
	o.Health = p.health.Health
	o.Metrics, o.Journal, o.Wanted, o.TLS = p.metrics, engineJournal{p.journal.Journal}, p.wanted, p.clientTLS()
	o.OwedPart, o.Removing, o.FindVersion = p.journal.Journal.OwedPart, p.journal.Journal.Removing, p.findVersion
	var err error
	p.engine, err = engine.New(o)
	return err
}

// engineOptions returns the engine's options from the configuration.
func engineOptions(c *config.Config, files fileShares) engine.Options {
	hedgeAfter, hedgeP95 := c.HedgeDelay()
	return engine.Options{
		Domains:                   c.Domains,
		AdditionalRequestHeaders:  c.AdditionalRequestHeaders,
		AdditionalResponseHeaders: c.AdditionalResponseHeaders,
		ConnectionTimeout:         c.ConnectionTimeout,
		StallTimeout:              c.StallTimeout,
		SlotTimeout:               c.ConnectionDialTimeout,
		RingSize:                  int(c.RingSize),
		MaxHeaderSize:             int(c.MaxHeaderSize),
		MaxBodySize:               int64(c.MaxBodySize),
		MaxConcurrentRequests:     files.requests,
		MaxConnections:            files.clients,
		MinClientRate:             int64(c.MinClientRate),
		WriteAck:                  c.WriteAck,
		ReadPolicy:                c.ReadPolicy,
		ReadFrom:                  c.ReadWeights(),
		StaleReads:                c.StaleReads,
		HedgeAfter:                hedgeAfter,
		HedgeP95:                  hedgeP95,
		HedgeBudget:               c.HedgeBudget,
		ReadCheck:                 c.ReadCheck,
		Primary:                   primaryRules(c),
		PrimaryWait:               c.PrimaryWait,
		CompareETags:              c.CompareETags,
		RecordReads:               slices.Contains(c.SyncLogMethods, "GET") || slices.Contains(c.SyncLogMethods, "HEAD"),
	}
}

func primaryRules(c *config.Config) (rules []engine.PrimaryRule) {
	for _, r := range c.PrimaryRules() {
		rules = append(rules, engine.PrimaryRule(r))
	}
	return rules
}

// wanted makes repair take a key first that a client is waiting for.
func (p *Proxy) wanted(bucket, key string) {
	if r := p.repairer.Load(); r != nil {
		r.Prefer(bucket, key)
	}
}

// findVersion asks the backends for a version of an object, with the keys of repair.
func (p *Proxy) findVersion(bucket, key, id string) (have, may uint64) {
	names := p.names()
	r := p.repairer.Load()
	if r == nil {
		return 0, 1<<len(names) - 1
	}
	return r.FindVersion(names, bucket, key, id)
}

// engineBackend adapts a backend to the engine's interface.
type engineBackend struct{ *backends.Backend }

func (b engineBackend) Acquire(fresh bool) (engine.Conn, error) {
	c, err := b.Backend.Acquire(fresh)
	if err != nil {
		return nil, err
	}
	return c, nil
}
