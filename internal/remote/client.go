package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// Limits of the calls to a running proxy.
const (
	Timeout           = 30 * time.Second
	remoteConnections = 32 // well below admin.MaxConnections, so that a scraper gets in
	remoteMaxAnswer   = 1 << 20
)

// Client gives access to a running proxy's journal and fence through its admin listener. Any
// goroutine may call its methods.
type Client struct {
	// Token is the proxy's AdminToken; to be set before the first call.
	Token string

	base   string // http://host:port
	client *http.Client
	warn   func(err error)

	mu      sync.Mutex
	session string
	out     []string // backends that the proxy leaves alone, as of its last answer
	settles bool     // the session is for a person's decisions

	stop context.CancelFunc
	live sync.WaitGroup
}

var (
	_ repair.Journal = (*Client)(nil)
	_ repair.Fence   = (*Client)(nil)
	_ repair.Finder  = (*Client)(nil)
)

// NewClient makes the client of a proxy whose AdminListen is adminListen. warn is told of failures
// that no call returns, on any goroutine.
func NewClient(adminListen string, warn func(err error)) *Client {
	return &Client{
		base: "http://" + text.Dialable(adminListen),
		client: &http.Client{Timeout: Timeout, Transport: &http.Transport{
			MaxConnsPerHost: remoteConnections, MaxIdleConnsPerHost: remoteConnections, IdleConnTimeout: Timeout,
		}},
		warn: warn,
		stop: func() {},
	}
}

// Check asks the proxy whether its journal is the one in dir.
func (r *Client) Check(ctx context.Context, dir string) error {
	id, err := dirID(dir)
	if err != nil {
		return err
	}
	s, err := r.Status(ctx)
	if err != nil {
		return err
	}
	if s.ID != id {
		return fmt.Errorf("the proxy at AdminListen (%s) has its journal in %q, and another process has the one in %q open: is this the configuration of the running proxy?", r.base, s.Dir, dir)
	}
	return nil
}

// Status returns the journal's status.
func (r *Client) Status(ctx context.Context) (s Status, err error) {
	err = r.call(ctx, http.MethodGet, "/journal?limit=0", nil, &s)
	return s, err
}

// Start starts a session, waiting while another repair has one, and keeps it alive until Close.
func (r *Client) Start(ctx context.Context) error { return r.start(ctx, false) }

// StartSettling is Start for a person's decisions, which may be taken even while the proxy itself
// repairs (R35).
func (r *Client) StartSettling(ctx context.Context) error { return r.start(ctx, true) }

