package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/backends"
	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/engine/pipes"
	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/congestion"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/maintenance"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/internal/netio"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/repair"
)

// Values that cannot be configured.
const (
	backendIdleTimeout = 20 * time.Second
	answerHeadSize     = 16 << 10 // bytes of a response's head
	probeInterval      = time.Second
	lastErrorAge       = time.Minute // age up to which an error is named as the cause of a demotion
	// connectionsPerRequest allows for clients' idle connections, which cost little.
	connectionsPerRequest = 8
)

// Proxy is the whole service as described by one configuration: New constructs it, Start starts it,
// and Stop stops it in reverse order.
type Proxy struct {
	// Config is what it was made of, and is only read.
	Config *config.Config
	// File is where it was read from, for Reload; to be set before Start. "" is nowhere.
	File    string
	current atomic.Pointer[config.Config] // as it was last reloaded, but for what needs a restart

	// Failed hears why a listener has ended by itself: the proxy is to be stopped then.
	Failed chan error

	version  string
	logs     *logs.Logs
	backends []*backends.Backend
	watcher  *netio.Watcher // of their connections
	limiter  *limiter.Limiter
	health   *healthWatch

	maintenance *maintenance.File
	synclog     *synclog.Log
	backlog     *synclogBacklog
	metrics     *metrics.Metrics
	engine      *engine.Engine
	prober      *backends.Prober
	silence     *silenceWatch
	admin       *admin.Admin
	metricsPage *admin.Admin // on MetricsListen

	journal      *ledger.NamedJournal
	repairer     atomic.Pointer[repair.Repairer] // nil unless it repairs by itself
	manners      *repair.Manners                 // nil until it has repaired by itself
	journalAdmin *remote.Server

	listenerTLS atomic.Pointer[tls.Config] // nil without TLS
	tlsWatch    *watch

	certificates atomic.Pointer[[]metrics.Certificate] // in use; see noteCertificates

	reloading  sync.Mutex // held over a reload, and over a look at the files of TLS; before committing
	tls        []*tlsPart // whoever holds reloading
	committing sync.Mutex // held while what was prepared takes its place; no file but the logs' is opened under it
	stopped    bool       // nothing is replaced any more
	files      fileShares
	signed     signed
	probe      *conditionsProbe // nil without ProbeBucket

	configFile configFile // of the page
	owedBytes  owedBytes  // likewise
	verified   verifiedFile
	settling   sync.Map // [2]string of bucket and key: decisions that are being carried out

	inherited, inheritedAdmin net.Listener // see Inherit

	listener        net.Listener
	adminListener   net.Listener
	metricsListener net.Listener
	serving         sync.WaitGroup
	failed          atomic.Bool // a listener has ended by itself

	life context.Context    //nolint:containedctx // until Stop, of what the operator's pages begin
	end  context.CancelFunc // ends life
}

// New constructs the service and opens the journal; nothing listens yet. Start must be called next;
// if Start fails it closes the journal.
func New(c *config.Config, l *logs.Logs, version string) (*Proxy, error) {
	p := &Proxy{version: version, Config: c, logs: l, Failed: make(chan error, 2), watcher: netio.NewWatcher()}
	p.current.Store(c)
	p.life, p.end = context.WithCancel(context.Background())
	if err := p.make(); err != nil {
		_ = p.close() // the other error is returned, and nothing was accepted yet
		return nil, err
	}
	return p, nil
}

