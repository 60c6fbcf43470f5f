// Package systemd is the conversation between the proxy and its service manager (R22): the sockets
// that systemd holds while no proxy runs, so that a restart refuses nobody, and the proxy's
// notices about its state (sd_listen_fds(3), sd_notify(3)). If systemd does not run the proxy,
// there are no sockets, and nothing is sent.
//
// Any goroutine may send notices. Watch owns a goroutine until its stop is called.
package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// adminName is the name of the admin listener's socket (FileDescriptorName= in its unit). A socket
// with any other name is for clients.
const adminName = "admin"

// Sockets are those on which systemd listens for this process; nil if there are none.
type Sockets struct {
	Clients, Admin net.Listener
}

// Inherit takes over the sockets named in the environment. Call it once.
func Inherit() (Sockets, error) { return sockets(activation.Files(true)) }

// sockets closes the files, because each listener has a descriptor of its own.
func sockets(files []*os.File) (s Sockets, err error) {
	var errs []error
	for _, f := range files {
		place, what := &s.Clients, "clients"
		if f.Name() == adminName {
			place, what = &s.Admin, "the admin listener"
		}
		ln, err := listener(f)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot use the socket %q that systemd has passed: %w", f.Name(), err))
		case *place != nil:
			errs = append(errs, fmt.Errorf("cannot use the socket %q that systemd has passed: there is another one for %s (FileDescriptorName=%s marks the admin listener's)", f.Name(), what, adminName))
			_ = ln.Close()
		default:
			*place = ln
		}
		_ = f.Close()
	}
	if err := errors.Join(errs...); err != nil {
		for _, ln := range []net.Listener{s.Clients, s.Admin} {
			if ln != nil {
				_ = ln.Close()
			}
		}
		return Sockets{}, err
	}
	return s, nil
}

func listener(f *os.File) (net.Listener, error) {
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, errors.New("it is no socket that listens")
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return nil, errors.New("it is no TCP socket")
	}
	if !listens(tcp) {
		_ = ln.Close()
		return nil, errors.New("it does not listen: its unit must have Accept=no")
	}
	return ln, nil
}

// listens reports whether the socket is a listening one: a connected one would look like it.
func listens(ln *net.TCPListener) (yes bool) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		yes = err == nil && on != 0
	})
	return yes && err == nil
}

// Ready says that the proxy serves; it also ends Reloading.
func Ready() error { return notify(daemon.SdNotifyReady) }

// Reloading says that the configuration is being read again. Ready must follow.
func Reloading() error {
	return notify(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
}

// Stopping says that the proxy is ending, and how long that may take.
func Stopping(most time.Duration) error {
	return notify(daemon.SdNotifyStopping, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", most.Microseconds()))
}

func notify(lines ...string) error {
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("cannot notify systemd: %w", err)
	}
	return nil
}

// Watch tells systemd's watchdog, if there is one, that the process is alive, as long as look
// returns: look must ask whatever could hang.
func Watch(look func()) (stop func(), err error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return func() {}, fmt.Errorf("cannot use systemd's watchdog: %w", err)
	}
	if interval <= 0 {
		return func() {}, nil
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(interval / 2)
		defer tick.Stop()
		for {
			look()
			_ = notify(daemon.SdNotifyWatchdog) // or systemd acts, as it should
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-done }, nil
}
