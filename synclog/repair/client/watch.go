package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// watchdog ends a request that makes no progress, however long one that does may
// take. While a body's next bytes are waited for, it is not the storage that is
// waited for: the source has a watchdog of its own.
type watchdog struct {
	ctx    context.Context //nolint:containedctx // of one request
	cancel context.CancelCauseFunc
	timer  *time.Timer
	wait   time.Duration
	paused atomic.Bool
}

// errStalled is a timeout to whoever asks why a backend fails (R36).
var errStalled error = stalled{}

type stalled struct{}

func (stalled) Error() string { return "s3: no progress" }
func (stalled) Timeout() bool { return true }

func newWatchdog(ctx context.Context, wait time.Duration) *watchdog {
	w := &watchdog{wait: wait}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(wait, w.bite)
	return w
}

func (w *watchdog) bite() {
	if w.paused.Load() {
		w.timer.Reset(w.wait)
		return
	}
	w.cancel(fmt.Errorf("%w for %s", errStalled, w.wait))
}

func (w *watchdog) kick() { w.timer.Reset(w.wait) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain puts the reason in the place of "context canceled".
func (w *watchdog) explain(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

// watchedReader is a request's body.
type watchedReader struct {
	r     io.Reader
	watch *watchdog
}

func (b *watchedReader) Read(p []byte) (int, error) {
	b.watch.paused.Store(true)
	n, err := b.r.Read(p)
	b.watch.kick()
	b.watch.paused.Store(false)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &SourceError{Err: err}
	}
	return n, err
}

// watchedBody is an answer's body. Time that its reader spends elsewhere does not
// count.
type watchedBody struct {
	body    io.ReadCloser
	watch   *watchdog
	backend string
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.kick()
	b.watch.paused.Store(false)
	n, err := b.body.Read(p)
	b.watch.paused.Store(true)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &TransportError{Backend: b.backend, Err: b.watch.explain(err)}
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.body.Close()
	b.watch.stop()
	return err
}
