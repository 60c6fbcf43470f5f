//go:build unix

package journal

import (
	"errors"
	"os"
	"syscall"
)

// lockFile locks f for this open file: the kernel releases the lock when the process ends, however
// it ends.
func lockFile(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		default:
			return err
		}
	}
}
