package inflight

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/datadir"
	"github.com/akubra/akubra/internal/testkit"
)

// The table is known by its file as long as it is open, and of no use once that was cut.
func TestR23Identity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	table, _ := mustOpen(t, path)
	for range chunkSlots + 1 { // it has grown
		mustBegin(t, table, write("b", "k"))
	}
	id, err := table.Identity()
	testkit.MustDo(t, err)
	if there, err := datadir.Identify(path); err != nil || id != there || id == (datadir.Identity{}) {
		t.Errorf("it is %v, at its path is %v, %v", id, there, err)
	}
	testkit.MustDo(t, os.Truncate(path, slotSize))
	if _, err := table.Identity(); err == nil || !strings.Contains(err.Error(), "it was cut to 4096 bytes") {
		t.Errorf("cut: %v", err)
	}
	testkit.MustDo(t, table.Close())
	if id, err := table.Identity(); err != nil || id != (datadir.Identity{}) {
		t.Errorf("closed: %v, %v", id, err)
	}
}

// Who asks for it holds nobody up, and asks at any time: while a write ends, and while the
// table is closed.
func TestR23IdentityAtAnyTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inflight")
	for range 20 {
		table, _ := mustOpen(t, path)
		asked := make(chan error, 1)
		table.mu.Lock()
		go func() {
			_, err := table.Identity()
			asked <- err
		}()
		// It does not wait for, nor hold up, who ends a write.
		testkit.MustDo(t, testkit.Receive(t, "who asks while the table is locked", asked))
		table.mu.Unlock()

		go func() {
			for {
				id, err := table.Identity()
				if err != nil || id == (datadir.Identity{}) {
					asked <- err
					return
				}
			}
		}()
		testkit.MustDo(t, table.Close())
		testkit.MustDo(t, testkit.Receive(t, "who asks", asked))
	}
}

// What is written in place must be nobody else's file.
func TestOpenFollowsNothing(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	testkit.MustDo(t, os.WriteFile(other, []byte("precious"), 0o600))
	for name, link := range map[string]func(from, to string) error{"symbolic": os.Symlink, "hard": os.Link} {
		path := filepath.Join(dir, name)
		testkit.MustDo(t, link(other, path))
		if table, err := Open(path, nil); err == nil {
			table.Close()
			t.Errorf("%s link: no error", name)
		}
	}
	if p, err := os.ReadFile(other); err != nil || string(p) != "precious" {
		t.Errorf("%q, %v", p, err)
	}
}
