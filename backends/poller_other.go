//go:build !linux

package backends

import "errors"

// poller is for Linux alone.
type poller struct{}

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) watch(*Conn) error { return errors.ErrUnsupported }

func (*poller) forget(*Conn) {}

func (*poller) run() {}

func (*poller) close() {}
