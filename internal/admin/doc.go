// Package admin is the second listener: health, metrics, state, profiles, and what an
// operator can change without a restart.
//
// It owns its server and connections but nothing that it shows: all of that comes from Options,
// whose functions are called on the goroutines of its connections. Serve runs on its caller's
// goroutine until Shutdown, which waits until no goroutine of the server is left.
package admin
