// Package netio is the TCP socket under a connection, be it a client's or a backend's:
// calls that never wait, or that say when they have to; what ends them from outside;
// closing by a reset; and pollers, which wait for many connections at once.
//
// A Socket has two directions. One goroutine may receive while another one sends; Stop,
// StopSending and the deadlines may come from any. How long a call may wait is decided by
// whoever uses it: clients are given deadlines right before a call waits (BeforeReceive,
// BeforeSend), backends before it begins to.
//
// What runs on a poller's goroutine must not wait, or it keeps all others waiting that are
// watched there. So it returns what may have to, and that gets a goroutine (Await).
package netio