func (p *Proxy) make() error {
	c, l := p.Config, p.logs
	p.files = shareFiles(c)
	pipes.SetMaxFiles(p.files.pipes)
	if err := p.makeBackends(); err != nil {
		return err
	}
	if err := p.openJournal(); err != nil {
		return err
	}
	names := p.names()
	p.limiter = limiter.New(limiter.Options{
		Backends:     names,
		ConnLimit:    p.files.backends,
		FailureLimit: c.FailureLimit,
		Maintained:   p.loadMaintenance(),
		OnDemote:     p.demoted,
		OnReturn:     p.returned,
		Now:          func() int64 { return p.engine.Now() },
	})
	p.health = newHealthWatch(names, p.status, &l.Main)
	p.synclog = synclog.New(synclog.Options{
		Out:     synclogTee{l.Sync, p},
		Methods: c.SyncLogMethods,
		OnError: func(r *synclog.Record, _ error) { p.backlog.missed(r) }, // the log reports the error
	})
	p.backlog = newSynclogBacklog(p.journal, l.SynclogQueues(), p.synclog.Wants, &l.Main)
	p.backlog.start()
	l.OnSynclogLost(p.backlog.revived)
	p.metrics = metrics.New(p.version, names)
	if err := p.makeEngine(); err != nil {
		return err
	}
	if err := p.makeRepair(); err != nil {
		return err
	}
	p.prober = backends.NewProber(p.backends, returner{p.limiter, p.health}, probeInterval, c.ConnectionDialTimeout)
	p.silence = newSilenceWatch(p.backends, p.limiter, p.engine, p.health, c.ConnectionDialTimeout)
	p.observe()
	p.admin = admin.New(admin.Options{
		Version:       p.version,
		URLs:          p.urls(),
		Hosts:         admin.Hosts(c.AdminListen, c.AdminHosts),
		Token:         string(c.AdminToken),
		Status:        p.status,
		Health:        p.health.Status,
		SetMaintained: p.setMaintained,
		InFlight:      p.engine.InFlight,
		Records:       p.synclog.Counts,
		Connections:   p.files.admin,
		Metrics:       p.metrics,
		Owed:          p.owed,
		Latency:       p.metrics.Latency,
		Slow:          p.slow,
		WatchSlow:     p.engine.WatchSlow,
		ConfigDiffers: p.configDiffers,
		Certificates:  p.certificatesInUse,
		Settle:        p.settle,
		JournalStatus: func() any { return p.journalAdmin.Status() },
		JournalPage:   p.journalPage,
		JournalCalls:  remote.Calls,
		JournalCall:   p.journalAdmin.Answer,
		CheckConfig:   config.CheckText,
		MaxConfig:     config.MaxSize,
		Repair:        p.repairStatus,
		Reload: func(by string) (any, bool) {
			r := p.Reload(by)
			return r, r.Mistakes == nil
		},
		Log: engineLog{l}.Warn,
	})
	p.makeMetricsPage()
	return nil
}

func (p *Proxy) logStates() (all []metrics.LogState) {
	for _, s := range p.logs.States() {
		all = append(all, metrics.LogState(s))
	}
	return all
}

func (p *Proxy) status() []limiter.Status { return p.limiter.Status(p.engine.Now()) }

func (p *Proxy) makeBackends() error {
	var err error
	if p.tls, err = loadTLS(p.Config); err != nil {
		return err
	}
	for _, u := range p.Config.BackendURLs() {
		b, err := backends.New(backends.Options{
			URL:         u,
			DialTimeout: p.Config.ConnectionDialTimeout,
			UserTimeout: p.Config.ConnectionTimeout,
			IdleTimeout: backendIdleTimeout,
			ReadBuffer:  answerHeadSize,

			CongestionControl: p.Config.CongestionControl,
			Watcher:           p.watcher,
			Stray:             func() { p.strayed(u.Host) },
		})
		if err != nil {
			return err
		}
		p.backends = append(p.backends, b)
	}
	p.useTLS(p.tls)
	p.tlsWatch = newWatch(p.lookAtTLS, tlsInterval)
	return nil
}

func (p *Proxy) names() []string {
	names := make([]string, len(p.backends))
	for i, b := range p.backends {
		names[i] = b.Name()
	}
	return names
}

func (p *Proxy) urls() []string {
	urls := make([]string, len(p.backends))
	for i, b := range p.backends {
		urls[i] = b.URL()
	}
	return urls
}

// Start listens and serves until Stop. After an error there is nothing to stop.
func (p *Proxy) Start() error {
	if err := p.listen(); err != nil {
		_ = p.close() // as in New
		return err
	}
	p.committing.Lock() // a reload that somebody asks for at once finds everything started
	defer p.committing.Unlock()
	if p.adminListener != nil {
		p.serving.Go(func() { p.report(p.admin.Serve(p.adminListener)) })
	}
	if p.metricsListener != nil {
		p.serving.Go(func() { p.report(p.metricsPage.Serve(p.metricsListener)) })
	}
	p.watcher.Start()
	p.tlsWatch.start()
	p.prober.Start()
	p.silence.start()
	if p.probe != nil {
		p.probe.start()
	}
	p.health.start()
	if r := p.repairer.Load(); r != nil {
		r.Start()
	}
	p.serving.Go(func() { p.report(p.engine.Serve(p.listener)) })
	p.logs.Main.Info().Str("version", p.version).Str("listen", p.Addr()).Str("admin", p.AdminAddr()).
		Strs("backends", p.names()).Msg("akubra is ready")
	if s := p.files; s.tight(p.Config) {
		p.logs.Main.Warn().Int("files", s.limit).
			Int("clients", s.clients).Int("wantedclients", wantedClients(p.Config)).
			Int("requests", s.requests).Int("maxconcurrentrequests", p.Config.MaxConcurrentRequests).
			Int("backendconnections", s.backends).Int("connlimit", p.Config.ConnLimit).
			Msg("the limit of open files (ulimit -n) allows for fewer connections than configured")
	}
	return nil
}

