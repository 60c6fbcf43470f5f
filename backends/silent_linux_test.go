package backends

import (
	"net/url"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/nonblock"
	"github.com/akubra/akubra/internal/testkit"
)

// TestR13ConnectionsNoticeASilentLink: what was sent in vain ends a connection, and so does an idle one's link.
func TestR13ConnectionsNoticeASilentLink(t *testing.T) {
	s := stub.New(t)
	u, err := url.Parse(s.URL())
	testkit.MustDo(t, err)
	b, err := New(Options{URL: u, DialTimeout: 5 * time.Second, UserTimeout: 7 * time.Second, ReadBuffer: 4 << 10})
	testkit.MustDo(t, err)
	t.Cleanup(b.Close)
	c := acquire(t, b, true)
	testkit.MustDo(t, c.Connect())
	defer c.Discard()
	for _, tt := range []struct {
		name         string
		level, what  int
		want, orLess int
	}{
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 7000, 7000},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1, 5},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1, 2},
	} {
		var got int
		err := nonblock.Control(nonblock.Socket(c.sock.NetConn()), func(fd int) (err error) {
			got, err = unix.GetsockoptInt(fd, tt.level, tt.what)
			return err
		})
		if err != nil || got < tt.want || got > tt.orLess {
			t.Errorf("%s is %d, %v", tt.name, got, err)
		}
	}
}
