package model

import (
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/akubra/akubra/internal/datadir"
	"github.com/akubra/akubra/synclog/journal"
)

// memFS is a file system in memory, so that a kill is a copy of it.
type memFS struct {
	mu    sync.Mutex
	files map[string]*memFile
	locks map[string]bool
	ids   uint64
	real  map[string]journal.Identity // of files that are none of memory; nobody replaces one
}

type memFile struct {
	fs   *memFS
	name string
	id   uint64
	data []byte
}

func newMemFS() *memFS { return &memFS{files: map[string]*memFile{}, locks: map[string]bool{}} }

// survivor is what a process that is killed leaves behind.
func (m *memFS) survivor() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemFS()
	c.ids = m.ids
	for name, f := range m.files {
		c.files[name] = &memFile{c, name, f.id, slices.Clone(f.data)}
	}
	return c
}

func (m *memFS) MkdirAll(string) error { return nil }
func (m *memFS) SyncDir(string) error  { return nil }

func (m *memFS) ReadDir(dir string) (names []string, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range maps.Keys(m.files) {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *memFS) Create(name string) (journal.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] != nil {
		return nil, fs.ErrExist
	}
	m.ids++
	f := &memFile{m, name, m.ids, nil}
	m.files[name] = f
	return f, nil
}

func (m *memFS) Open(name string) (journal.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[name]; f != nil {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memFS) Truncate(name string, size int64) error {
	f, err := m.Open(name)
	if err != nil {
		return err
	}
	return f.Truncate(size)
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[from]
	if f == nil {
		return fs.ErrNotExist
	}
	delete(m.files, from)
	f.name, m.files[to] = to, f
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(m.files, name)
	return nil
}

func (m *memFS) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[from]
	switch {
	case f == nil:
		return fs.ErrNotExist
	case m.files[to] != nil:
		return fs.ErrExist
	}
	m.files[to] = f
	return nil
}

func (m *memFS) Lock(name string) (journal.Held, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] {
		return nil, journal.ErrLocked
	}
	m.locks[name] = true
	if m.files[name] == nil {
		m.ids++
		m.files[name] = &memFile{m, name, m.ids, nil}
	}
	return &memHeld{m, name, m.files[name].id}, nil
}

func (m *memFS) Hold(dir string) (journal.Held, error) { return &memHeld{m, dir, 1 << 32}, nil }

func (m *memFS) Identify(name string) (journal.Identity, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[name]; f != nil {
		return journal.Identity{Dev: 1, Ino: f.id}, nil
	}
	switch filepath.Base(name) {
	case journal.InflightName: // a real file, which is mapped
		id, known := m.real[name]
		if known {
			return id, nil
		}
		id, err := datadir.Identify(name)
		if err == nil && id != (journal.Identity{}) {
			if m.real == nil {
				m.real = map[string]journal.Identity{}
			}
			m.real[name] = id
		}
		return id, err
	case journalDir:
		return journal.Identity{Dev: 1, Ino: 1 << 32}, nil
	}
	return journal.Identity{}, nil
}

type memHeld struct {
	fs   *memFS
	name string
	id   uint64
}

func (h *memHeld) Identity() (journal.Identity, error) {
	return journal.Identity{Dev: 1, Ino: h.id}, nil
}

func (h *memHeld) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	delete(h.fs.locks, h.name)
	return nil
}

func (f *memFile) Identity() (journal.Identity, error) {
	return journal.Identity{Dev: 1, Ino: f.id}, nil
}
func (f *memFile) Close() error { return nil }
func (f *memFile) Sync() error  { return nil }

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if grow := int(off) + len(p) - len(f.data); grow > 0 {
		f.data = append(f.data, make([]byte, grow)...)
	}
	return copy(f.data[off:], p), nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if grow := int(size) - len(f.data); grow > 0 {
		f.data = append(f.data, make([]byte, grow)...)
	}
	f.data = f.data[:size]
	return nil
}
