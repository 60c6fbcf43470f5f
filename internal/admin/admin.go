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

// Bounds of the admin listener: it is for one operator and a few scrapers, and
// must not take memory or connections from the clients (R23).
const (
	MaxConnections       = 128
	adminReadTimeout     = 10 * time.Second // a whole request
	adminWriteTimeout    = 30 * time.Second // a whole answer
	adminIdleTimeout     = 30 * time.Second
	adminHeaderSize      = 8 << 10
	adminShutdownTimeout = 3 * time.Second
)

// Options are what the admin listener shows and changes. All functions may
// be called from any goroutine.
type Options struct {
	Version string
	URLs    []string // of the backends, by index
	Hosts   []string // names that it answers to, beside addresses and localhost (Hosts)
	// Status and SetMaintained are the limiter's.
	Status        func() []limiter.Status
	SetMaintained func(backend int, on bool) bool
	Health        func() []health.Status // by backend; nil where nobody knows
	InFlight      func() int
	Records       func() synclog.Counts
	Metrics       Metrics
	// JournalStatus is shown by /journal, and as a part of /status.
	JournalStatus func() any
	// JournalCall answers POST /journal/CALL for each of JournalCalls: with an HTTP
	// status, and either what its JSON is made of or why not.
	JournalCalls []string
	JournalCall  func(call string, body []byte) (status int, answer any, err error)
	// CheckConfig checks a configuration that came from the network, of MaxConfig bytes
	// at most, without opening a file that it names. unopened are the keys of such files.
	CheckConfig func(text []byte) (unopened, mistakes []string)
	MaxConfig   int
	// Repair is false where none runs in this process.
	Repair func() (repair.Status, bool)
	// Log hears of each change that somebody made here.
	Log func(msg string, keyvals ...any)
	// Connections bounds those of the listener; 0 is MaxConnections.
	Connections int
}

// Metrics are the proxy's counters. All methods may be called from any goroutine.
type Metrics interface {
	// Write writes all of them in Prometheus's text format.
	Write(w io.Writer)
	Totals() metrics.Totals
	// Legs are one backend's, by outcome, and the bytes that it was sent.
	Legs(backend int) (outcomes map[string]uint64, bytes uint64)
}

// Admin is the second listener: health, metrics, state, profiles, and the few
// things that an operator can change without a restart (see adminRoutes).
//
// It asks for no password: who reaches AdminListen is the operator. A page in
// the operator's browser is not, so pages of other sites are refused (ownRequest, R37).
//
// Serve owns the server's goroutines; Shutdown ends them and waits.
type Admin struct {
	o        Options
	routes   []adminRoute
	server   *fasthttp.Server
	started  time.Time
	draining atomic.Bool

	maintaining sync.Mutex // a change of maintenance, with the look before it

	mu       sync.Mutex
	closed   bool
	listener net.Listener  // nil before Serve
	served   chan struct{} // closed when Serve accepts no more
	conns    map[net.Conn]struct{}
	open     sync.WaitGroup // of conns, until their goroutines are done with them
}

// New makes an admin; nothing listens yet. Uptime counts from here.
func New(o Options) *Admin {
	if o.Health == nil {
		o.Health = func() []health.Status { return make([]health.Status, len(o.URLs)) }
	}
	a := &Admin{o: o, started: time.Now(), served: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	a.routes = append(slices.Clone(adminRoutes), a.journalRoutes()...)
	a.server = &fasthttp.Server{
		Name:               "akubra",
		Handler:            a.handle,
		ErrorHandler:       a.refuse,
		ConnState:          a.track,
		Logger:             silence{},
		Concurrency:        cmp.Or(o.Connections, MaxConnections),
		ReadBufferSize:     adminHeaderSize,
		ReadTimeout:        adminReadTimeout,
		WriteTimeout:       adminWriteTimeout,
		IdleTimeout:        adminIdleTimeout,
		MaxRequestBodySize: o.MaxConfig,
		CloseOnShutdown:    true,
		// What is posted here is never a form.
		DisablePreParseMultipartForm: true,
	}
	return a
}

// silence: what the server would tell of is one client's malformed request or
// broken connection, and the client is told.
type silence struct{}

func (silence) Printf(string, ...any) {}

// Serve serves ln until Shutdown, and closes it. Call it once.
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
	if err := a.server.Serve(ln); err != nil {
		return fmt.Errorf("cannot serve admin on %q: %w", ln.Addr(), err)
	}
	return nil
}

// Drain makes /ready say no, while everything else is served on: load balancers
// should look elsewhere before the listener for clients closes (R22).
func (a *Admin) Drain() { a.draining.Store(true) }

// Shutdown ends Serve. Requests under way, long profiles aside, get until ctx is
// done, but at most adminShutdownTimeout; then they are cut off, and the error
// tells of it. No goroutine of the server is left when it returns.
func (a *Admin) Shutdown(ctx context.Context) error {
	a.Drain()
	a.mu.Lock()
	a.closed = true
	ln := a.listener
	a.mu.Unlock()
	if ln == nil {
		return nil
	}
	// Before the server's own shutdown, which overlooks a Serve that is just
	// beginning; this way Serve can only end.
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

// track keeps the list of connections.
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

// cut closes every connection, whatever happens on it.
func (a *Admin) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		_ = c.(*adminConn).Conn.Close()
	}
}

// handle is the server's handler. A panic in it would end the process, and with
// it every client's request.
func (a *Admin) handle(ctx *fasthttp.RequestCtx) {
	defer func() {
		if p := recover(); p != nil {
			a.o.Log("admin request panicked", "panic", fmt.Sprint(p), "path", string(ctx.Path()), "stack", string(debug.Stack()))
			ctx.Response.Reset()
			adminError(ctx, fasthttp.StatusInternalServerError, "cannot answer: a mistake in the program, see the main log")
		}
	}()
	a.route(ctx)
}

// refuse answers what is no request, or none that is read to its end.
func (a *Admin) refuse(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		adminError(ctx, fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("cannot take a body of more than %v", text.ByteSize(a.o.MaxConfig)))
	case errors.As(err, &small):
		adminError(ctx, fasthttp.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("cannot take a head of more than %v", text.ByteSize(adminHeaderSize)))
	case errors.As(err, &network) && network.Timeout():
		adminError(ctx, fasthttp.StatusRequestTimeout, fmt.Sprintf("cannot wait for the request longer than %v", adminReadTimeout))
	default:
		adminError(ctx, fasthttp.StatusBadRequest, "cannot read the request: "+err.Error())
	}
	if c, ok := ctx.Conn().(*adminConn); ok {
		c.lingering.Store(true)
	}
}
