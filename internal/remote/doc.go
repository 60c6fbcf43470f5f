// Package remote lets `akubra repair` and `akubra verify` work on the journal of a running
// proxy, which alone may have it open, and under its fence.
//
// It is one protocol: wire.go has what is said, Server is the proxy's side, Client the
// command's. Server answers calls whoever carries them; Client sends them as POST
// /journal/CALL to the admin listener, and is a repair.Journal and repair.Fence. One repair
// works at a time, in a session that the server ends, with all keys that it has fenced, when
// nothing was heard of it for sessionTimeout.
//
// All methods of both may be called from any goroutine. Client.Start begins a goroutine that
// keeps the session alive until Close; the server has none, but a timer a session.
package remote
