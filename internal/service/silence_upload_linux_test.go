package service

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/limiter"
)

// TestR13SilentLinkUnderASlowUpload: a link that is cut under a slow client's upload is noticed, although
// the system takes all that is sent and there is no other request. The client goes on, and is answered.
func TestR13SilentLinkUnderASlowUpload(t *testing.T) {
	t.Parallel()
	p, far := hungProxy(t)
	client, rest := cutUpload(t, p, far, 8<<20)
	testkit.Eventually(t, "it is demoted", func() bool { return p.limiter.State(0) == limiter.StateDemoted })
	client.Send(rest)
	a, err := client.ReadAnswer()
	testkit.MustDo(t, err)
	if a.Status != 200 {
		t.Errorf("answer is %d", a.Status)
	}
	far.Behave(stub.Behaviour{})
	far.RefuseAccept(false)
	testkit.Eventually(t, "it is back", func() bool { return p.limiter.State(0) == limiter.StateActive })
}

// TestR13SilentLinkUnderFastUploads: uploads that are held back and cut hide nothing: the backend takes nothing, a
// probe does not reach it, and it leaves the pool although no leg is under way for as long as that takes.
func TestR13SilentLinkUnderFastUploads(t *testing.T) {
	t.Parallel()
	p, far := hungProxy(t)
	client, rest := cutUpload(t, p, far, 16<<20)
	client.Send(rest)
	a, err := client.ReadAnswer()
	testkit.MustDo(t, err)
	if a.Status != 200 {
		t.Errorf("answer is %d", a.Status)
	}
	testkit.Eventually(t, "it is demoted", func() bool { return p.limiter.State(0) == limiter.StateDemoted })
}

// cutUpload begins an upload to a backend that hangs in its midst, and that no probe reaches from then on. rest is
// what the client has yet to send.
func cutUpload(t *testing.T, p *Proxy, far *stub.Server, size int) (client *stub.Client, rest string) {
	t.Helper()
	far.Behave(stub.Behaviour{During: stub.HangThere})
	client = stub.Dial(t, p.Addr())
	body := strings.Repeat("x", size)
	client.Send(fmt.Sprintf("PUT /b/k HTTP/1.1\r\nHost: s3.test\r\nContent-Length: %d\r\n\r\n", len(body)), body[:60<<10])
	far.Wait(t, func(all stub.Requests) bool { return len(all) > 0 })
	far.RefuseAccept(true)
	return client, body[60<<10:]
}

// hungProxy is a proxy whose first backend has a small receive buffer.
func hungProxy(t *testing.T) (p *Proxy, far *stub.Server) {
	t.Helper()
	far, near := stub.New(t, stub.ReceiveBuffer(16<<10)), stub.New(t)
	c := config.Default()
	c.Listen, c.AdminListen, c.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	c.Backends = []string{far.URL(), near.URL()}
	c.ConnectionDialTimeout = 900 * time.Millisecond
	c.StallTimeout, c.FailureLimit = 100*time.Millisecond, 0
	c.ConnectionTimeout = 10 * time.Minute
	c.ShutdownTimeout = 10 * time.Millisecond
	testkit.MustDo(t, c.Complete())
	p, err := New(c, logs.Plain(testkit.NewTranscript(), io.Discard), "test")
	testkit.MustDo(t, err)
	testkit.MustDo(t, p.Start())
	t.Cleanup(p.Stop)
	return p, far
}
