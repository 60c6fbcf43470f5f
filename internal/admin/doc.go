// Package admin is the second listener: health, metrics, state, profiles, and what an
// operator can change without a restart.
//
// It owns its server and connections, and nothing that it shows: all that comes by Options,
// whose functions are called from the goroutines of its connections. Serve runs on its
// caller's goroutine until Shutdown, which waits until no goroutine of the server is left.
package admin
