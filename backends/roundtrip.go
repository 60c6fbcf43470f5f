package backends

import "time"

// RoundTrip is the round trip to the backend as the system has measured it on a connection that is
// idle now; 0 if there is none, or if the system does not say.
func (b *Backend) RoundTrip() time.Duration {
	c, err := b.pool.acquire()
	if err != nil {
		return 0
	}
	if !c.reused || !c.takeUp() {
		c.Discard()
		return 0
	}
	d := roundTrip(c.sock.NetConn())
	c.Release()
	return d
}
