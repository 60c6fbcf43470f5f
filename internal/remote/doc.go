// Package remote lets `akubra repair` and `akubra verify` work on the journal of a running proxy,
// which alone may have it open, and under its fence.
//
// It is one protocol: wire.go defines the messages, Server is the proxy's side, Client the
// command's. Server answers calls, however they arrive; Client sends them as POST /journal/CALL to
// the admin listener, and implements repair.Journal and repair.Fence. Only one repair works at a
// time, in a session. The server ends the session, and gives back all keys fenced by it, when it
// has heard nothing for sessionTimeout.
//
// Any goroutine may call the methods of both. Client.Start starts a goroutine that keeps the
// session alive until Close; the server has no goroutine, only a timer per session.
package remote
