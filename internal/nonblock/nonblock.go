// Package nonblock makes system calls on sockets and pipes in non-blocking mode, as the net package
// uses. Such a call at most copies and never waits, so on Linux the Go scheduler is not told about
// it. A copy of some 100 KiB takes long enough for the scheduler to assume that the call blocks,
// hand its processor to another thread, and from then on check every 20 µs for more of them
// (bench/NOTES.md).
//
// Errors are the system's own; unix.EAGAIN means that the call would have to wait. Any goroutine
// may call the functions; the caller keeps the file open.
package nonblock
