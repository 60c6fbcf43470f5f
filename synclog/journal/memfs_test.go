package journal

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
)

var (
	errDead  = errors.New("this machine is off")
	errInput = errors.New("input/output error")
	errSpace = errors.New("no space left on device")
)

// memFS keeps files in memory and knows which bytes and names are synced. It can
// fail, and it can be switched off.
type memFS struct {
	mu     sync.Mutex
	files  map[string]*memInode
	synced map[string]*memInode // names as of the last SyncDir
	locked bool
	dead   bool

	// fault is asked before each call; calls counts them. A short write writes
	// half before it fails.
	fault func(op, name string) error
	calls int
	// unreadable is an offset in all files that cannot be read; 0: none.
	unreadable int
}

type memInode struct {
	data   []byte
	synced []byte
}

func newMemFS() *memFS {
	return &memFS{files: map[string]*memInode{}, synced: map[string]*memInode{}}
}

// kill is what a process finds after another one was killed: all that the kernel
// was given.
func (m *memFS) kill() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	return &memFS{files: m.files, synced: m.synced}
}

// powerCut is what is found after a power cut: what was synced and, with a source
// of chance, some of what was not.
func (m *memFS) powerCut(chance *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	n := newMemFS()
	inodes := map[*memInode]*memInode{}
	crashed := func(in *memInode) *memInode {
		if inodes[in] == nil {
			data := slices.Clone(in.synced)
			if chance != nil && len(in.data) > len(data) {
				more := in.data[len(data):]
				more = slices.Clone(more[:chance.IntN(len(more)+1)])
				if len(more) > 0 && chance.IntN(2) == 0 { // a page that was not written
					from := chance.IntN(len(more))
					clear(more[from : from+chance.IntN(len(more)-from)])
				}
				data = append(data, more...)
			}
			inodes[in] = &memInode{data: data, synced: slices.Clone(data)}
		}
		return inodes[in]
	}
	for name, in := range m.synced {
		n.files[name] = crashed(in)
	}
	if chance != nil { // names change one by one, each may be on disk or not
		for name, in := range m.files {
			if m.synced[name] != in && chance.IntN(2) == 0 {
				n.files[name] = crashed(in)
			}
		}
		for name := range m.synced {
			if m.files[name] == nil && chance.IntN(2) == 0 {
				delete(n.files, name)
			}
		}
	}
	n.synced = mapsClone(n.files)
	return n
}

func mapsClone(m map[string]*memInode) map[string]*memInode {
	c := make(map[string]*memInode, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// clone is another machine with the same files.
func (m *memFS) clone() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := newMemFS()
	for name, in := range m.files {
		n.files[name] = &memInode{data: slices.Clone(in.data), synced: slices.Clone(in.data)}
	}
	n.synced = mapsClone(n.files)
	return n
}

// beginLocked counts a call and asks for its fault.
func (m *memFS) beginLocked(op, name string) error {
	if m.dead {
		return errDead
	}
	m.calls++
	if m.fault != nil {
		return m.fault(op, filepath.Base(name))
	}
	return nil
}

func (m *memFS) MkdirAll(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.beginLocked("mkdir", "")
}

func (m *memFS) ReadDir(string) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("readdir", ""); err != nil {
		return nil, err
	}
	for name := range m.files {
		names = append(names, filepath.Base(name))
	}
	slices.Sort(names)
	return names, nil
}

func (m *memFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("create", name); err != nil {
		return nil, err
	}
	if m.files[name] != nil {
		return nil, fs.ErrExist
	}
	m.files[name] = &memInode{}
	return &memFile{m, m.files[name], name}, nil
}

func (m *memFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("open", name); err != nil {
		return nil, err
	}
	if m.files[name] == nil {
		return nil, fs.ErrNotExist
	}
	return &memFile{m, m.files[name], name}, nil
}

func (m *memFS) Truncate(name string, size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("truncate", name); err != nil {
		return err
	}
	if m.files[name] == nil {
		return fs.ErrNotExist
	}
	in := m.files[name]
	in.data = in.data[:size]
	in.synced = slices.Clone(in.data)
	return nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("rename", from); err != nil {
		return err
	}
	if m.files[from] == nil {
		return fs.ErrNotExist
	}
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("remove", name); err != nil {
		return err
	}
	if m.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(m.files, name)
	return nil
}

func (m *memFS) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("link", from); err != nil {
		return err
	}
	switch {
	case m.files[from] == nil:
		return fs.ErrNotExist
	case m.files[to] != nil:
		return fs.ErrExist
	}
	m.files[to] = m.files[from]
	return nil
}

func (m *memFS) SyncDir(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("syncdir", ""); err != nil {
		return err
	}
	m.synced = mapsClone(m.files)
	return nil
}

func (m *memFS) Lock(string) (Held, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.beginLocked("lock", ""); err != nil {
		return nil, err
	}
	if m.locked {
		return nil, ErrLocked
	}
	m.locked = true
	return memLock{m}, nil
}

type memLock struct{ m *memFS }

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.m.locked = false
	return nil
}

type memFile struct {
	m    *memFS
	in   *memInode
	name string
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.beginLocked("read", f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.in.data)) {
		return 0, io.EOF
	}
	if u := int64(f.m.unreadable); u > 0 && u >= off && u < off+int64(len(p)) {
		return 0, errInput
	}
	n := copy(p, f.in.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.m.beginLocked("write", f.name)
	if errors.Is(err, errDead) {
		return 0, err
	}
	n := len(p)
	if err != nil {
		n /= 2
	}
	if errors.Is(err, errShort) {
		err = nil
	}
	if need := int(off) + n; need > len(f.in.data) {
		f.in.data = append(f.in.data, make([]byte, need-len(f.in.data))...)
	}
	copy(f.in.data[off:], p[:n])
	return n, err
}

// errShort makes a write short and silent about it.
var errShort = errors.New("short")

func (f *memFile) Close() error { return nil }

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.beginLocked("size", f.name); err != nil {
		return 0, err
	}
	return int64(len(f.in.data)), nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.beginLocked("sync", f.name); err != nil {
		return err
	}
	f.in.synced = slices.Clone(f.in.data)
	return nil
}

func (f *memFile) Truncate(size int64) error { return f.m.Truncate(f.name, size) }
