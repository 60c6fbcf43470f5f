package accept

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// failing gives the errors one after another, then connections.
type failing struct {
	net.Listener
	mu     sync.Mutex
	errs   []error
	always error
	calls  int
}

func (f *failing) Accept() (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.always != nil {
		return nil, f.always
	}
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	client, server := net.Pipe()
	_ = client.Close()
	return server, nil
}

func (f *failing) Close() error   { return nil }
func (f *failing) Addr() net.Addr { return &net.TCPAddr{} }

func asAccept(errno syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
}

// TestR23AcceptGoesOn: what may be over soon does not end a listener.
func TestR23AcceptGoesOn(t *testing.T) {
	var errs []error
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED,
		syscall.EPROTO, syscall.ENETDOWN, syscall.EPERM, syscall.EHOSTUNREACH,
	} {
		errs = append(errs, asAccept(errno))
	}
	lines, short := 0, 0
	l := New(&failing{errs: errs}, Options{
		Log:        func(string, ...any) { lines++ },
		OutOfFiles: func() { short++ },
	})
	c, err := l.Accept()
	testkit.MustDo(t, err)
	_ = c.Close()
	if l.Failed() != uint64(len(errs)) || lines != 1 || short != 2 {
		t.Errorf("%d failures, %d lines, %d times out of files", l.Failed(), lines, short)
	}
}

func TestAcceptEnds(t *testing.T) {
	for _, final := range []error{net.ErrClosed, asAccept(syscall.EBADF), asAccept(syscall.EINVAL), errors.New("another one")} {
		f := &failing{always: final}
		if _, err := New(f, Options{}).Accept(); !errors.Is(err, final) || f.calls != 1 {
			t.Errorf("%v after %d calls, want %v", err, f.calls, final)
		}
	}
}

// A pause does not hold up the end of the process.
func TestCloseEndsAPause(t *testing.T) {
	paused := make(chan struct{}, 1)
	l := New(&failing{always: asAccept(syscall.EMFILE)}, Options{OutOfFiles: func() {
		select {
		case paused <- struct{}{}:
		default:
		}
	}})
	ended := make(chan error)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	testkit.Receive(t, "the pause", paused)
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if err := testkit.Receive(t, "the end of Accept", ended); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
