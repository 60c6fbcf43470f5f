//go:build !linux

package congestion

import (
	"fmt"
	"net"
	"time"
)

func (g *Control) choose(int, bool) error { return g.Check() }

func algorithmOf(int) (name string, ok bool) { return "", false }

func roundTrip(int) (d time.Duration, ok bool) { return 0, false }

func (g *Control) accepted(net.Conn) {}

// Check returns why an algorithm cannot be used: only the system's is available here.
func (g *Control) Check() error {
	if g.name == Auto || g.name == System {
		return nil
	}
	return fmt.Errorf("congestion control %q: only on Linux", g.name)
}
