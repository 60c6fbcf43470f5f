package service

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/s3mem"
)

// TestR36RepairSaysWhenItIsOver: a backend fails at one client's write, and no client asks again. Repair
// does: while it is refused the failure stays, and once it is not the failure is over.
func TestR36RepairSaysWhenItIsOver(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Listen, c.AdminListen, c.DataDir = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(t.TempDir(), "data")
	c.Credentials.AccessKey, c.Credentials.SecretKey = "key", "secret"
	var store *s3mem.Storage
	for i := range 2 {
		store = s3mem.New(fmt.Sprint(i), s3mem.Manners{})
		store.MakeBucket("b", false, false)
		s := httptest.NewServer(store)
		t.Cleanup(s.Close)
		c.Backends = append(c.Backends, s.URL)
	}
	testkit.MustDo(t, c.Complete())
	log := testkit.NewTranscript()
	p, err := New(c, logs.Plain(log, io.Discard), "test")
	testkit.MustDo(t, err)
	testkit.MustDo(t, p.Start())
	t.Cleanup(p.Stop)
	store.Refuse(http.StatusInsufficientStorage)
	testkit.MustSend(t, "PUT", "http://"+p.Addr()+"/b/k", "content")
	testkit.Eventually(t, "repair is refused, too", func() bool {
		s := p.health.StatusOf(1)
		return s.Is(health.Full) && s.Failing[0].Count >= 3
	})
	store.Refuse(0)
	testkit.Eventually(t, "it is over", func() bool { return len(p.health.StatusOf(1).Failing) == 0 })
	if all := log.String(); !strings.Contains(all, "backend has recovered from: it reports that it has no room left") {
		t.Errorf("the log: %s", all)
	}
}
