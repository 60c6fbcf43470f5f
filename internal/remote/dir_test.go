package remote

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func TestDirID(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	testkit.MustDo(t, os.Symlink(dir, link))
	one, err := dirID(dir)
	if err != nil || one == "" {
		t.Fatal(one, err)
	}
	if other, err := dirID(link); err != nil || other != one {
		t.Errorf("%q through a link, %v; want %q", other, err, one)
	}
	if other, err := dirID(t.TempDir()); err != nil || other == one {
		t.Errorf("another one is %q too, %v", other, err)
	}
	if _, err := dirID(filepath.Join(dir, "none")); err == nil {
		t.Error("none has an id")
	}
}
