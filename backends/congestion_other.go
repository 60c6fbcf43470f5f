//go:build !linux

package backends

import (
	"fmt"
	"time"
)

func (g *congestion) choose(int) error { return g.check() }

func algorithmOf(int) (name string, ok bool) { return "", false }

func roundTrip(int) (d time.Duration, ok bool) { return 0, false }

// check: only the system's algorithm is to be had here.
func (g *congestion) check() error {
	if g.name == CongestionAuto || g.name == CongestionSystem {
		return nil
	}
	return fmt.Errorf("congestion control %q: only on Linux", g.name)
}
