package interop

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// content is size bytes that no compression helps with, the same for each seed.
func content(seed uint64, size int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}

// oddNames are file names that have to be escaped, in one way or another.
var oddNames = []string{
	"plain.txt", "ü€ %2F+;=&.bin", "with space", "plus+plus", "100%", "%41", "semi;colon,comma", "a=b&c=d", "at@colon:",
	"it's \"quoted\"", "(round)[square]{curly}", "~tilde!$^`#?", "日本語/кириллица.txt", "😀.png", "back\\slash", "deep/er/and/deeper/x",
}

// writeFiles fills dir with small files, an hour old: a client that compares times
// must not find one that is newer than its copy, in whole seconds.
func writeFiles(t *testing.T, dir string, names []string) {
	t.Helper()
	for i, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		mustWrite(t, file, content(uint64(i), i*1000))
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// sameFiles compares two folders, file by file.
func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	wanted, found := readFiles(t, want), readFiles(t, got)
	for name, data := range wanted {
		if other, ok := found[name]; !ok {
			t.Errorf("%q did not come", name)
		} else if !bytes.Equal(data, other) {
			t.Errorf("%q came with %d bytes that differ from the %d sent", name, len(other), len(data))
		}
	}
	for name := range found {
		if _, ok := wanted[name]; !ok {
			t.Errorf("%q came, and was never sent", name)
		}
	}
}

func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[path], err = os.ReadFile(filepath.Join(dir, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sameFile compares a file with what should be in it.
func sameFile(t *testing.T, want []byte, file string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s has %d bytes that differ from the %d sent", filepath.Base(file), len(got), len(want))
	}
}
