package nonblock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read is read(2).
func Read(fd int, p []byte) (int, error) {
	return result(syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))))
}

// Write is write(2).
func Write(fd int, p []byte) (int, error) {
	return result(syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))))
}

// Receive is recv(2): Read for a socket, which spares the layer of files.
func Receive(fd int, p []byte) (int, error) {
	return result(syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0))
}

// Send is send(2): Write for a socket.
func Send(fd int, p []byte) (int, error) { return send(fd, p, 0) }

// SendMore is Send on a TCP socket that is going to be given more right away: the last
// packet waits for that where it is not full, until the peer acknowledges those before it.
func SendMore(fd int, p []byte) (int, error) { return send(fd, p, unix.MSG_MORE) }

func send(fd int, p []byte, more uintptr) (int, error) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	return result(syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags|more, 0, 0))
}

// Peek is recv(2) of a byte that stays where it is.
func Peek(fd int, p *[1]byte) (int, error) {
	const flags = unix.MSG_PEEK | unix.MSG_DONTWAIT
	return result(syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(p)), 1, flags, 0, 0))
}

// Skip throws up to n bytes away that a TCP socket has received, uncopied: recv(2)
// with MSG_TRUNC and no buffer (tcp(7)).
func Skip(fd, n int) (int, error) {
	return result(syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC, 0, 0))
}

// Splice moves up to n bytes from one file to the other, one of which is a pipe
// (splice(2)).
func Splice(from, to, n int) (int, error) { return splice(from, to, n, 0) }

// SpliceMore is Splice to a socket, as SendMore is Send.
func SpliceMore(from, to, n int) (int, error) { return splice(from, to, n, unix.SPLICE_F_MORE) }

func splice(from, to, n int, more uintptr) (int, error) {
	const flags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
	return result(syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), flags|more))
}

// Tee duplicates up to n bytes of a pipe into another one (tee(2)).
func Tee(from, to, n int) (int, error) {
	return result(syscall.RawSyscall6(unix.SYS_TEE, uintptr(from), uintptr(to), uintptr(n), unix.SPLICE_F_NONBLOCK, 0, 0))
}

// EpollWait is epoll_wait(2) for what is ready at the moment.
func EpollWait(fd int, events []unix.EpollEvent) (int, error) {
	return result(syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0))
}

// An error that is returned as an interface would be an allocation, and this one is
// frequent.
var errAgain error = unix.EAGAIN

func result(n, _ uintptr, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN:
		return 0, errAgain
	}
	return 0, errno
}