// Inherit has Start use sockets that are listening already (R22); either may be nil. Call it before
// Start.
func (p *Proxy) Inherit(clients, admin net.Listener) { p.inherited, p.inheritedAdmin = clients, admin }

func (p *Proxy) listen() (err error) {
	control := congestion.New(p.Config.CongestionControl)
	if p.inherited != nil {
		p.listener, err = control.Adopt(p.inherited)
	} else {
		p.listener, err = control.Listen(p.Config.Listen)
	}
	if err != nil {
		return fmt.Errorf("cannot listen (Listen: %q): %w", p.Config.Listen, err)
	}
	switch {
	case p.inheritedAdmin != nil && p.Config.AdminListen == "":
		err = errors.New("there is a socket for it, but it is off")
	case p.inheritedAdmin != nil:
		p.adminListener = p.inheritedAdmin
	case p.Config.AdminListen != "":
		p.adminListener, err = net.Listen("tcp", p.Config.AdminListen)
	}
	if err != nil {
		_ = p.listener.Close()
		return fmt.Errorf("cannot listen (AdminListen: %q): %w", p.Config.AdminListen, err)
	}
	return p.listenForMetrics()
}

// Look returns unless something that requests need hangs.
func (p *Proxy) Look() {
	p.status()
	p.journal.Journal.Stats()
	p.synclog.Counts()
	p.engine.Clients()
}

// report hands on why a listener has ended by itself.
func (p *Proxy) report(err error) {
	if err != nil {
		p.failed.Store(true)
		p.Failed <- err
	}
}

// Addr is where clients are served.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// AdminAddr is the admin listener's address, or "" without one.
func (p *Proxy) AdminAddr() string {
	if p.adminListener == nil {
		return ""
	}
	return p.adminListener.Addr().String()
}

// InFlight is the number of clients' requests in flight.
func (p *Proxy) InFlight() int { return p.engine.InFlight() }

// JournalStatus is what is pending, and whether a repair beside this process is working on it.
func (p *Proxy) JournalStatus() remote.Status { return p.journalAdmin.Status() }

// Stop makes /ready say that the proxy is going away, accepts requests for another ShutdownDelay,
// finishes what is in flight within ShutdownTimeout, and records the rest as divergences (R22).
func (p *Proxy) Stop() {
	c := p.current.Load()
	delay := c.ShutdownDelay
	if p.failed.Load() {
		delay = 0 // there is no listener to accept requests
	}
	p.logs.Main.Info().Int("inflight", p.engine.InFlight()).Dur("delay", delay).Msg("stopping")
	p.admin.Drain()
	p.metricsPage.Drain()
	p.engine.Drain()
	time.Sleep(delay)
	ctx, cancel := context.WithTimeout(context.Background(), c.ShutdownTimeout)
	defer cancel()
	p.committing.Lock()
	p.stopped = true
	p.committing.Unlock()
	p.end()
	if r := p.repairer.Load(); r != nil {
		r.Close()
	}
	if err := p.engine.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		p.logs.Main.Warn().Dur("timeout", c.ShutdownTimeout).Msg("requests were cut off at the end of ShutdownTimeout")
	}
	p.tlsWatch.close()
	p.silence.close()
	p.prober.Close()
	if p.probe != nil {
		p.probe.close()
	}
	p.health.close()
	p.journalAdmin.Close()
	if p.adminListener != nil {
		_ = p.admin.Shutdown(context.Background())
	}
	if p.metricsListener != nil {
		_ = p.metricsPage.Shutdown(context.Background())
	}
	p.serving.Wait()
	for _, b := range p.backends {
		b.Close()
	}
	if err := p.close(); err != nil {
		p.logs.Main.Error().Err(err).Msg("cannot close the journal")
	}
	p.logs.Main.Info().Msg("stopped")
}

// close releases what New has opened.
func (p *Proxy) close() error {
	p.end()
	p.watcher.Close()
	if p.backlog != nil {
		p.backlog.close()
	}
	return p.closeJournal()
}
