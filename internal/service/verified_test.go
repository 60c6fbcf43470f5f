package service

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/repair"
)

// What the last verify has found is read once, and again after the next one, even within the same tick
// of the file system's clock.
func TestVerifiedIsReadOnce(t *testing.T) {
	c := &config.Config{DataDir: t.TempDir()}
	var f verifiedFile
	if v := f.get(c); v != nil {
		t.Errorf("nobody has verified: %+v", v)
	}
	file, at := filepath.Join(c.DataDir, verifiedName), time.Now()
	for n := int64(1); n < 4; n++ {
		testkit.MustDo(t, KeepVerified(c, repair.VerifySummary{Keys: n}, true))
		testkit.MustDo(t, os.Chtimes(file, at, at))
		v := f.get(c)
		if v == nil || v.Compared != int(n) {
			t.Fatalf("of %d: %+v", n, v)
		}
		if again := f.get(c); again != v {
			t.Error("it is read again")
		}
	}
	testkit.MustDo(t, os.WriteFile(file, []byte("{"), 0o600))
	if v := f.get(c); v != nil {
		t.Errorf("of what cannot be read: %+v", v)
	}
	testkit.MustDo(t, os.Remove(file))
	if v := f.get(c); v != nil {
		t.Errorf("of none: %+v", v)
	}
}
