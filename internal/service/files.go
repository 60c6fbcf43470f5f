package service

import (
	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/config"
)

// fileShares are how the process's files are shared out (R23): each connection is one, and
// so is each end of a pipe. What runs out of its share waits or is refused; what would run
// out of files would fail, be it a write of the journal.
type fileShares struct {
	limit    int // RLIMIT_NOFILE
	clients  int // connections of clients
	requests int // in flight at once
	backends int // busy connections to backends: no more than ConnLimit
	pipes    int // files of pipes
	admin    int // connections of the admin listener
}

// Files that are nobody's share: standard streams, logs, journal and its table, listeners,
// what waits for connections, and what a connection past a bound needs to be refused.
const ownFiles = 40

// Connections to backends that are kept idle while others are busy: one in so many.
const idleBackendShare = 4

// shareFiles works out the shares. Go has raised the soft limit to the hard one.
func shareFiles(c *config.Config) fileShares {
	limit := 1 << 20
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil && r.Cur < 1<<20 {
		limit = int(r.Cur)
	}
	return sharesOf(limit, c)
}

func sharesOf(limit int, c *config.Config) fileShares {
	n := len(c.Backends)
	s := fileShares{limit: limit, admin: min(max(limit/16, 8), admin.MaxConnections)}
	left := limit - ownFiles - s.admin - n    // with a probe of each backend
	if c.Repair.Enabled != config.RepairOff { // it may be on
		left -= min(2*n*c.Repair.Concurrency, limit/8)
	}
	s.pipes = max(0, min(c.MaxConcurrentRequests*2*(n+1), left/4))
	left -= s.pipes
	s.backends = max(min(c.ConnLimit, left/2*idleBackendShare/(idleBackendShare+1)), n) // a request needs one of each
	s.requests = c.MaxConcurrentRequests
	if s.backends < c.ConnLimit {
		// Else bursts alone would reach the limit at which backends are demoted (R13).
		// A third is for legs in the background.
		s.requests = min(s.requests, max(s.backends*2/3/n, 1))
	}
	left -= s.backends + s.backends/idleBackendShare
	// As many again as one in eight, and eight, are about to go or to be refused.
	s.clients = max(min(wantedClients(c), (left-8)*8/9), 2)
	return s
}

// wantedClients is the bound of clients' connections where files are plenty.
func wantedClients(c *config.Config) int { return c.MaxConcurrentRequests * connectionsPerRequest }

// tight reports whether there would be more connections if there were more files.
func (s fileShares) tight(c *config.Config) bool {
	return s.clients < wantedClients(c) || s.backends < c.ConnLimit
}
