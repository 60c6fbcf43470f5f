package service

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
)

// atReload says what a reload does about a key that has changed (R22).
type atReload int

const (
	isApplied    atReload = iota + 1 // from the next request, handshake or line on
	needsRestart                     // whatever depends on it is made only at the start
)

// keysAtReload has every key. TestR22EveryKeyAtReload names the ones that were forgotten, here, in
// docs/CONFIGURATION.md and in config.yaml.example.
var keysAtReload = map[string]atReload{
	"Listen": needsRestart, "Backends": needsRestart, "AdminListen": needsRestart, "MetricsListen": needsRestart, "MaxHeaderSize": needsRestart,
	"CongestionControl": needsRestart, "DataDir": needsRestart, "Durability": needsRestart, "OnJournalError": needsRestart,

	"MaintainedBackend": isApplied, "ConnLimit": isApplied, "ConnectionTimeout": isApplied, "ConnectionDialTimeout": isApplied,
	"StallTimeout": isApplied, "FailureLimit": isApplied, "WriteAck": isApplied, "ReadPolicy": isApplied, "ReadFrom": isApplied,
	"StaleReads": isApplied, "HedgeAfter": isApplied, "HedgeBudget": isApplied, "ReadCheck": isApplied, "Primary": isApplied,
	"PrimaryWait": isApplied, "ProbeBucket": isApplied, "AdditionalRequestHeaders": isApplied, "AdditionalResponseHeaders": isApplied,
	"Domains": isApplied, "SyncLogMethods": isApplied, "CompareETags": isApplied, "RingSize": isApplied, "MaxBodySize": isApplied,
	"MaxConcurrentRequests": isApplied, "MinClientRate": isApplied, "ShutdownDelay": isApplied, "ShutdownTimeout": isApplied,
	"AdminHosts": isApplied, "AdminToken": isApplied, "MetricsToken": isApplied, "OnConflict": isApplied, "BackendCredentials": isApplied, "BackendTLS": isApplied,
	"Credentials.AccessKey": isApplied, "Credentials.SecretKey": isApplied, "Credentials.Region": isApplied,
	"Credentials.File": isApplied, "Credentials.Profile": isApplied,
	"Repair.Enabled": isApplied, "Repair.Concurrency": isApplied, "Repair.ObjectsPerSecond": isApplied,
	"Repair.BytesPerSecond": isApplied, "Repair.MaxTries": isApplied, "Repair.CopyBucketConfig": isApplied,
	"TLS.CertFile": isApplied, "TLS.KeyFile": isApplied, "TLS.MinVersion": isApplied, // but see restartFor
	"TLS.Backends.CAFile": isApplied, "TLS.Backends.InsecureSkipVerify": isApplied, "TLS.Backends.ClientCertFile": isApplied,
	"TLS.Backends.ClientKeyFile": isApplied, "TLS.Backends.MinVersion": isApplied,
	"Logging.Synclog.Stdout": isApplied, "Logging.Synclog.Stderr": isApplied, "Logging.Synclog.File": isApplied,
	"Logging.Synclog.Syslog": isApplied, "Logging.Synclog.Level": isApplied,
	"Logging.Accesslog.Stdout": isApplied, "Logging.Accesslog.Stderr": isApplied, "Logging.Accesslog.File": isApplied,
	"Logging.Accesslog.Syslog": isApplied, "Logging.Accesslog.Level": isApplied,
	"Logging.Mainlog.Stdout": isApplied, "Logging.Mainlog.Stderr": isApplied, "Logging.Mainlog.File": isApplied,
	"Logging.Mainlog.Syslog": isApplied, "Logging.Mainlog.Level": isApplied,
}

// Reloaded is the result of a reload.
type Reloaded struct {
	File string `json:"file"`
	// Applied are the keys that have changed, and are in effect from now on.
	Applied []string `json:"applied"`
	// NeedRestart are the keys whose values differ from those that the proxy was started with, and
	// that take effect only at the next start.
	NeedRestart []string `json:"needrestart"`
	// DependsOn says why nothing was applied although nothing is wrong: it does not go with
	// something that needs a restart first.
	DependsOn string `json:"dependson,omitempty"`
	// Mistakes are why nothing was applied.
	Mistakes []string `json:"mistakes,omitempty"`
}

// Reload reads the configuration file again, and the files that it names (R22). What can change
// while the proxy runs applies to everything that begins from then on; what is in flight keeps
// what it began with. If there is a mistake, nothing changes at all. No connection is affected. by
// is who asked for it, for the log. Any goroutine may call it; one reload runs at a time.
func (p *Proxy) Reload(by string) Reloaded {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	r := Reloaded{File: p.File, Applied: []string{}, NeedRestart: []string{}}
	if err := p.reload(&r); err != nil {
		lines, ok := errors.AsType[config.Errors](err)
		if !ok {
			lines = config.Errors{err.Error()}
		}
		r.Applied, r.NeedRestart, r.Mistakes = []string{}, []string{}, lines
		p.logs.Main.Error().Str("by", by).Strs("mistakes", lines).Msg("cannot reload the configuration: all stays as it was")
		return r
	}
	line := p.logs.Main.Info()
	if len(r.NeedRestart) > 0 {
		line = p.logs.Main.Warn().Strs("needrestart", r.NeedRestart)
	}
	if r.DependsOn != "" {
		line = line.Str("dependson", r.DependsOn)
	}
	line.Str("by", by).Strs("applied", r.Applied).Msg("configuration reloaded")
	return r
}

