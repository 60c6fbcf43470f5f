package service

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// openJournal opens the journal, without which the proxy does not start (R20).
func (p *Proxy) openJournal() error {
	names := p.names()
	j, err := ledger.OpenJournal(p.Config, names, p.journalTrouble, func() {
		p.logs.Main.Warn().Msg("the journal works again")
	})
	if err != nil {
		return err
	}
	p.journal = &ledger.NamedJournal{Journal: j, Names: names, Dir: p.Config.JournalDir()}
	if gone := j.Gone(); len(gone) > 0 {
		p.logs.Main.Warn().Strs("backends", gone).Int("keys", j.Stats().Gone).
			Msg("the journal has pending keys for backends that are no longer configured: they are kept")
	}
	return nil
}

func (p *Proxy) journalTrouble(err error) {
	msg := "the journal is in trouble"
	if errors.Is(err, journal.ErrUnnoted) {
		msg = "a write goes on without a record in the journal"
	}
	if errors.Is(err, journal.ErrGone) { // final, since another process may own what is there now
		msg = "the journal is gone, and nothing is recorded until the proxy is restarted: put DataDir back first " +
			"if it was moved; if it was deleted, what the backends lacked is no longer known, and akubra verify --journal finds it"
	}
	p.logs.Main.Error().Err(err).Str("policy", p.Config.OnJournalError).Msg(msg)
}

// makeRepair sets up repair: in this process, or for an `akubra repair` that connects through the
// admin listener.
func (p *Proxy) makeRepair() error {
	first, err := p.prepareSigned(p.Config, false)
	if err != nil {
		return err
	}
	p.repairer.Store(first.repairer)
	p.probe, p.signed = first.probe, first
	busy := func() string {
		if p.repairer.Load() == nil {
			return ""
		}
		return "the proxy repairs by itself (Repair): akubra status shows how far it is"
	}
	p.journalAdmin = remote.NewServer(remote.ServerOptions{
		Journal: p.journal, Store: p.journal.Journal, Names: p.journal.Names, Dir: p.journal.Dir,
		Fence: engineFence{p.engine}, Resolved: p.resolved, Out: p.Out, Busy: busy,
		Settled: func(t *task.Task, action, by string) {
			p.logs.Main.Warn().Str("action", "resolve").Str("what", ledger.ObjectOf(t)).Str("by", by).Str("result", action).Msg("audit")
		},
		Parked: func(t *task.Task) { p.repairFailed(*t, errors.New(t.LastError)) },
	})
	return nil
}

// lateWait is how long a backend may take, once it goes on, for a write that it gave no answer to.
const lateWait = 2 * time.Second

// newRepairer makes a repairer for this process, with the options that come from the configuration.
func (p *Proxy) newRepairer(o repair.Options) (*repair.Repairer, error) {
	if p.manners == nil { // one for all: it is about one file
		var err error
		if p.manners, err = OpenManners(p.Config); err != nil {
			return nil, err
		}
	}
	o.Memory = p.manners
	o.Journal, o.Fence, o.Log = p.journal, engineFence{p.engine}, repairLog{engineLog{p.logs}}
	o.Maintained, o.Pressed = p.isOut, p.isPressed
	o.LateWait = lateWait
	o.OnResolved = func(t task.Task, action string) { p.resolved(&t, action) }
	o.OnFailed = p.repairFailed
	o.OnWrote = func(name string) { p.health.Wrote(slices.Index(p.names(), name)) }
	o.OnRefused = func(name string, err error) {
		if e := client.AsError(err); e != nil {
			p.health.Refused(slices.Index(p.names(), name), e.Status, e.Code)
		}
	}
	o.Pending = func() int { return p.journal.Journal.Stats().Pending }
	return repair.New(o)
}

// resolved writes the line in the synclog.
func (p *Proxy) resolved(t *task.Task, action string) {
	r := ledger.ResolvedRecord(t, action, p.journal.Names)
	p.synclog.Record(&r)
}

// repairFailed reports what needs a human, not what will be tried again.
func (p *Proxy) repairFailed(t task.Task, err error) {
	if t.Parked != "" {
		p.logs.Main.Error().Err(err).Str("bucket", t.Bucket).Str("key", t.Key).Str("reason", string(t.Parked)).Int("tries", t.Tries).
			Msg("object parked: it cannot be repaired automatically and needs you (akubra journal show, akubra resolve)")
	}
}

