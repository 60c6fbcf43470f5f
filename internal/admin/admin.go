package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/akubra/akubra/internal/accept"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/repair"
)

// Limits of the admin listener: it is for one operator and a few scrapers, and must not take memory
// or connections away from the clients (R23).
const (
	MaxConnections       = 128
	adminReadTimeout     = 10 * time.Second // for a whole request
	adminWriteTimeout    = 30 * time.Second // for a whole response
	adminIdleTimeout     = 30 * time.Second
	adminHeaderSize      = 8 << 10
	adminShutdownTimeout = 3 * time.Second
)

// Options are what the admin listener shows and changes. Any goroutine may call any of the
// functions.
type Options struct {
	Version string
	URLs    []string // of the backends, by index
	Hosts   []string // names that it answers to, besides addresses and localhost (see Hosts)
	Token   string   // what it asks for (see SetToken); "" is nothing
	// Status and SetMaintained are the limiter's. The latter also says what its caller should know.
	Status        func() []limiter.Status
	SetMaintained func(backend int, on bool) (changed bool, warnings []string)
	Health        func() []health.Status // by backend; nil if unknown
	InFlight      func() int
	Records       func() synclog.Counts
	Metrics       Metrics
	// JournalStatus is a part of /status. JournalPage is /journal, with up to limit parked
	// keys, only those of reason unless it is "", and if ask is set with what each backend has of
	// them; if it is nil, /journal is JournalStatus.
	JournalStatus func() any
	JournalPage   func(limit int, reason string, ask bool) (status int, page any, err error)
	// JournalCall answers POST /journal/CALL for each of JournalCalls, with an HTTP status and
	// either the value for the JSON body or an error. by is who calls.
	JournalCalls []string
	JournalCall  func(call string, body []byte, by string) (status int, answer any, err error)
	// CheckConfig checks a configuration that came from the network, of at most MaxConfig bytes,
	// without opening any file that it names. unopened are the keys of such files.
	CheckConfig func(text []byte) (unopened, mistakes []string)
	// Reload reads the configuration's file again, and returns what became of that, for the JSON
	// body; ok is false if nothing was changed because of a mistake. by is who asks.
	Reload    func(by string) (result any, ok bool)
	MaxConfig int
	// Repair returns false if no repair runs in this process.
	Repair func() (repair.Status, bool)
	// Owed is what the journal knows; nil is nothing.
	Owed func() Owed
	// Latency is how long a backend has lately taken until its answer began: the 50th, 95th and 99th
	// percentile; zero means unknown. May be nil.
	Latency func(backend int) [3]time.Duration
	// Slow are the slowest recent requests, for JSON; WatchSlow tells the proxy whether anybody is
	// interested. Both may be nil.
	Slow      func() any
	WatchSlow func(on bool)
	// ConfigDiffers is what the configuration's file has that is not in effect yet, for JSON; it is
	// called every few seconds while somebody watches. May be nil.
	ConfigDiffers func() any
	// Certificates are those in use. May be nil.
	Certificates func() []metrics.Certificate
	// Settle carries out a person's decision about a parked key, for the JSON body of an answer.
	// May be nil.
	Settle func(d Decision) (result string, err error)
	// Log is told of each change that is asked for through this listener (audit).
	Log func(msg string, keyvals ...any)
	// OnlyMetrics: it serves /metrics, /health and /ready, and nothing else.
	OnlyMetrics bool
	// Connections bounds the listener's connections; 0 means MaxConnections.
	Connections int
}

// Metrics are the proxy's counters. Any goroutine may call any method.
type Metrics interface {
	// Write writes all of them in Prometheus's text format.
	Write(w io.Writer)
	Totals() metrics.Totals
	// Legs returns one backend's counts by outcome, and the bytes that it was sent.
	Legs(backend int) (outcomes map[string]uint64, bytes uint64)
}

// Admin is the second listener: health, metrics, state, profiles, and the few things that an
// operator can change without a restart (see adminRoutes).
//
// Unless it has a token (SetToken) it asks for no password: whoever can reach AdminListen is the
// operator. A web page in the operator's browser is not, so pages of other sites are refused
// (ownRequest, R37).
//
// Serve owns the server's goroutines; Shutdown stops them and waits for them.
type Admin struct {
	o                   Options
	routes              []adminRoute
	hosts               atomic.Pointer[[]string]
	token, metricsToken token
	server              *fasthttp.Server
	started             time.Time
	draining            atomic.Bool

	live *live

	maintaining sync.Mutex // held for a change of maintenance, its check and its file; before the limiter's

	mu       sync.Mutex
	closed   bool
	listener net.Listener  // nil before Serve
	served   chan struct{} // closed when Serve accepts no more connections
	conns    map[net.Conn]struct{}
	open     sync.WaitGroup // one per connection, until its goroutine is done
}

