// Package nonblock calls the system for sockets and pipes that are in
// non-blocking mode, as the net package's are. Such a call copies at most and
// never waits, so on Linux the Go scheduler is not told of it: a copy of some
// 100 KiB takes long enough for the scheduler to think that it waits, to hand its
// processor to another thread and to look every 20 µs from then on whether there
// are more (bench/NOTES.md).
//
// Errors are the system's own, unix.EAGAIN where the call would have to wait. The
// functions may be called from any goroutine; the caller keeps the file open.
package nonblock
