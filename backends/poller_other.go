//go:build !linux

package backends

// poller is for Linux alone; elsewhere connections are unwatched.
type poller struct{}

func watchWith(*Conn) *poller { return nil }

func (*poller) forget(*Conn) {}