// isOut reports whether a backend must be left alone because it is in maintenance or demoted.
func (p *Proxy) isOut(name string) bool {
	return slices.Contains(p.Out(), name)
}

// isPressed reports whether clients need all the room that there is at a backend, so that repair stays behind
// them: writes have just been deferred there, wait for it, or are under way up to its limit (R10, R13).
func (p *Proxy) isPressed(name string) bool {
	i := slices.Index(p.names(), name)
	return i >= 0 && (p.engine.Pressed(i) || p.limiter.AtLimit(p.engine.Now(), i))
}

// Out are the names of the backends that must be left alone because they are in maintenance or
// demoted.
func (p *Proxy) Out() (names []string) {
	for _, s := range p.status() {
		if s.State != limiter.StateActive {
			names = append(names, s.Name)
		}
	}
	return names
}

// repairStatus returns the progress of the repair in this process; ok is false without one.
func (p *Proxy) repairStatus() (s repair.Status, ok bool) {
	r := p.repairer.Load()
	if r == nil {
		return repair.Status{}, false
	}
	return r.Status(), true
}

// closeJournal writes what is buffered; nobody may use the journal any more.
func (p *Proxy) closeJournal() error {
	if p.journal == nil {
		return nil
	}
	return p.journal.Journal.Close()
}

// RepairOptions returns the options that come from the configuration.
func RepairOptions(c *config.Config, environ []string) (repair.Options, error) {
	backends, err := RepairBackends(c, environ)
	if err != nil {
		return repair.Options{}, err
	}
	return repair.Options{
		Backends:         backends,
		Concurrency:      c.Repair.Objects(),
		Most:             mostRepairs(c),
		ObjectsPerSecond: c.Repair.ObjectsPerSecond,
		MaxTries:         c.Repair.MaxTries,
		CopyBucketConfig: c.Repair.CopyBucketConfig,
		OnConflict:       onConflict(c),
		IgnoreETags:      !c.CompareETags,
		DialTimeout:      c.ConnectionDialTimeout,
		Timeout:          c.ConnectionTimeout,
	}, nil
}

// onConflict is what the configuration says of conflicts.
func onConflict(c *config.Config) repair.Policy {
	p := repair.Policy{Newest: c.OnConflict == config.OnConflictNewest}
	if i := c.OnConflict.PreferredOf(c.Backends); i >= 0 {
		p.Prefer = c.BackendNames()[i]
	}
	return p
}

// OpenManners opens what is known of the backends' ways, in DataDir.
func OpenManners(c *config.Config) (*repair.Manners, error) {
	return repair.OpenManners(filepath.Join(c.DataDir, repair.MannersName))
}

// RepairBackends returns the backends with their keys; each must have keys.
func RepairBackends(c *config.Config, environ []string) ([]repair.Backend, error) {
	keys, err := c.SigningKeys(environ)
	if err != nil {
		return nil, err
	}
	var backends []repair.Backend
	names, rates, weights := c.BackendNames(), c.BytesPerSecond(), c.ReadWeights()
	for i, u := range c.BackendURLs() {
		tlsConfig, err := c.ClientTLS(i)
		if err != nil {
			return nil, err
		}
		weight := 1
		if weights != nil {
			weight = weights[i]
		}
		backends = append(backends, repair.Backend{
			Name: names[i], URL: u.String(), TLS: tlsConfig, BytesPerSecond: rates[i], Weight: weight,
			Credentials: repair.Credentials{
				AccessKey: keys[i].AccessKey, SecretKey: string(keys[i].SecretKey),
				SessionToken: string(keys[i].SessionToken), Region: keys[i].Region,
			},
		})
	}
	return backends, nil
}

// engineFence is repair's Fence when it runs in the proxy.
type engineFence struct{ engine *engine.Engine }

var _ repair.Fence = engineFence{}

func (f engineFence) Begin(bucket, key string) bool { return f.engine.BeginRepair(bucket, key) }
func (f engineFence) Seal(bucket, key string) bool  { return f.engine.SealRepair(bucket, key) }
func (f engineFence) Unseal(bucket, key string)     { f.engine.UnsealRepair(bucket, key) }
func (f engineFence) End(bucket, key string) bool   { return f.engine.EndRepair(bucket, key) }

// repairLog implements repair's Log.
type repairLog struct{ engineLog }

// Info writes what the operator may want to know; Warn is engineLog's.
func (l repairLog) Info(msg string, keyvals ...any) {
	writeLog(l.logs.Main.Info(), msg, keyvals)
}
