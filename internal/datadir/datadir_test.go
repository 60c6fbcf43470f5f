package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	testkit.MustDo(t, errors.Join(errs...))
}

func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if _, err := OpenFile(name, os.O_RDWR); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	for i, flag := range []int{os.O_CREATE | os.O_EXCL, os.O_CREATE, 0} {
		f, err := OpenFile(name, os.O_RDWR|flag)
		must(t, err)
		_, err = f.WriteString(fmt.Sprint(i))
		must(t, err, f.Close())
	}
	if _, err := OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL); !errors.Is(err, fs.ErrExist) {
		t.Errorf("there: %v", err)
	}
	info, err := os.Stat(name)
	must(t, err)
	if info.Mode() != 0o600 || info.Size() != 1 {
		t.Errorf("mode %v, %d bytes", info.Mode(), info.Size())
	}
}

// What a link leads to is not the proxy's, a pipe would be waited for, and root must
// not write to a file of another name.
func TestOpenFileRefuses(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "other")
	must(t, os.WriteFile(other, []byte("precious"), 0o600))
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t,
		os.Symlink(other, in("link")), os.Symlink(in("nowhere"), in("dangling")), os.Symlink(in("loop"), in("loop")),
		syscall.Mkfifo(in("pipe"), 0o600), os.Mkdir(in("directory"), 0o700),
	)
	for _, c := range []struct {
		name string
		want error
	}{
		{"link", errSymlink}, {"dangling", errSymlink}, {"loop", errSymlink}, {"pipe", errNotRegular}, {"directory", nil},
	} {
		for _, flag := range []int{os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREATE, os.O_RDWR | os.O_CREATE | os.O_EXCL} {
			f, err := OpenFile(in(c.name), flag)
			if err == nil {
				f.Close()
			}
			if want := c.want; err == nil || want != nil && !errors.Is(err, want) && !(flag&os.O_EXCL != 0 && errors.Is(err, fs.ErrExist)) {
				t.Errorf("%s, flag %#x: %v", c.name, flag, err)
			} else if !strings.Contains(err.Error(), in(c.name)) {
				t.Errorf("%s, flag %#x: the error does not tell which: %v", c.name, flag, err)
			}
		}
	}
	if _, err := os.Lstat(in("nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("made behind a link: %v", err)
	}

	must(t, os.Link(other, in("linked")))
	f, err := OpenFile(in("linked"), os.O_RDWR)
	must(t, err)
	defer f.Close()
	if err := NotLinked(f); !errors.Is(err, errLinked) {
		t.Errorf("with another name: %v", err)
	}
	must(t, os.Remove(other))
	if err := NotLinked(f); err != nil {
		t.Errorf("with one name: %v", err)
	}
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for range 2 {
		must(t, MkdirAll(in("a/b/c"), false))
	}
	for _, name := range []string{"a", "a/b", "a/b/c"} {
		info, err := os.Lstat(in(name))
		must(t, err)
		if info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	must(t, os.Symlink(in("a"), in("link")), os.Symlink(in("none"), in("dangling")), os.WriteFile(in("file"), nil, 0o600))
	must(t, MkdirAll(in("link"), true), MkdirAll(in("link/d"), false))
	if err := MkdirAll(in("link"), false); !errors.Is(err, errSymlink) {
		t.Errorf("a link: %v", err)
	}
	for _, name := range []string{"dangling", "file", "file/x"} {
		for _, follow := range []bool{false, true} {
			if err := MkdirAll(in(name), follow); err == nil {
				t.Errorf("%s, follow %v: no error", name, follow)
			}
		}
	}
}

// Root leaves nothing behind that the owner of the directory cannot open.
func TestRootHandsOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := filepath.Join(t.TempDir(), "data")
	const uid, gid = 1234, 4321
	must(t, os.Mkdir(dir, 0o700), os.Chown(dir, uid, gid))
	must(t, MkdirAll(filepath.Join(dir, "a/b"), false))
	f, err := OpenFile(filepath.Join(dir, "a/b/file"), os.O_RDWR|os.O_CREATE)
	must(t, err, f.Close())
	kept := filepath.Join(dir, "root's")
	must(t, os.WriteFile(kept, nil, 0o600))
	f, err = OpenFile(kept, os.O_RDWR|os.O_CREATE) // which may be anything, with another name
	must(t, err, f.Close())
	for name, owner := range map[string]uint32{"a": uid, "a/b": uid, "a/b/file": uid, "root's": 0} {
		info, err := os.Lstat(filepath.Join(dir, name))
		must(t, err)
		if s := sys(info); s.Uid != owner || owner != 0 && s.Gid != gid {
			t.Errorf("%s belongs to %d:%d", name, s.Uid, s.Gid)
		}
	}
}

