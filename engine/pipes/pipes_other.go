//go:build !linux

package pipes

import "errors"

// Set is empty on this system.
type Set struct{}

// Get fails with [errors.ErrUnsupported].
func Get(int) (*Set, error) { return nil, errors.ErrUnsupported }

// Refusals is 0.
func Refusals() int64 { return 0 }

// SetMaxFiles does nothing.
func SetMaxFiles(int) {}

// Trim does nothing.
func Trim() {}

// Put does nothing.
func (s *Set) Put() {}

// Intake returns no descriptor.
func (s *Set) Intake() int { return -1 }

// Reader returns no descriptor.
func (s *Set) Reader(int) int { return -1 }

// Write fails with [errors.ErrUnsupported].
func (s *Set) Write([]byte) error { return errors.ErrUnsupported }

// Copy fails with [errors.ErrUnsupported].
func (s *Set) Copy(uint64, int) error { return errors.ErrUnsupported }

// ReadBack fails with [errors.ErrUnsupported].
func (s *Set) ReadBack([]byte) error { return errors.ErrUnsupported }

// Duplicate fails with [errors.ErrUnsupported].
func (s *Set) Duplicate(uint64, int) error { return errors.ErrUnsupported }

// Emptied does nothing.
func (s *Set) Emptied(int) {}

// Refill fails with [errors.ErrUnsupported].
func (s *Set) Refill(int, int) error { return errors.ErrUnsupported }
