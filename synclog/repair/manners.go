package repair

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/datadir"
)

// Memory permanently remembers what backends are known not to keep of what they are given: such a
// backend is never the source of it, and verify reports it once (R35). Any goroutine may call it.
type Memory interface {
	// Loses reports whether a backend is known not to keep what has this name.
	Loses(backend, name string) bool
	// Learn records that; first reports whether it was new.
	Learn(backend, name string) (first bool, err error)
	// Lossy reports whether anything is known of a backend.
	Lossy(backend string) bool
}

// inventedType is a peculiarity, not a loss: a Content-Type where none was sent.
const inventedType = "Content-Type where none was sent"

// Manners is a Memory in a small file.
type Manners struct {
	path string // "" is none

	mu    sync.Mutex
	known map[string]map[string]time.Time // backend, name, when it was seen
}

// MannersName is the name of the file in DataDir.
const MannersName = "manners.json"

// OpenManners reads the file at path, which need not exist; with "" nothing is kept beyond the
// process.
func OpenManners(path string) (*Manners, error) {
	m := &Manners{path: path, known: map[string]map[string]time.Time{}}
	if path == "" {
		return m, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m.known)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what is known of backends in %q: %w", path, err)
	}
	if m.known == nil { // "null"
		m.known = map[string]map[string]time.Time{}
	}
	return m, nil
}

// Loses is Memory's.
func (m *Manners) Loses(backend, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.known[backend][name]
	return known
}

// Lossy is Memory's.
func (m *Manners) Lossy(backend string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.known[backend] {
		if name != inventedType {
			return true
		}
	}
	return false
}

// Learn is Memory's.
func (m *Manners) Learn(backend, name string) (first bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.known[backend][name]; known {
		return false, nil
	}
	if m.known[backend] == nil {
		m.known[backend] = map[string]time.Time{}
	}
	m.known[backend][name] = time.Now().UTC().Truncate(time.Second)
	return true, m.writeLocked()
}

// writeLocked replaces the whole file.
func (m *Manners) writeLocked() error {
	if m.path == "" {
		return nil
	}
	if other, err := OpenManners(m.path); err == nil { // another process may have learnt something
		for backend, names := range other.known {
			for name, at := range names {
				if m.known[backend] == nil {
					m.known[backend] = map[string]time.Time{}
				}
				if _, known := m.known[backend][name]; !known {
					m.known[backend][name] = at
				}
			}
		}
	}
	text, err := json.MarshalIndent(m.known, "", "\t")
	if err != nil {
		return err
	}
	if err := datadir.Replace(m.path, append(text, '\n')); err != nil {
		return fmt.Errorf("cannot keep what is known of backends in %q: %w", m.path, err)
	}
	return nil
}

// learn records that a backend does not keep something, and reports it once.
func (r *Repairer) learn(b *backend, name string) {
	first, err := r.o.Memory.Learn(b.name, name)
	if err != nil {
		r.warnOnce("manners", "repair cannot remember what a backend does not keep", "error", err.Error())
	}
	if first {
		r.o.Log.Warn("a backend does not keep what it is given", "backend", b.name, "what", name)
	}
}
