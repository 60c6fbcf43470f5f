package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/task"
)

// pendingStats counts what is pending.
type pendingStats struct {
	Keys      int            `json:"keys"`
	Open      int            `json:"open"`
	Parked    int            `json:"parked"`
	ParkedFor map[string]int `json:"parked_for"` // by reason
	Oldest    *time.Time     `json:"oldest,omitempty"`
	ByBackend map[string]int `json:"backends"`
	ByReason  map[string]int `json:"reasons"`
	ByAge     map[string]int `json:"ages"`
}

func newPendingStats() *pendingStats {
	return &pendingStats{ByBackend: map[string]int{}, ByReason: map[string]int{}, ByAge: map[string]int{}, ParkedFor: map[string]int{}}
}

// maxReasons bounds the table of reasons, which contain what backends say.
const maxReasons = 100

const otherReasons = "other reasons"

var ages = []struct {
	name string
	less time.Duration // 0 for the rest
}{
	{"less than a minute", time.Minute}, {"less than an hour", time.Hour}, {"less than a day", 24 * time.Hour},
	{"less than a week", 7 * 24 * time.Hour}, {"a week or more", 0},
}

func (s *pendingStats) add(t *task.Task, now time.Time) {
	s.Keys++
	if t.Open {
		s.Open++
	}
	if t.Parked != "" {
		s.Parked++
		s.ParkedFor[string(t.Parked)]++
	}
	first := time.Unix(0, int64(t.First)).UTC()
	if s.Oldest == nil || first.Before(*s.Oldest) {
		s.Oldest = &first
	}
	for _, name := range t.Owed() {
		s.ByBackend[name]++
	}
	reason := ledger.ReasonOf(t)
	if s.ByReason[reason] == 0 && len(s.ByReason) >= maxReasons {
		reason = otherReasons
	}
	s.ByReason[reason]++
	for _, a := range ages {
		if a.less == 0 || now.Sub(first) < a.less {
			s.ByAge[a.name]++
			break
		}
	}
}

type statsWriter struct {
	out   io.Writer
	json  bool
	now   time.Time
	stats *pendingStats
}

func (s *statsWriter) entry(t *task.Task, _ []string) error {
	s.stats.add(t, s.now)
	return nil
}

func (s *statsWriter) end() error {
	if s.json {
		return writeJSONLine(s.out, s.stats)
	}
	// Numbers first, because what backends say has any length.
	fmt.Fprintf(s.out, "%8d pending\n", s.stats.Keys)
	if s.stats.Keys == 0 {
		return nil
	}
	fmt.Fprintf(s.out, "%8d of them open, %d parked%s; by the proxy's clock the oldest is of %s (%s ago)\n",
		s.stats.Open, s.stats.Parked, task.ReasonsText(s.stats.ParkedFor), s.stats.Oldest.Format(time.RFC3339), age(s.now, uint64(s.stats.Oldest.UnixNano())))
	counts(s.out, "owed by", s.stats.ByBackend)
	counts(s.out, "reason", s.stats.ByReason)
	fmt.Fprint(s.out, "age by the proxy's clock\n")
	for _, a := range ages {
		if n := s.stats.ByAge[a.name]; n > 0 {
			fmt.Fprintf(s.out, "%8d %s\n", n, a.name)
		}
	}
	return nil // the writer keeps its error
}

// counts prints the most frequent ones first.
func counts(w io.Writer, title string, all map[string]int) {
	fmt.Fprintln(w, title)
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(all[b]-all[a], cmp.Compare(a, b))
	})
	for _, name := range names {
		fmt.Fprintf(w, "%8d %s\n", all[name], cmp.Or(text.Printable(name), "-"))
	}
}
