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

// Receive is recv(2): Read for a socket, without the file layer.
func Receive(fd int, p []byte) (int, error) {
	return result(syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0))
}

// Send is send(2): Write for a socket.
func Send(fd int, p []byte) (int, error) { return send(fd, p, 0) }

// SendMore is Send on a TCP socket that will be given more right away: a last packet that is not
// full waits for that, or until the peer acknowledges the packets before it.
func SendMore(fd int, p []byte) (int, error) { return send(fd, p, unix.MSG_MORE) }

func send(fd int, p []byte, more uintptr) (int, error) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	return result(syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags|more, 0, 0))
}

// Peek is recv(2) of one byte, which is not consumed.
func Peek(fd int, p *[1]byte) (int, error) {
	const flags = unix.MSG_PEEK | unix.MSG_DONTWAIT
	return result(syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(p)), 1, flags, 0, 0))
}

// Skip discards up to n bytes received by a TCP socket without copying them: recv(2) with MSG_TRUNC
// and no buffer (tcp(7)).
func Skip(fd, n int) (int, error) {
	return result(syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC, 0, 0))
}

// Splice moves up to n bytes from one file to another; one of them is a pipe (splice(2)).
func Splice(from, to, n int) (int, error) { return splice(from, to, n, 0) }

// SpliceMore is to Splice what SendMore is to Send.
func SpliceMore(from, to, n int) (int, error) { return splice(from, to, n, unix.SPLICE_F_MORE) }

func splice(from, to, n int, more uintptr) (int, error) {
	const flags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK
	return result(syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), flags|more))
}

// Tee duplicates up to n bytes of a pipe into another one (tee(2)).
func Tee(from, to, n int) (int, error) {
	return result(syscall.RawSyscall6(unix.SYS_TEE, uintptr(from), uintptr(to), uintptr(n), unix.SPLICE_F_NONBLOCK, 0, 0))
}

// EpollWait is epoll_wait(2) for what is ready now.
func EpollWait(fd int, events []unix.EpollEvent) (int, error) {
	return result(syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0))
}

// Converting this frequent error to an interface each time would allocate.
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
