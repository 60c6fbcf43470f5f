// Package maintenance records which backends were taken into or out of maintenance while the proxy
// ran, so that this survives a restart (R14). It is a small file in DataDir, written completely and
// replaced atomically.
//
// What was set at run time takes precedence over the configuration until the configuration of that
// backend is changed: whoever changed it later meant it.
//
// Any goroutine may use a File.
package maintenance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/datadir"
)

const fileName = "maintenance.json"

// File is what was set at run time.
type File struct {
	path       string
	names      []string // of the backends, by index
	mu         sync.Mutex
	configured uint64 // set of the backends that the configuration has in maintenance
	set        map[string]entry
}

// entry is what was set for one backend.
type entry struct {
	Maintained bool      `json:"maintained"`
	Configured bool      `json:"configured"` // what the configuration said at that time
	Since      time.Time `json:"since"`
}

type document struct {
	Backends map[string]entry `json:"backends"`
}

// Load reads the file in dataDir. mask is the set of backends in maintenance, by names. After an
// error mask is configured, the configuration's, and File still works.
func Load(dataDir string, names []string, configured uint64) (f *File, mask uint64, err error) {
	f = &File{path: filepath.Join(dataDir, fileName), names: names, configured: configured, set: map[string]entry{}}
	r, err := datadir.OpenFile(f.path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return f, configured, nil
	}
	if err != nil {
		return f, configured, fmt.Errorf("cannot read the state of maintenance from %q: %w", f.path, err)
	}
	defer r.Close()
	var doc document
	if err := json.NewDecoder(r).Decode(&doc); err != nil {
		return f, configured, fmt.Errorf("cannot read the state of maintenance from %q: %w", f.path, err)
	}
	mask = configured
	for i, name := range names {
		e, ok := doc.Backends[name]
		if !ok || e.Configured != f.isConfigured(i) {
			continue
		}
		f.set[name] = e
		mask &^= 1 << i
		if e.Maintained {
			mask |= 1 << i
		}
	}
	if mask == 1<<len(names)-1 {
		f.set = map[string]entry{}
		return f, configured, fmt.Errorf("cannot use the state of maintenance in %q: no backend would be left", f.path)
	}
	return f, mask, nil
}

func (f *File) isConfigured(backend int) bool { return f.configured&(1<<backend) != 0 }

// Set saves whether a backend is in maintenance.
func (f *File) Set(backend int, on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on == f.isConfigured(backend) {
		delete(f.set, f.names[backend])
	} else {
		f.set[f.names[backend]] = entry{Maintained: on, Configured: f.isConfigured(backend), Since: time.Now().UTC()}
	}
	if err := f.writeLocked(); err != nil {
		return fmt.Errorf("cannot save the state of maintenance: %w", err)
	}
	return nil
}

// Configure says that the configuration now has this set of backends in maintenance. For each
// backend where that is a change, what was set at run time is dropped.
func (f *File) Configure(configured uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed, forgotten := f.configured^configured, false
	f.configured = configured
	for i, name := range f.names {
		if _, ok := f.set[name]; ok && changed&(1<<i) != 0 {
			delete(f.set, name)
			forgotten = true
		}
	}
	if !forgotten {
		return nil
	}
	if err := f.writeLocked(); err != nil {
		return fmt.Errorf("cannot save the state of maintenance: %w", err)
	}
	return nil
}

func (f *File) writeLocked() error {
	content, err := json.MarshalIndent(document{f.set}, "", "  ")
	if err != nil {
		return err
	}
	return datadir.Replace(f.path, append(content, '\n'))
}
