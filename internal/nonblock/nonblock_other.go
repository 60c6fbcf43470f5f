//go:build unix && !linux

package nonblock

import "golang.org/x/sys/unix"

// Read is read(2).
func Read(fd int, p []byte) (int, error) { return counted(unix.Read(fd, p)) }

// Write is write(2).
func Write(fd int, p []byte) (int, error) { return counted(unix.Write(fd, p)) }

func counted(n int, err error) (int, error) { return max(n, 0), err }
