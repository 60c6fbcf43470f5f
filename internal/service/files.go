package service

import (
	"golang.org/x/sys/unix"

	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/synclog/repair"
)

// fileShares is how the process's file descriptors are divided (R23): each connection takes one,
// and so does each end of a pipe. Whatever exhausts its share waits or is refused. Exhausting all
// descriptors instead would make calls fail, even writes of the journal.
type fileShares struct {
	limit    int // RLIMIT_NOFILE
	clients  int // connections of clients
	requests int // in flight at once
	backends int // busy connections to backends: no more than ConnLimit
	pipes    int // descriptors of pipes
	admin    int // connections of the admin listener
}

// ownFiles are the descriptors outside all shares: standard streams, logs, the journal and its
// table, listeners, connections waiting to be accepted, and the one needed to refuse a connection
// beyond a limit.
const ownFiles = 40

// idleBackendShare: one backend connection is kept idle for so many busy ones.
const idleBackendShare = 4

func fileLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil && r.Cur < 1<<20 {
		return int(r.Cur)
	}
	return 1 << 20
}

// shareFiles computes the shares. Go has raised the soft limit to the hard one.
func shareFiles(c *config.Config) fileShares {
	return sharesOf(fileLimit(), c)
}

func sharesOf(limit int, c *config.Config) fileShares {
	n := len(c.Backends)
	s := fileShares{limit: limit, admin: min(max(limit/16, 8), admin.MaxConnections)}
	left := limit - ownFiles - s.admin - n // with a probe of each backend
	if c.MetricsListen != "" {
		left -= min(s.admin, metricsConnections)
	}
	if c.Repair.Enabled != config.RepairOff { // it may be on
		left -= repairFiles(limit, c)
	}
	s.pipes = max(0, min(c.MaxConcurrentRequests*2*(n+1), left/4))
	left -= s.pipes
	s.backends = max(min(c.ConnLimit, left/2*idleBackendShare/(idleBackendShare+1)), n) // a request needs one at each backend
	s.requests = c.MaxConcurrentRequests
	if s.backends < c.ConnLimit {
		// Otherwise bursts alone would reach the limit at which backends are demoted (R13). A third
		// is for legs in the background.
		s.requests = min(s.requests, max(s.backends*2/3/n, 1))
	}
	left -= s.backends + s.backends/idleBackendShare
	// One in eight, plus eight, is for connections that are closing or being refused.
	s.clients = max(min(wantedClients(c), (left-8)*8/9), 2)
	return s
}

// repairFiles are the descriptors that repair may take: for each object up to two connections to each backend.
func repairFiles(limit int, c *config.Config) int {
	n := 2 * len(c.Backends)
	if objects := c.Repair.Objects(); objects > 0 {
		return min(n*objects, limit/8)
	}
	return min(n*repair.MostConcurrency, limit/16)
}

// leastRepairs is how many repairs are worth their descriptors, however few there are.
const leastRepairs = 4

// mostRepairs is how many objects may be repaired at a time if the configuration does not say.
func mostRepairs(c *config.Config) int {
	files := repairFiles(fileLimit(), c)
	return min(max(files/(2*len(c.Backends)), leastRepairs), repair.MostConcurrency)
}

// wantedClients is the limit for clients' connections if there are enough descriptors.
func wantedClients(c *config.Config) int { return c.MaxConcurrentRequests * connectionsPerRequest }

// tight reports whether more descriptors would allow more connections.
func (s fileShares) tight(c *config.Config) bool {
	return s.clients < wantedClients(c) || s.backends < c.ConnLimit
}
