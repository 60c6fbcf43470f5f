//go:build !linux

package netio

import (
	"errors"
	"net"
	"time"
)

// SetUserTimeout has no effect here.
func SetUserTimeout(net.Conn, time.Duration) {}

// Acknowledged is not known here.
func (s *Socket) Acknowledged() (bytes uint64, more, again bool) { return 0, false, false }

// poller and polled exist on Linux only.
type (
	poller struct{}
	polled struct{ net.Conn }
)

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) watch(*Socket, net.Conn) (*polled, error) { return nil, errors.ErrUnsupported }

func (*poller) run() {}

func (*poller) close() {}

func (*polled) lapsed() bool { return false }
