//go:build linux || darwin

package backends

import "golang.org/x/sys/unix"

// A backend must never take the end of a connection for the end of a body: some
// storages store what has come by then as a whole object. So a connection that is
// given up with part of a message on it is reset, never closed in the ordinary way
// (R31). With a linger time of 0 the system does that for every close, also for the
// one at the end of a killed process (socket(7), SO_LINGER).

// Guard has the system reset the connection if this process dies, or takes that back.
// It belongs around a message that takes more than one write. Whoever writes calls it,
// before the first write; a connection that is guarded already costs no system call.
func (c *Conn) Guard(on bool) {
	if c.guarded == on || c.Conn == nil {
		return
	}
	c.guarded = on
	_ = c.descriptor.Control(c.lingerFn)
}

// setLinger makes a close a reset where the connection is guarded. It cannot fail for a
// socket that is open.
func (c *Conn) setLinger(fd uintptr) {
	linger := unix.Linger{}
	if c.guarded {
		linger.Onoff = 1
	}
	_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &linger)
}

// Reset closes the connection by a reset: what has not been acknowledged yet is dropped,
// and the backend's next read fails, over TLS without a close_notify before.
func (c *Conn) Reset() {
	c.Guard(true)
	c.resetting = true
	c.Discard()
}
