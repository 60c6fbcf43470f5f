//go:build unix && !linux

package nonblock

import "golang.org/x/sys/unix"

// Read is read(2).
func Read(fd int, p []byte) (int, error) { return counted(unix.Read(fd, p)) }

// Write is write(2).
func Write(fd int, p []byte) (int, error) { return counted(unix.Write(fd, p)) }

// Receive is Read for a socket.
func Receive(fd int, p []byte) (int, error) { return Read(fd, p) }

// Send is Write for a socket.
func Send(fd int, p []byte) (int, error) { return Write(fd, p) }

// SendMore is Send: this system has no equivalent.
func SendMore(fd int, p []byte) (int, error) { return Send(fd, p) }

// Peek is recv(2) of one byte, which is not consumed.
func Peek(fd int, p *[1]byte) (int, error) {
	n, _, err := unix.Recvfrom(fd, p[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return max(n, 0), err
}

func counted(n int, err error) (int, error) { return max(n, 0), err }
