package remote_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/akubra/akubra/internal/remote"
)

func TestDirID(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	one, err := remote.DirID(dir)
	if err != nil || one == "" {
		t.Fatal(one, err)
	}
	if other, err := remote.DirID(link); err != nil || other != one {
		t.Errorf("%q through a link, %v; want %q", other, err, one)
	}
	if other, err := remote.DirID(t.TempDir()); err != nil || other == one {
		t.Errorf("another one is %q too, %v", other, err)
	}
	if _, err := remote.DirID(filepath.Join(dir, "none")); err == nil {
		t.Error("none has an id")
	}
}
