package service

import (
	"fmt"
	"testing"

	"github.com/akubra/akubra/internal/config"
)

// TestR23SharesFitIntoTheLimit: whatever the limit, all shares together stay within it, and each
// has something.
func TestR23SharesFitIntoTheLimit(t *testing.T) {
	for _, backends := range []int{1, 2, 3, 8, 64} {
		for limit := 256; limit <= 1<<20; limit += limit / 8 {
			for _, repair := range []string{config.RepairOff, config.RepairAuto} {
				c := configOf(backends)
				c.Repair.Enabled = repair
				s := sharesOf(limit, c)
				sum := ownFiles + s.admin + backends + s.pipes + s.backends + s.backends/idleBackendShare + s.clients + min(8+s.clients/8, 128)
				if sum > limit && (limit >= 512 || backends < 64) {
					t.Errorf("%d backends, limit %d: %+v, %d files in all", backends, limit, s, sum)
				}
				if s.clients < 2 || s.backends < backends || s.admin < 8 || s.pipes < 0 {
					t.Errorf("%d backends, limit %d: %+v", backends, limit, s)
				}
				if s.clients > wantedClients(c) || s.backends > c.ConnLimit {
					t.Errorf("%d backends, limit %d: %+v is more than configured", backends, limit, s)
				}
			}
		}
	}
	c := configOf(2)
	if s := sharesOf(256, c); s.clients < 40 || s.backends < 40 || s.pipes < 30 || !s.tight(c) {
		t.Errorf("of 256 files: %+v", s)
	}
	if s := sharesOf(20_000, c); s.clients != 8000 || s.backends != 1000 || s.tight(c) {
		t.Errorf("of 20,000 files: %+v", s)
	}
}

func configOf(backends int) *config.Config {
	c := config.Default()
	for i := range backends {
		c.Backends = append(c.Backends, fmt.Sprintf("http://s%d:9000", i))
	}
	return c
}
