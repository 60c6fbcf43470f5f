// Package datadir creates and opens what is in the proxy's DataDir.
//
// DataDir may be a symbolic link. Nothing in it may be one, because its target does not belong to
// the proxy. What root creates there is given to the owner of its directory: `akubra repair` may
// run as root while the proxy does not, and must not leave behind anything that the proxy cannot
// open.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// MkdirAll creates a directory, accessible only to its owner, durably and with its parents. An
// existing one may be a symbolic link only if follow is set.
func MkdirAll(dir string, follow bool) error {
	err := isDir(dir, follow)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, true); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) { // somebody else was faster, or it is a dangling link
			return isDir(dir, follow)
		}
		return err
	}
	d, err := openFile(dir, os.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := handOver(d, parent); err != nil {
		return err
	}
	return SyncDir(parent)
}

func isDir(dir string, follow bool) error {
	info, err := stat(dir, follow)
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return pathError("open", dir, errSymlink)
	case !info.IsDir():
		return pathError("mkdir", dir, syscall.ENOTDIR)
	}
	return nil
}

func stat(name string, follow bool) (fs.FileInfo, error) {
	if follow {
		return os.Stat(name)
	}
	return os.Lstat(name)
}

// SyncDir makes the list of a directory's files durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Replace gives a file in a directory of DataDir new content, durably: readers find either the old
// content or the new one, even after a power cut. Several processes may do so at the same time;
// within a process, the caller must make sure that only one goroutine does.
func Replace(name string, content []byte) error {
	next := fmt.Sprintf("%s.%d.new", name, os.Getpid())
	f, err := OpenFile(next, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil { // one that a process with this number has left may be longer
		err = f.Truncate(int64(len(content)))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return SyncDir(filepath.Dir(name))
}

// OpenFile opens a file in a directory of DataDir. flag is as for os.OpenFile; a file that is
// created is accessible only to its owner.
func OpenFile(name string, flag int) (*os.File, error) {
	if flag&os.O_CREATE == 0 {
		return openRegular(name, flag)
	}
	for {
		f, err := openFile(name, flag|os.O_EXCL)
		switch {
		case err == nil:
			if err := handOver(f, filepath.Dir(name)); err != nil {
				return nil, errors.Join(err, f.Close(), os.Remove(name))
			}
			return f, nil
		case flag&os.O_EXCL != 0 || !errors.Is(err, fs.ErrExist):
			return nil, err
		}
		f, err = openRegular(name, flag&^os.O_CREATE)
		if !errors.Is(err, fs.ErrNotExist) { // otherwise it has just been removed
			return f, err
		}
	}
}

var (
	errSymlink    = errors.New("it is a symbolic link, which is not followed in DataDir")
	errNotRegular = errors.New("it is not a regular file")
	errLinked     = errors.New("it has another name too, so writing to it would change another file")
)

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// openFile follows no link and does not wait for the other end of a pipe.
func openFile(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil && isSymlink(name) {
		err = pathError("open", name, errSymlink)
	}
	return f, err
}

func isSymlink(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func openRegular(name string, flag int) (*os.File, error) {
	f, err := openFile(name, flag)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = pathError("open", name, errNotRegular)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// NotLinked returns nil if an open file has at most one name. A file that is written in place,
// perhaps by root, must not be anybody else's.
func NotLinked(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if sys(info).Nlink > 1 {
		return pathError("open", f.Name(), errLinked)
	}
	return nil
}

// handOver gives what root has created to the owner of its directory.
func handOver(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	parent, err := os.Stat(dir)
	if err != nil {
		return err
	}
	made, err := f.Stat()
	if err != nil {
		return err
	}
	to, is := sys(parent), sys(made)
	if to.Uid == is.Uid { // nor is a directory's group one that each file in it has to have
		return nil
	}
	return f.Chown(int(to.Uid), int(to.Gid))
}

func sys(info fs.FileInfo) *syscall.Stat_t {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		panic("datadir: a file without an owner")
	}
	return s
}

// Identity distinguishes a file of this machine from all others while it is open. The zero Identity
// belongs to no file.
type Identity struct{ Dev, Ino uint64 }

// IdentityOf returns the identity of a file from its os.FileInfo.
func IdentityOf(info fs.FileInfo) Identity {
	s := sys(info)
	return Identity{Dev: uint64(s.Dev), Ino: s.Ino} // Dev has another type on other systems
}

// Identify returns the identity of the file called name, which must not be a link; the zero
// Identity if there is none.
func Identify(name string) (Identity, error) {
	info, err := os.Lstat(name)
	switch {
	case err == nil:
		return IdentityOf(info), nil
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) ||
		errors.Is(err, syscall.ESTALE):
		return Identity{}, nil
	}
	return Identity{}, err
}

// Check returns nil if dir can be DataDir, with the journal's directory in it: it does not exist
// yet, or it is a directory that nobody else may write to, and the journal's directory contains
// nothing but files. What this process is not allowed to examine is left to whoever opens it.
func Check(dir, journal string) error {
	if err := checkMode(dir, true); err != nil {
		return err
	}
	if err := checkMode(journal, false); err != nil {
		return err
	}
	entries, err := os.ReadDir(journal)
	if err != nil {
		return unlessHidden(journal, err)
	}
	for _, e := range entries {
		name := filepath.Join(journal, e.Name())
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			return fmt.Errorf("%q is a symbolic link: put the file itself there", name)
		case !e.Type().IsRegular():
			return fmt.Errorf("%q is no regular file: remove it", name)
		}
	}
	return nil
}

func unlessHidden(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("cannot examine %q: %w", dir, err)
}

func checkMode(dir string, follow bool) error {
	info, err := stat(dir, follow)
	if err != nil {
		return unlessHidden(dir, err)
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%q is a symbolic link: put the directory itself there", dir)
	case !mode.IsDir():
		return fmt.Errorf("%q is no directory", dir)
	case mode&0o002 != 0: // sticky or not
		return fmt.Errorf("all users may write to %q (%v): chmod o-w, or use a directory below it", dir, mode)
	case mode&0o020 != 0 && !trusted(sys(info)):
		return fmt.Errorf("group %d, which is not one of the proxy's, may write to %q (%v): chmod g-w, or chgrp", sys(info).Gid, dir, mode)
	}
	return nil
}

// trusted reports whether the group that may write to a directory is this process's own, like that
// of a volume given to a container (fsGroup), or a user's private one. If root acts for another
// user, it is up to that user.
func trusted(s *syscall.Stat_t) bool {
	if os.Geteuid() == 0 && s.Uid != 0 {
		return true
	}
	groups, err := os.Getgroups()
	return err == nil && slices.Contains(append(groups, os.Getegid()), int(s.Gid))
}

// CheckWritable returns nil if dir, and files in it, can be created. It leaves nothing behind.
func CheckWritable(dir string) error {
	there := dir
	for {
		info, err := os.Stat(there)
		if err == nil && !info.IsDir() {
			return pathError("mkdir", there, syscall.ENOTDIR)
		}
		if err == nil {
			break
		}
		parent := filepath.Dir(there)
		if !errors.Is(err, fs.ErrNotExist) || parent == there {
			return err
		}
		if isSymlink(there) { // to nowhere: nothing can be made in its place
			return err
		}
		there = parent
	}
	if there != dir {
		made, err := os.MkdirTemp(there, ".akubra-check-*")
		if err != nil {
			return at("mkdir", there, err)
		}
		return os.Remove(made)
	}
	f, err := os.CreateTemp(dir, ".akubra-check-*")
	if err != nil {
		return at("open", dir, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// at is err with name in place of its path.
func at(op, name string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return pathError(op, name, err)
}
