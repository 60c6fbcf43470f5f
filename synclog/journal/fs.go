package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/akubra/akubra/internal/datadir"
)

// FS is what the journal needs from a file system. Names are whole paths. Errors are like those of
// package os: callers look for fs.ErrExist and fs.ErrNotExist.
type FS interface {
	// MkdirAll creates a directory for its owner alone, durably, with its parents. It fails if the
	// directory is a symbolic link, as all calls do for files.
	MkdirAll(dir string) error
	// ReadDir returns the names in a directory.
	ReadDir(dir string) ([]string, error)
	// Create creates a new file for reading and writing; it fails if the file exists.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Truncate cuts a file to size, durably.
	Truncate(name string, size int64) error
	Rename(from, to string) error
	Remove(name string) error
	// Link gives a file a second name; it fails if the name is taken.
	Link(from, to string) error
	// SyncDir makes durable which files a directory contains.
	SyncDir(dir string) error
	// Lock takes a lock file for this process, until it is closed or the process ends. The error
	// is ErrLocked if another process has it.
	Lock(name string) (Held, error)
	// Hold opens a directory, so that no other one can get its Identity.
	Hold(dir string) (Held, error)
	// Identify returns the identity of what has this name now; the zero one if nothing has. An
	// error means that this cannot be told.
	Identify(name string) (Identity, error)
}

// Identity distinguishes an open file or directory from all others. The zero Identity belongs to
// no file.
type Identity = datadir.Identity

// Held is a file or directory that is open.
type Held interface {
	io.Closer
	Identity() (Identity, error)
}

// File is an open file. ReadAt may be called while others read and write.
type File interface {
	io.ReaderAt
	io.WriterAt
	Held
	Size() (int64, error)
	Sync() error
	Truncate(size int64) error
}

// osFS is the operating system's file system.
type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Identity() (Identity, error) {
	info, err := f.Stat()
	if err != nil {
		return Identity{}, err
	}
	return datadir.IdentityOf(info), nil
}

func (osFS) MkdirAll(dir string) error { return datadir.MkdirAll(dir, false) }

func (osFS) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osFS) Create(name string) (File, error) {
	return openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Open(name string) (File, error) { return openFile(name, os.O_RDONLY) }

func openFile(name string, flag int) (File, error) {
	f, err := datadir.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Truncate(name string, size int64) (err error) {
	f, err := datadir.OpenFile(name, os.O_RDWR)
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

func (osFS) SyncDir(dir string) error { return datadir.SyncDir(dir) }

func (osFS) Identify(name string) (Identity, error) { return datadir.Identify(name) }

func (osFS) Hold(dir string) (Held, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return osFile{d}, nil
}

func (o osFS) Lock(name string) (Held, error) {
	f, err := datadir.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := o.lock(f); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	// The process id is for people; the lock holds without it, on a full disk too.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return osFile{f}, nil
}

// lock locks a lock file and makes sure that it is the one that others will find.
func (o osFS) lock(f *os.File) error {
	name := f.Name()
	if err := datadir.NotLinked(f); err != nil {
		return err
	}
	if err := lockFile(f); err != nil {
		if !errors.Is(err, ErrLocked) {
			return fmt.Errorf("cannot lock %q: %w", name, err)
		}
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0) // the file is short: io.EOF is no news
		pid := strings.TrimSpace(string(holder[:n]))
		if pid == "" {
			pid = "unknown"
		}
		return fmt.Errorf("%w (process %s, %q)", ErrLocked, pid, name)
	}
	there, err := o.Identify(name)
	if err != nil {
		return err
	}
	if own, err := (osFile{f}).Identity(); err != nil || own != there {
		return fmt.Errorf("cannot lock %q: it was replaced meanwhile", name)
	}
	return nil
}
