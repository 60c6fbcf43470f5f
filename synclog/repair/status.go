package repair

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// Status is a snapshot for /status and metrics; counts are since New.
type Status struct {
	Running  bool   `json:"running"`
	InFlight int    `json:"inflight"`
	Resolved uint64 `json:"resolved"`
	Equal    uint64 `json:"equal"` // of Resolved: there was nothing to do
	Copied   uint64 `json:"copied"`
	Deleted  uint64 `json:"deleted"`
	Failed   uint64 `json:"failed"` // attempts
	Parked   uint64 `json:"parked"` // since New; how many are parked now is the journal's
	// Reasons count Parked by why (task.ParkReason).
	Reasons   map[task.ParkReason]uint64 `json:"reasons,omitempty"`
	Left      uint64                     `json:"left"`
	Bytes     uint64                     `json:"bytes"` // of content sent
	Rate      float64                    `json:"rate"`  // tasks closed a second, of late
	ByteRate  float64                    `json:"byte_rate"`
	ETA       time.Duration              `json:"-"` // 0: not known
	ETAText   string                     `json:"eta,omitempty"`
	LastError string                     `json:"last_error,omitempty"`
	Backends  []BackendStatus            `json:"backends"`
}

// BackendStatus is one backend's part in the repair.
type BackendStatus struct {
	Name     string    `json:"name"`
	Out      bool      `json:"out"`     // the breaker is open
	Refuses  bool      `json:"refuses"` // it takes no writes, for reasons of its own
	Until    time.Time `json:"until,omitzero"`
	Failures uint64    `json:"failures"` // that were the backend's own
	// Busy is how many keys that it lacks are being worked on, Limit how many may be.
	Busy      int    `json:"busy"`
	Limit     int    `json:"limit"`
	LastError string `json:"last_error,omitempty"`
}

// counts are what Status reports.
type counts struct {
	resolved, equal, copied, deleted, failed, parked, left, bytes, compared atomic.Uint64
	inFlight                                                                atomic.Int64
	running                                                                 atomic.Bool
	recent                                                                  recent

	mu   sync.Mutex
	last string
	why  map[task.ParkReason]uint64
}

func (c *counts) moved(n int) {
	c.bytes.Add(uint64(n)) //nolint:gosec // never negative
	c.recent.add(0, int64(n))
}

func (c *counts) park(reason task.ParkReason) {
	c.parked.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why == nil {
		c.why = map[task.ParkReason]uint64{}
	}
	c.why[reason]++
}

func (c *counts) failure(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = err.Error()
}

// Status returns how far repair has come.
func (r *Repairer) Status() Status {
	c := &r.counts
	s := Status{
		Running: c.running.Load(), InFlight: int(c.inFlight.Load()), Resolved: c.resolved.Load(), Equal: c.equal.Load(),
		Copied: c.copied.Load(), Deleted: c.deleted.Load(), Failed: c.failed.Load(), Parked: c.parked.Load(),
		Left: c.left.Load(), Bytes: c.bytes.Load(),
	}
	var measured int64
	s.Rate, s.ByteRate, measured = c.recent.rates()
	c.mu.Lock()
	s.LastError, s.Reasons = c.last, maps.Clone(c.why)
	c.mu.Unlock()
	waits := false
	for _, b := range r.backends {
		s.Backends = append(s.Backends, b.status())
		waits = waits || s.Backends[len(s.Backends)-1].waits()
	}
	// Without a rate that says something about the keys that are left, no estimate is better than one.
	if r.o.Pending != nil && s.Rate > 0 && measured >= etaSeconds && !waits {
		s.ETA = time.Duration(float64(r.o.Pending()) / s.Rate * float64(time.Second)).Round(time.Second)
		s.ETAText = s.ETA.String()
	}
	return s
}

// waits reports whether the backend gets nothing of what it lacks for now.
func (b *BackendStatus) waits() bool { return b.Out || b.Refuses }

const (
	// recentSeconds is the time over which rates are measured.
	recentSeconds = 30
	// idleSeconds is how long nothing has happened when a new measurement begins: how fast repair works
	// says nothing of the time when there was nothing to do.
	idleSeconds = 5
	// etaSeconds is how long a rate must have been measured for an estimate.
	etaSeconds = 3
)

// recent counts per second. The zero value is ready to use.
type recent struct {
	mu    sync.Mutex
	first int64 // the second in which the measurement began
	last  int64 // the second of the last count
	slots [recentSeconds]struct{ second, tasks, bytes int64 }
}

func (c *recent) add(tasks, bytes int64) {
	now := time.Now().Unix()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now-c.last > idleSeconds {
		c.first = now
	}
	c.last = now
	s := &c.slots[now%recentSeconds]
	if s.second != now {
		s.second, s.tasks, s.bytes = now, 0, 0
	}
	s.tasks += tasks
	s.bytes += bytes
}

// restart begins a new measurement, since what was is no measure of what comes.
func (c *recent) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first = time.Now().Unix()
	c.last = c.first
}

// rates are per second, over the last complete ones; measured is how many those are.
func (c *recent) rates() (tasks, bytes float64, measured int64) {
	now := time.Now().Unix()
	c.mu.Lock()
	defer c.mu.Unlock()
	span := min(now-c.first, recentSeconds-1)
	if c.first == 0 || span <= 0 {
		return 0, 0, 0
	}
	for i := range c.slots {
		if s := &c.slots[i]; s.second < now && s.second >= now-span {
			tasks += float64(s.tasks)
			bytes += float64(s.bytes)
		}
	}
	return tasks / float64(span), bytes / float64(span), span
}
