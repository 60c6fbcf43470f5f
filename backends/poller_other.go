//go:build !linux

package backends

import (
	"errors"
	"net"
)

// poller and polledConn are for Linux alone.
type (
	poller     struct{}
	polledConn struct{}
)

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) watch(*Conn, net.Conn) (net.Conn, error) { return nil, errors.ErrUnsupported }

func (*poller) forget(*Conn) {}

func (*poller) run() {}

func (*poller) close() {}

func (*polledConn) lapsed() bool { return false }
