// Package netio is the TCP socket under a connection, whether a client's or a backend's: calls that
// never wait or that say when they have to, ways to end them from outside, closing by a reset, and
// pollers that wait for many connections at once.
//
// A Socket has two directions. One goroutine may receive while another one sends; any goroutine may
// call Stop, StopSending and set deadlines. The user decides how long a call may wait: a client's
// connection gets its deadline right before a call waits (BeforeReceive, BeforeSend), a backend's
// before the call.
//
// Code on a poller's goroutine must not wait, or it holds up all other sockets watched there. So it
// returns whatever may have to wait as a function, which gets a goroutine of its own (Await).
package netio
