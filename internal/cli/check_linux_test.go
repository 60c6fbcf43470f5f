package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/testkit"
)

// R20, R21: a check finds that the disk is too full for the journal, as a start does, and that it has room again.
func TestR21CheckOfAFullDisk(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	testkit.MustDo(t, os.Mkdir(disk, 0o700))
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		t.Skip("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(t.TempDir(), "akubra.yaml")
	testkit.MustDo(t, os.WriteFile(path, []byte(twoGood+"Listen: 127.0.0.1:0\nAdminListen: 127.0.0.1:0\nDataDir: "+disk+"/some/where\n"), 0o600))
	exit, said := verdict(t, "check", "-c", path)
	if want := "/some/where\"): no space left on device: 256.0 KiB are left, and a start needs 1.1 MiB"; exit != exitFailed || !strings.Contains(said, want) {
		t.Errorf("check ends with %d: %s, want %q", exit, said, want)
	}
	if left := list(t, disk); left != disk {
		t.Errorf("check leaves %s", left)
	}
	if exit, said := verdict(t, "-c", path); exit != exitFailed || !strings.Contains(said, "no space left on device") {
		t.Errorf("a start ends with %d: %s", exit, said)
	}
	testkit.MustDo(t, unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=4m,mode=700"))
	for _, args := range [][]string{{"check", "-c", path}, {"-c", path}, {"check", "-c", path}} {
		if exit, said := verdict(t, args...); exit != exitOK {
			t.Errorf("%v with room ends with %d: %s", args, exit, said)
		}
	}
	// A journal's table makes way for the next one.
	testkit.MustDo(t, unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=1200k,mode=700"))
	for _, args := range [][]string{{"check", "-c", path}, {"-c", path}} {
		if exit, said := verdict(t, args...); exit != exitOK {
			t.Errorf("%v with a table and little room ends with %d: %s", args, exit, said)
		}
	}
}
