package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FS is what the journal needs of a file system. Names are whole paths. Errors
// are as os gives them: fs.ErrExist and fs.ErrNotExist are looked for.
type FS interface {
	// MkdirAll makes a directory for its owner alone, durably, with its parents.
	MkdirAll(dir string) error
	// ReadDir gives the names in a directory.
	ReadDir(dir string) ([]string, error)
	// Create makes a new file, for reading and writing; it fails where there is one.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Truncate cuts a file, durably.
	Truncate(name string, size int64) error
	Rename(from, to string) error
	Remove(name string) error
	// Link gives a file a second name; it fails where the name is taken.
	Link(from, to string) error
	// SyncDir makes durable which files a directory has.
	SyncDir(dir string) error
	// Lock takes a lock file for this process, until closed or until the process
	// ends. ErrLocked where another one has it.
	Lock(name string) (io.Closer, error)
}

// File is an open file. ReadAt may be called while others read and write.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Sync() error
	Truncate(size int64) error
}

type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (o osFS) MkdirAll(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil // what it is shows soon enough
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := o.MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return o.SyncDir(parent)
}

func (osFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Open(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Truncate(name string, size int64) (err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }
func (osFS) Link(from, to string) error   { return os.Link(from, to) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		defer f.Close()
		if !errors.Is(err, ErrLocked) {
			return nil, fmt.Errorf("cannot lock %q: %w", name, err)
		}
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0) // the file is short: io.EOF is no news
		pid := strings.TrimSpace(string(holder[:n]))
		if pid == "" {
			pid = "unknown"
		}
		return nil, fmt.Errorf("%w (process %s, %q)", ErrLocked, pid, name)
	}
	// The process id is for people; the lock holds without it, on a full disk too.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