// New makes an Admin that does not listen yet. Uptime counts from here.
func New(o Options) *Admin {
	if o.Health == nil {
		o.Health = func() []health.Status { return make([]health.Status, len(o.URLs)) }
	}
	a := &Admin{o: o, started: time.Now(), served: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	if a.o.Owed == nil {
		a.o.Owed = func() Owed { return Owed{} }
	}
	connections := cmp.Or(o.Connections, MaxConnections)
	a.live = newLive(connections, a.liveSample(), a.o.Owed, a.watched)
	a.SetHosts(o.Hosts)
	a.SetToken(o.Token)
	a.routes = append(slices.Clone(adminRoutes), a.journalRoutes()...)
	if o.OnlyMetrics {
		a.routes = metricsRoutes
	}
	a.server = &fasthttp.Server{
		Name:               "akubra",
		Handler:            a.handle,
		ErrorHandler:       a.refuse,
		ConnState:          a.track,
		Logger:             silence{},
		Concurrency:        connections,
		ReadBufferSize:     adminHeaderSize,
		ReadTimeout:        adminReadTimeout,
		WriteTimeout:       adminWriteTimeout,
		IdleTimeout:        adminIdleTimeout,
		MaxRequestBodySize: o.MaxConfig,
		CloseOnShutdown:    true,
		// Nothing that is posted here is a form.
		DisablePreParseMultipartForm: true,
	}
	return a
}

// silence discards the server's log: it would report a client's malformed request or broken
// connection, and the client is told anyway.
type silence struct{}

func (silence) Printf(string, ...any) {}

// Serve serves ln until Shutdown and closes it. It must be called only once.
func (a *Admin) Serve(ln net.Listener) error {
	ln = &adminListener{Listener: accept.New(ln, accept.Options{Log: a.o.Log})}
	defer ln.Close()
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil
	}
	a.listener = ln
	a.mu.Unlock()

	defer close(a.served)
	if !a.o.OnlyMetrics {
		a.live.start()
	}
	if err := a.server.Serve(ln); err != nil {
		return fmt.Errorf("cannot serve admin on %q: %w", ln.Addr(), err)
	}
	return nil
}

// Drain makes /ready report that the proxy is not ready, while everything else is still served:
// load balancers should go elsewhere before the client listener closes (R22).
func (a *Admin) Drain() { a.draining.Store(true) }

// Shutdown ends Serve. Requests in progress, including long profiles, get until ctx is done but at
// most adminShutdownTimeout; then they are cut off and an error says so. No goroutine of the server
// is left when it returns.
func (a *Admin) Shutdown(ctx context.Context) error {
	a.Drain()
	a.mu.Lock()
	a.closed = true
	ln := a.listener
	a.mu.Unlock()
	a.live.close() // its streams would go on for ever
	if ln == nil {
		return nil
	}
	// Close before the server's own shutdown, which would overlook a Serve that is just starting;
	// now Serve can only end.
	_ = ln.Close()
	<-a.served
	ctx, cancel := context.WithTimeout(ctx, adminShutdownTimeout)
	defer cancel()
	err := a.server.ShutdownWithContext(ctx)
	if err != nil {
		a.cut()
		err = fmt.Errorf("cannot finish admin requests: %w", err)
	}
	a.open.Wait()
	return err
}

// track maintains the list of connections.
func (a *Admin) track(c net.Conn, state fasthttp.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch state {
	case fasthttp.StateNew:
		a.conns[c] = struct{}{}
		a.open.Add(1)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		delete(a.conns, c)
		a.open.Done()
	}
}

// cut closes every connection, whatever is happening on it.
func (a *Admin) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		_ = c.(*adminConn).Conn.Close()
	}
}

// handle is the server's handler. Without its recover a panic would end the process and every
// client's request with it.
func (a *Admin) handle(ctx *fasthttp.RequestCtx) {
	defer func() {
		if p := recover(); p != nil {
			a.o.Log("admin request panicked", "panic", fmt.Sprint(p), "path", string(ctx.Path()), "stack", string(debug.Stack()))
			ctx.Response.Reset()
			adminError(ctx, fasthttp.StatusInternalServerError, "cannot answer: internal error, see the main log")
		}
	}()
	a.route(ctx)
}

// refuse answers what is not a valid request, or was not read to its end.
func (a *Admin) refuse(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		adminError(ctx, fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("cannot accept a body larger than %v", text.ByteSize(a.o.MaxConfig)))
	case errors.As(err, &small):
		adminError(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("cannot accept a head larger than %v", text.ByteSize(adminHeaderSize)))
	case errors.As(err, &network) && network.Timeout():
		adminError(ctx, fasthttp.StatusRequestTimeout, fmt.Sprintf("cannot wait for the request longer than %v", adminReadTimeout))
	default:
		adminError(ctx, fasthttp.StatusBadRequest, "cannot read the request: "+err.Error())
	}
	if c, ok := ctx.Conn().(*adminConn); ok {
		c.lingering.Store(true)
	}
}
