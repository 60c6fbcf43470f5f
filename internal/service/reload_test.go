package service

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
)

// reloadRig is a proxy that was started from a file.
type reloadRig struct {
	*Proxy
	t        *testing.T
	dir      string
	backends []string
}

func mustStartReload(t *testing.T, more string) *reloadRig {
	t.Helper()
	r := &reloadRig{t: t, dir: t.TempDir()}
	for range 2 {
		r.backends = append(r.backends, testkit.NewBackend(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	}
	r.write(more)
	c, err := config.Load(r.file())
	testkit.MustDo(t, err)
	r.Proxy, err = New(c, logs.Plain(io.Discard, io.Discard), "test")
	testkit.MustDo(t, err)
	r.File = r.file()
	testkit.MustDo(t, r.Start())
	t.Cleanup(r.Stop)
	return r
}

func (r *reloadRig) file() string { return filepath.Join(r.dir, "akubra.yaml") }

func (r *reloadRig) write(more string) {
	r.t.Helper()
	testkit.MustDo(r.t, os.WriteFile(r.file(), fmt.Appendf(nil, "Listen: 127.0.0.1:0\nAdminListen: ''\nDataDir: %q\nBackends: [%s]\n%s\n",
		filepath.Join(r.dir, "data"), strings.Join(r.backends, ", "), more), 0o600))
}

// reload reloads with more in the file, and checks what is said to be applied.
func (r *reloadRig) reload(more string, applied ...string) Reloaded {
	r.t.Helper()
	r.write(more)
	got := r.Reload("test")
	if !slices.Equal(got.Applied, applied) {
		r.t.Errorf("%q: applied %q, want %q; %q", more, got.Applied, applied, got.Mistakes)
	}
	return got
}

// TestR14ReloadOfMaintenance: MaintainedBackend counts at once where it has changed, and leaves what
// was set at run time where it has not. To leave no backend is a mistake.
func TestR14ReloadOfMaintenance(t *testing.T) {
	t.Parallel()
	r := mustStartReload(t, "")
	maintained := func() (set []bool) {
		for _, s := range r.status() {
			set = append(set, s.Maintained)
		}
		return set
	}
	want := func(first, second bool) {
		t.Helper()
		if got := maintained(); got[0] != first || got[1] != second {
			t.Errorf("maintained: %v, want %v %v", got, first, second)
		}
	}
	r.reload("MaintainedBackend: "+r.backends[0], "MaintainedBackend")
	want(true, false)
	r.setMaintained(0, false)
	r.reload("MaintainedBackend: "+r.backends[0]+"\nConnLimit: 7", "ConnLimit")
	want(false, false)
	r.setMaintained(1, true)
	if got := r.reload("MaintainedBackend: []\nConnLimit: 8", "ConnLimit", "MaintainedBackend"); got.Mistakes != nil {
		t.Errorf("%q", got.Mistakes)
	}
	want(false, true)
	if got := r.reload("MaintainedBackend: " + r.backends[0] + "\nConnLimit: 9"); len(got.Mistakes) != 1 || !strings.HasPrefix(got.Mistakes[0], "MaintainedBackend: ") {
		t.Errorf("%q", got.Mistakes)
	}
	want(false, true)
	if r.current.Load().ConnLimit != 8 {
		t.Error("a part of a configuration with a mistake was applied")
	}
}

// TestR22ReloadOfKeys: repair in the proxy begins, changes its keys and ends with the configuration,
// also where only the file of credentials has changed; what has not changed leaves it alone.
func TestR22ReloadOfKeys(t *testing.T) {
	t.Parallel()
	r := mustStartReload(t, "")
	if r.repairer.Load() != nil {
		t.Skip("there are keys in the environment")
	}
	file := filepath.Join(r.dir, "credentials")
	writeKeys := func(secret string) {
		testkit.MustDo(t, os.WriteFile(file, []byte("[default]\naws_access_key_id = a\naws_secret_access_key = "+secret+"\n"), 0o600))
	}
	writeKeys("one")
	withFile := fmt.Sprintf("Credentials: {File: %q}\nProbeBucket: bucket\n", file)
	r.reload(withFile, "ProbeBucket", "Credentials.File")
	first, probe := r.repairer.Load(), r.probe
	if first == nil || probe == nil || r.journalAdmin.Status().Pending != 0 {
		t.Fatal("repair, or the probe of conditions, has not begun")
	}
	r.reload(withFile+"ConnLimit: 100", "ConnLimit")
	if r.repairer.Load() != first || r.probe != probe {
		t.Error("repair begins anew although nothing of it has changed")
	}
	writeKeys("two")
	r.reload(withFile+"ConnLimit: 100", "Credentials (what they refer to)")
	second := r.repairer.Load()
	if second == first || r.probe == probe {
		t.Error("repair goes on with the old keys")
	}
	r.reload(withFile+"Repair: {MaxTries: 3}", "ConnLimit", "Repair.MaxTries")
	if r.repairer.Load() == second {
		t.Error("repair goes on with the old options")
	}
	weighted := fmt.Sprintf("Repair: {MaxTries: 3}\nReadFrom: {%q: 10}", r.backends[0])
	r.reload(withFile+weighted, "ReadFrom") // which repair heeds, too
	r.reload(withFile+"Repair: {MaxTries: 3}", "ReadFrom")
	r.reload(withFile+"Repair: {MaxTries: 3, Enabled: false}", "Repair.Enabled")
	if r.repairer.Load() != nil {
		t.Error("repair goes on although it is off")
	}
	r.reload("", "ProbeBucket", "Credentials.File", "Repair.Enabled", "Repair.MaxTries")
	if r.probe != nil {
		t.Error("the probe goes on without a bucket")
	}
}

// TestR22ReloadPastRoom: what there is no room for is named.
func TestR22ReloadPastRoom(t *testing.T) {
	t.Parallel()
	r := mustStartReload(t, "")
	got := r.reload("SyncLogMethods: [GET]\nConnLimit: 900000", "ConnLimit", "SyncLogMethods")
	if past := shareFiles(r.current.Load()).backends > 1<<16; slices.Contains(got.NeedRestart, "ConnLimit") != past {
		t.Errorf("needs a restart: %q", got.NeedRestart)
	}
	if !r.synclog.Wants("GET") || r.synclog.Wants("PUT") {
		t.Error("SyncLogMethods was not applied")
	}
}