func (p *Proxy) reload(r *Reloaded) error {
	if p.File == "" {
		return errors.New("cannot reload the configuration: the proxy was started without a file")
	}
	next, err := config.Load(p.File)
	if err != nil {
		return err
	}
	if mistakes := Preflight(next, p.File, os.Environ()); mistakes != nil {
		return mistakes
	}
	current := p.current.Load()
	fixed := restartFor(p.Config, next)
	r.NeedRestart = append(r.NeedRestart, fixed...)
	next, err = next.Keeping(p.Config, fixed)
	if err != nil {
		r.NeedRestart, r.DependsOn = config.Changes(p.Config, next), strings.Join(fixed, ", ")
		return nil //nolint:nilerr // it is valid, but not together with what needs a restart
	}
	r.Applied = append(r.Applied, config.Changes(current, next)...)
	return p.apply(r, current, next)
}

// restartFor returns the keys in which next differs from what the proxy was started with and that
// need a restart.
func restartFor(started, next *config.Config) []string {
	onOff := (started.TLS.CertFile == "") != (next.TLS.CertFile == "") // it is another kind of listener
	return slices.DeleteFunc(config.Changes(started, next), func(key string) bool {
		return keysAtReload[key] != needsRestart && !(onOff && (key == "TLS.CertFile" || key == "TLS.KeyFile"))
	})
}

// apply replaces current by next. Everything that can fail is prepared first.
func (p *Proxy) apply(r *Reloaded, current, next *config.Config) error {
	maintained, err := p.changedMaintenance(current, next)
	if err != nil {
		return err
	}
	files := shareFiles(next)
	options := engineOptions(next, files)
	if err := p.engine.Check(options); err != nil {
		return err
	}
	parts, err := loadTLS(next)
	if err != nil {
		return err
	}
	tlsChanged := keepTLS(p.tls, parts)
	signed, err := p.prepareSigned(next, slices.ContainsFunc(tlsChanged, func(t *tlsPart) bool { return t.backends != nil }))
	if err != nil {
		return err
	}
	newLogs, err := p.logs.Prepare(next.Logging)
	if err != nil {
		signed.cancel()
		return err
	}

	p.committing.Lock()
	defer p.committing.Unlock()
	if p.stopped {
		signed.cancel()
		newLogs.Cancel()
		return errors.New("cannot reload the configuration: the proxy is stopping")
	}
	if err := newLogs.Commit(); err != nil {
		p.logs.Main.Warn().Err(err).Msg("cannot close a log that is no longer written")
	}
	p.backlog.replace(p.logs.SynclogQueues())
	p.synclog.SetMethods(next.SyncLogMethods)
	pipes.SetMaxFiles(files.pipes)
	if p.files = files; !p.limiter.SetLimits(files.backends, next.FailureLimit) {
		r.NeedRestart = append(r.NeedRestart, "ConnLimit") // a higher limit does not fit into the room that New made
	}
	for _, b := range p.backends {
		b.SetDialTimeout(next.ConnectionDialTimeout)
		b.SetUserTimeout(next.ConnectionTimeout)
	}
	p.prober.SetTimeout(next.ConnectionDialTimeout)
	p.silence.setPatience(next.ConnectionDialTimeout)
	p.tls = parts
	p.useTLS(tlsChanged)
	p.admin.SetHosts(admin.Hosts(next.AdminListen, next.AdminHosts))
	p.metricsPage.SetHosts(admin.Hosts(next.MetricsListen, next.AdminHosts))
	p.setMetricsToken(string(next.MetricsToken))
	p.admin.SetToken(string(next.AdminToken))
	if err := p.engine.Reconfigure(options); err != nil {
		p.logs.Main.Error().Err(err).Msg("requests go on with the options that they had") // Check has seen none
	}
	p.setConfigured(next.MaintainedMask(), maintained)
	if signed.optionsChanged && !mentions(r.Applied, "Repair.", "Credentials", "BackendCredentials", "OnConflict", "CompareETags", "ReadFrom", "Connection", "TLS.Backends.", "BackendTLS") {
		r.Applied = append(r.Applied, "Credentials (what they refer to)")
	}
	for _, part := range tlsChanged {
		if !mentions(r.Applied, strings.Split(part.key, "[")[0]) {
			r.Applied = append(r.Applied, part.key+" (what is in the files)")
		}
	}
	p.tellTLS(tlsChanged)
	signed.commit(p)
	p.current.Store(next)
	return nil
}

// mentions reports whether one of the keys begins with one of the prefixes.
func mentions(keys []string, prefixes ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
	})
}

// StopTime is how long Stop may take, according to the configuration.
func (p *Proxy) StopTime() time.Duration {
	c := p.current.Load()
	return c.ShutdownDelay + c.ShutdownTimeout
}

// replace gives the backlog the queues that the synclog has now. They also get what was missed.
func (b *synclogBacklog) replace(queues []*logs.Queue) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.Equal(b.sinks, queues) {
		return
	}
	b.sinks = queues
	b.queues = slices.DeleteFunc(b.queues, func(q *logs.Queue) bool { return !slices.Contains(queues, q) })
	if len(b.keys) > 0 || b.all {
		b.reviveLocked(queues...)
	}
}
