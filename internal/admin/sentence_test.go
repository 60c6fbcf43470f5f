package admin

import (
	"testing"
	"time"

	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/limiter"
)

// R36: one sentence says how things are.
func TestR36Sentence(t *testing.T) {
	now := time.Unix(1e9, 0)
	active, failing := limiter.StateActive, health.Status{Failing: []health.Failure{{}}}
	for _, c := range []struct {
		want, tone string
		unready    bool
		states     [2]string
		how        health.Status // of the second
		owed       Owed
		eta        time.Duration

		certificates []metrics.Certificate
	}{
		{want: "All backends are in sync.", tone: toneGood},
		{want: "1 key behind at dc2, oldest 5 s.", tone: toneBehind, owed: Owed{Pending: 1, ByBackend: []int{0, 1}, Oldest: now.Add(-5 * time.Second)}},
		{
			want: "12,340 keys behind at dc2, oldest 14 min, about 6 min to go.", tone: toneBehind, eta: 6 * time.Minute,
			owed: Owed{Pending: 12340, ByBackend: []int{0, 12340}, Oldest: now.Add(-14 * time.Minute)},
		},
		{
			want: "2 keys behind at dc1, 1,000,000 at dc2, oldest 3 days, 2 parked (2 conflict).", tone: toneBehind,
			owed: Owed{Pending: 1000001, Parked: 2, ParkedFor: map[string]int{"conflict": 2}, ByBackend: []int{2, 1e6}, Oldest: now.Add(-72 * time.Hour)},
		},
		{
			want: "Of 2 backends, dc2 is demoted; 9 keys behind at dc2.", tone: toneBad, eta: time.Minute,
			states: [2]string{active, limiter.StateDemoted}, owed: Owed{Pending: 9, ByBackend: []int{0, 9}},
		},
		{
			want: "Of 2 backends, dc2 is demoted; 9 keys behind at dc1, about 1 min to go.", tone: toneBad, eta: time.Minute,
			states: [2]string{active, limiter.StateDemoted}, owed: Owed{Pending: 9, ByBackend: []int{9, 0}},
		},
		{want: "Of 2 backends, dc2 is demoted; nothing is pending.", tone: toneBad, states: [2]string{active, limiter.StateDemoted}},
		{want: "Of 2 backends, dc2 is failing; 3 keys behind.", tone: toneBad, how: failing, owed: Owed{Pending: 3}},
		{want: "Of 2 backends, dc2 does not answer; nothing is pending.", tone: toneBad, how: health.Status{Silent: true}},
		{
			want: "The certificate that clients see has expired; 3 keys behind.", tone: toneBad, owed: Owed{Pending: 3},
			certificates: []metrics.Certificate{{Use: "backend"}, {Use: "listener", Until: now.Add(-time.Second)}},
		},
		{want: "All backends are in sync.", tone: toneGood, certificates: []metrics.Certificate{{Use: "listener", Until: now}, {Use: "ca"}}},
		{want: "All backends are in sync; 1 key owed to backends that are not configured any more.", tone: toneBehind, owed: Owed{Gone: 1}},
		{want: "The journal cannot be written.", tone: toneBad, owed: Owed{Failed: true, Pending: 1}},
		{want: "Not ready: all backends are in sync.", tone: toneBad, unready: true},
		{want: "2 keys behind at dc2, 2 parked.", tone: toneBehind, eta: time.Minute, owed: Owed{Pending: 2, Parked: 2, ByBackend: []int{0, 2}}},
	} {
		all := []limiter.Status{{Name: "dc1", State: active}, {Name: "dc2", State: active}}
		for i, state := range c.states {
			if state != "" {
				all[i].State = state
			}
		}
		said, tone := sentence(!c.unready, all, []health.Status{{}, c.how}, c.certificates, &c.owed, c.eta, now)
		if said != c.want || tone != c.tone {
			t.Errorf("got %q, %s; want %q, %s", said, tone, c.want, c.tone)
		}
	}
}
