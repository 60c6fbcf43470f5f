// Package accept keeps a server listening if accepting a connection fails temporarily: the process
// or the system has run out of files or memory, or the client was gone before (accept(2),
// "Errors"). Such an error then ends neither fasthttp's server nor any other.
package accept

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/akubra/akubra/internal/seldom"
)

// The pause after a failure, which doubles until there is a success. Both bounds are those of
// net/http.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// Options say what a Listener does about failures. Each may be nil.
type Options struct {
	// Log reports, at a bounded rate, that accepting fails.
	Log func(msg string, keyvals ...any)
	// OutOfFiles is called before the next try if there was no file for a connection.
	OutOfFiles func()
}

// Listener is a net.Listener whose Accept fails only for good. Only one goroutine may call Accept;
// any may call the other methods.
type Listener struct {
	net.Listener
	o      Options
	failed atomic.Uint64
	log    seldom.Counter
	closed chan struct{}
	close  sync.Once
	err    error // of closing
}

// New wraps ln in a Listener.
func New(ln net.Listener, o Options) *Listener {
	return &Listener{Listener: ln, o: o, closed: make(chan struct{})}
}

// Failed is how often accepting has failed temporarily.
func (l *Listener) Failed() uint64 { return l.failed.Load() }

// Closed is closed by Close.
func (l *Listener) Closed() <-chan struct{} { return l.closed }

// Close ends Accept at once, even during a pause. It may be called more than once.
func (l *Listener) Close() error {
	l.close.Do(func() {
		close(l.closed)
		l.err = l.Listener.Close()
	})
	return l.err
}

// Accept waits for the next connection. Its error is final.
func (l *Listener) Accept() (net.Conn, error) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		nc, err := l.Listener.Accept()
		if err == nil {
			return nc, nil
		}
		if !passing(err) {
			return nil, err
		}
		l.failed.Add(1)
		if times, say := l.log.Happened(); say && l.o.Log != nil {
			l.o.Log("cannot accept a connection, will keep trying", "listen", l.Addr().String(),
				"error", err.Error(), "times", times)
		}
		if l.o.OutOfFiles != nil && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) {
			l.o.OutOfFiles()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.closed:
			timer.Stop()
			return nil, net.ErrClosed
		}
	}
}

// passing reports whether err may be temporary: every system error except that this is not (or no
// longer) a listening socket.
func passing(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		var ne net.Error
		return errors.As(err, &ne) && ne.Timeout()
	}
	switch errno {
	case syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP, syscall.EFAULT:
		return false
	}
	return true
}
