package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/limiter"
	"github.com/akubra/akubra/synclog/task"
)

// Owed is what the journal knows of all keys.
type Owed struct {
	Pending, Parked int
	ParkedFor       map[string]int // by reason
	ByBackend       []int          // of Pending, by index
	Bytes           []int64        // likewise, of their objects; nil if that is not known
	Oldest          time.Time      // zero: nothing is pending
	Added, Closed   uint64         // keys that became pending, and that are not any more, since the start
	Failed          bool           // nothing can be written down
	Repairing       bool           // an `akubra repair` is running
	Gone            int            // keys that are owed to backends which are not configured any more
}

// Tones of a sentence.
const (
	toneGood   = "good"
	toneBehind = "behind" // something is owed, and nothing is wrong
	toneBad    = "bad"
)

// sentence says in one sentence how things are, for /status, `akubra status` and the page. eta is
// repair's; 0 is not known.
func sentence(ready bool, all []limiter.Status, how []health.Status, certificates []metrics.Certificate, o *Owed, eta time.Duration, now time.Time) (said, tone string) {
	var problems, parts []string
	for i := range all {
		switch {
		case all[i].State == limiter.StateMaintained:
			problems = append(problems, all[i].Name+" is in maintenance")
		case all[i].State != limiter.StateActive:
			problems = append(problems, all[i].Name+" is "+all[i].State)
		case how[i].Silent:
			problems = append(problems, all[i].Name+" does not answer")
		case len(how[i].Failing) > 0:
			problems = append(problems, all[i].Name+" is failing")
		}
	}
	if problems != nil {
		slices.SortStableFunc(problems, func(a, b string) int { return strings.Compare(lastWord(a), lastWord(b)) })
		parts = append(parts, fmt.Sprintf("of %d backends, %s", len(all), strings.Join(problems, ", ")))
	}
	expired := expiredListener(certificates, now)
	if expired {
		parts = append(parts, "the certificate that clients see has expired")
	}
	tone = toneGood
	switch {
	case o.Failed:
		parts = append(parts, "the journal cannot be written")
	case o.Pending > 0:
		tone = toneBehind
		parts = append(parts, behind(all, o, eta, now))
	case problems == nil:
		parts = append(parts, "all backends are in sync")
	default:
		parts = append(parts, "nothing is pending")
	}
	if o.Gone > 0 {
		parts = append(parts, keysText(o.Gone)+" owed to backends that are not configured any more")
		if tone == toneGood {
			tone = toneBehind
		}
	}
	if problems != nil || o.Failed || expired || !ready {
		tone = toneBad
	}
	said = strings.Join(parts, "; ")
	if !ready {
		said = "not ready: " + said
	}
	return text.Printable(strings.ToUpper(said[:1])+said[1:]) + ".", tone
}

// expiredListener reports whether clients are shown a certificate that has expired. An expired one of a
// backend shows as that backend's failure.
func expiredListener(certificates []metrics.Certificate, now time.Time) bool {
	return slices.ContainsFunc(certificates, func(c metrics.Certificate) bool { return c.Use == "listener" && now.After(c.Until) })
}

// lastWord is what problems are sorted by, so that backends that fail alike stand together.
func lastWord(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }

// behind says which backends lack how many keys, since when, and how long repair will take.
func behind(all []limiter.Status, o *Owed, eta time.Duration, now time.Time) string {
	var who []string
	for i, n := range o.ByBackend {
		switch {
		case n == 0 || i >= len(all):
		case who == nil:
			who = append(who, keysText(n)+" behind at "+all[i].Name)
		default:
			who = append(who, thousands(n)+" at "+all[i].Name)
		}
	}
	said := strings.Join(who, ", ")
	if who == nil {
		said = keysText(o.Pending) + " behind"
	}
	if !o.Oldest.IsZero() {
		said += ", oldest " + roughly(now.Sub(o.Oldest))
	}
	if o.Parked > 0 {
		said += ", " + thousands(o.Parked) + " parked" + task.ReasonsText(o.ParkedFor)
	}
	if eta > 0 && o.Pending > o.Parked && !owedToOut(all, o) {
		said += ", about " + roughly(eta) + " to go"
	}
	return said
}

// owedToOut reports whether something waits for a backend that is out of the pool: nobody knows how long.
func owedToOut(all []limiter.Status, o *Owed) bool {
	for i, n := range o.ByBackend {
		if n > 0 && i < len(all) && all[i].State != limiter.StateActive {
			return true
		}
	}
	return false
}

func keysText(n int) string {
	if n == 1 {
		return "1 key"
	}
	return thousands(n) + " keys"
}

// thousands is n with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// roughly is a time in one unit.
func roughly(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", (d+30*time.Second)/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", (d+30*time.Minute)/time.Hour)
	}
	return fmt.Sprintf("%d days", (d+12*time.Hour)/(24*time.Hour))
}