func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	f, err := os.Create(in("file"))
	must(t, err)
	defer f.Close()
	must(t, os.WriteFile(in("other"), nil, 0o600), os.Symlink("file", in("link")), os.Symlink("loop", in("loop")), os.Link(in("file"), in("second")))
	info, err := f.Stat()
	must(t, err)
	own := IdentityOf(info)
	for name, same := range map[string]bool{"file": true, "second": true, "other": false, "link": false} {
		id, err := Identify(in(name))
		must(t, err)
		if (id == own) != same || id == (Identity{}) {
			t.Errorf("%s is %v, the file %v", name, id, own)
		}
	}
	for _, name := range []string{"none", "none/below", "file/below", "loop/below"} {
		if id, err := Identify(in(name)); err != nil || id != (Identity{}) {
			t.Errorf("%s is %v, %v", name, id, err)
		}
	}
	if _, err := Identify(in(strings.Repeat("x", 5000))); err == nil {
		t.Error("a name that is too long leads somewhere")
	}
}

func TestCheck(t *testing.T) {
	others := os.Getegid()
	for groups, _ := os.Getgroups(); others == os.Getegid() || slices.Contains(groups, others); others++ {
	}
	for _, c := range []struct {
		name string
		do   func(dir, journal string) error
		want string // of the error; %s is the directory
	}{
		{"as it is made", func(_, _ string) error { return nil }, ""},
		{"not there", func(dir, _ string) error { return os.RemoveAll(dir) }, ""},
		{"no journal", func(_, journal string) error { return os.RemoveAll(journal) }, ""},
		{"others may read", func(dir, journal string) error { return errors.Join(os.Chmod(dir, 0o755), os.Chmod(journal, 0o755)) }, ""},
		{"something else in it", func(dir, _ string) error { return os.Symlink("/", dir+"/x") }, ""},
		{"behind a link", func(dir, _ string) error { return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir)) }, ""},
		{"all may write", func(dir, _ string) error { return os.Chmod(dir, 0o777) }, `all users may write to "%s" (drwxrwxrwx): chmod o-w`},
		{"all may write, sticky", func(dir, _ string) error { return os.Chmod(dir, fs.ModeSticky|0o777) }, `all users may write to "%s" (dtrwxrwxrwx): chmod o-w, or use a directory below it`},
		{"all may write to the journal", func(_, journal string) error { return os.Chmod(journal, 0o702) }, `all users may write to "%s/journal" (drwx----w-): chmod o-w`},
		{"behind a link all may write", func(dir, _ string) error {
			return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir), os.Chmod(dir+"2", 0o777))
		}, `all users may write to "%s" (drwxrwxrwx)`},
		{"own group", func(dir, _ string) error { return os.Chmod(dir, 0o770) }, ""},
		{"no directory", func(dir, _ string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) }, `"%s" is no directory`},
		{"below a file", func(dir, _ string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(dir)), os.WriteFile(filepath.Dir(dir), nil, 0o600))
		}, `cannot examine "%s": not a directory`},
		{"journal a link", func(dir, journal string) error {
			return errors.Join(os.Rename(journal, dir+"/x"), os.Symlink("x", journal))
		}, `"%s/journal" is a symbolic link`},
		{"journal a file", func(_, journal string) error {
			return errors.Join(os.RemoveAll(journal), os.WriteFile(journal, nil, 0o600))
		}, `"%s/journal" is no directory`},
		{"a file a link", func(_, journal string) error { return os.Symlink("/dev/null", journal+"/lock") }, `"%s/journal/lock" is a symbolic link`},
		{"a pipe", func(_, journal string) error { return syscall.Mkfifo(journal+"/lock", 0o600) }, `"%s/journal/lock" is no regular file`},
		{"another group", func(dir, _ string) error {
			if os.Geteuid() != 0 {
				return nil
			}
			return errors.Join(os.Chmod(dir, 0o770), os.Chown(dir, 0, others))
		}, fmt.Sprintf(`group %d, which is not one of the proxy's, may write to "%%s" (drwxrwx---): chmod g-w`, others)},
		{"another user's, and its group's", func(dir, _ string) error { // whose proxy knows
			if os.Geteuid() != 0 {
				return nil
			}
			return errors.Join(os.Chmod(dir, 0o770), os.Chown(dir, 1234, others))
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "above", "data")
			journal := filepath.Join(dir, "journal")
			must(t, os.MkdirAll(journal, 0o700), os.WriteFile(journal+"/checkpoint", nil, 0o600), c.do(dir, journal))
			err := Check(dir, journal)
			if c.want == "" || os.Geteuid() != 0 && strings.HasPrefix(c.want, "group") {
				must(t, err)
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf(c.want, dir)) {
				t.Errorf("error %v, want %s", err, fmt.Sprintf(c.want, dir))
			}
		})
	}
}

// What is read is the old content or the new one, never a mix, and nothing else is left.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, content := range []string{"a long one", "short", ""} {
		testkit.MustDo(t, Replace(name, []byte(content)))
		if got, err := os.ReadFile(name); err != nil || string(got) != content {
			t.Errorf("it is %q, want %q, %v", got, content, err)
		}
	}
	testkit.MustDo(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	if err := Replace(filepath.Join(dir, "dir"), nil); err == nil {
		t.Error("a directory was replaced")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("there are %v, %v", files, err)
	}
}