func (r *Client) start(ctx context.Context, settles bool) error {
	r.mu.Lock()
	r.settles = settles
	r.mu.Unlock()
	waiting := false
	for deadline := time.Now().Add(sessionTimeout + Timeout/10); ; {
		err := r.open(ctx)
		if err == nil {
			break
		}
		if refused, ok := errors.AsType[*refusedError](err); !ok || refused.status != http.StatusLocked || time.Now().After(deadline) {
			return err
		}
		if !waiting {
			waiting = true
			r.warn(fmt.Errorf("waiting because of the proxy's answer: %w", err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	alive, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.live.Go(func() { r.keepAlive(alive) })
	return nil
}

func (r *Client) open(ctx context.Context) error {
	r.mu.Lock()
	settles := r.settles
	r.mu.Unlock()
	a, err := r.post(ctx, "open", wireRequest{Settle: settles})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.session, r.out = a.Session, a.Out
	r.mu.Unlock()
	return nil
}

// keepAlive reports that this repair is still running, and starts another session if the proxy was
// restarted.
func (r *Client) keepAlive(ctx context.Context) {
	tick := time.NewTicker(sessionTimeout / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a, err := r.post(ctx, "live", wireRequest{})
		if err == nil {
			r.mu.Lock()
			r.out = a.Out
			r.mu.Unlock()
			continue
		}
		if _, refused := errors.AsType[*refusedError](err); refused {
			err = r.open(ctx)
		}
		if err != nil && ctx.Err() == nil {
			r.warn(err)
		}
	}
}

// Out reports whether the proxy leaves a backend alone.
func (r *Client) Out(backend string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.out, backend)
}

// Close ends the session.
func (r *Client) Close() {
	r.stop()
	r.live.Wait()
	if r.currentSession() != "" {
		ctx, cancel := context.WithTimeout(context.Background(), Timeout/10)
		_, _ = r.post(ctx, "close", wireRequest{}) // the session times out otherwise
		cancel()
	}
	r.client.CloseIdleConnections()
}

func (r *Client) currentSession() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session
}

// Next, Resolve, Note and Add implement repair.Journal.
func (r *Client) Next(cursor uint64) (t task.Task, next uint64, ok bool, err error) {
	a, err := r.post(context.Background(), "next", wireRequest{Cursor: cursor})
	return a.Task, a.Next, a.OK, err
}

// NextParked is Next restricted to parked keys.
func (r *Client) NextParked(cursor uint64) (t task.Task, next uint64, ok bool, err error) {
	a, err := r.post(context.Background(), "parked", wireRequest{Cursor: cursor})
	return a.Task, a.Next, a.OK, err
}

// Find returns what is pending for a key, and the cursor at which Next returns it.
func (r *Client) Find(bucket, key string) (t task.Task, place uint64, ok bool, err error) {
	a, err := r.post(context.Background(), "find", wireRequest{Key: wireKey{wireText(bucket), wireText(key)}})
	return a.Task, a.Next, a.OK, err
}

// Resolve closes t, unless something newer has come.
func (r *Client) Resolve(t *task.Task) (bool, error) {
	a, err := r.post(context.Background(), "resolve", wireRequest{Task: hidden(t)})
	return a.OK, err
}

// Note records the result of a try, unless something newer has come.
func (r *Client) Note(t *task.Task) (bool, error) {
	a, err := r.post(context.Background(), "note", wireRequest{Task: hidden(t)})
	return err == nil && !a.Gone, err
}

// Add writes what verify has found to the journal.
func (r *Client) Add(t *task.Task) error {
	_, err := r.post(context.Background(), "add", wireRequest{Task: hidden(t)})
	return err
}

// Resolved makes the proxy write the line in the synclog.
func (r *Client) Resolved(t *task.Task, action string) {
	if _, err := r.post(context.Background(), "resolved", wireRequest{Task: hidden(t), Action: action}); err != nil {
		r.warn(err)
	}
}

// Busy reports whether a key is pending or being written; parked reports whether it waits for a
// person.
func (r *Client) Busy(bucket, key string) (busy, parked bool, err error) {
	a, err := r.post(context.Background(), "busy", wireRequest{Key: wireKey{wireText(bucket), wireText(key)}})
	return a.OK, a.Parked, err
}

// Begin implements repair.Fence; if the proxy does not answer, the key has to wait.
func (r *Client) Begin(bucket, key string) bool { return r.fence("begin", bucket, key) }

// End implements repair.Fence; if the proxy does not answer, nothing counts as clean.
func (r *Client) End(bucket, key string) bool { return r.fence("end", bucket, key) }

// Seal implements repair.Fence.
func (r *Client) Seal(bucket, key string) bool { return r.fence("seal", bucket, key) }

// Unseal implements repair.Fence. If the proxy does not answer, the key is unsealed when the
// session ends.
func (r *Client) Unseal(bucket, key string) { r.fence("unseal", bucket, key) }

func (r *Client) fence(call, bucket, key string) bool {
	a, err := r.post(context.Background(), call, wireRequest{Key: wireKey{wireText(bucket), wireText(key)}})
	if err != nil {
		r.warn(err)
	}
	return err == nil && a.OK
}

func (r *Client) post(ctx context.Context, call string, q wireRequest) (a wireAnswer, err error) {
	q.Session = r.currentSession()
	err = r.call(ctx, http.MethodPost, "/journal/"+call, &q, &a)
	return a, err
}

// refusedError is the proxy's refusal of a call that it understands.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return e.text }

func (r *Client) call(ctx context.Context, method, path string, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			panic(err) // can only be a type of this package
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("cannot ask the proxy: %w", err)
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		if ne, ok := errors.AsType[*net.OpError](err); ok {
			err = ne
		}
		return fmt.Errorf("cannot reach the proxy at AdminListen (%s): %w", r.base, err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, remoteMaxAnswer))
	if err != nil {
		return fmt.Errorf("cannot read the proxy's answer: %w", err)
	}
	var problem struct {
		Error string `json:"error"`
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		err = json.Unmarshal(text, answer)
	case json.Unmarshal(text, &problem) != nil || problem.Error == "":
		err = errors.New(resp.Status)
	case resp.StatusCode == http.StatusConflict, resp.StatusCode == http.StatusLocked:
		return &refusedError{resp.StatusCode, problem.Error}
	default:
		err = errors.New(problem.Error)
	}
	if err != nil {
		return fmt.Errorf("cannot use the proxy's answer to %s: %w", path, err)
	}
	return nil
}
