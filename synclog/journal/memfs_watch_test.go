package journal

import (
	"reflect"
)

// What a memFS's directory and lock are known by.
var memDir, memLocked = Identity{Dev: 1, Ino: 1}, Identity{Dev: 1, Ino: 2}

// heldDir is memFS's open directory.
type heldDir struct{}

func (heldDir) Close() error                { return nil }
func (heldDir) Identity() (Identity, error) { return memDir, nil }

func (m *memFS) Hold(string) (Held, error) { return heldDir{}, nil }

func (l memLock) Identity() (Identity, error) { return memLocked, nil }

func (f *memFile) Identity() (Identity, error) { return f.in.identity(), nil }

func (in *memInode) identity() Identity {
	return Identity{Dev: 2, Ino: uint64(reflect.ValueOf(in).Pointer())}
}

// Identify knows the directory by its being no file, nor ever one.
func (m *memFS) Identify(name string) (Identity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch in := m.files[name]; {
	case in != nil:
		return in.identity(), nil
	case name == absolute("j"):
		return memDir, nil
	case name == absolute("j/lock"):
		return memLocked, nil
	}
	return Identity{}, nil
}
