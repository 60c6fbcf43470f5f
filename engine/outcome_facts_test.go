package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/akubra/akubra/engine/outcome"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/s3"
)

// The quick way says what the long one would.
func TestWhatGoesWellIsWhatNobodyLacks(t *testing.T) {
	const plain = "/b/k"
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	answers := []string{head + "ETag: \"a\"\r\n\r\n", head + "ETag: \"b\"\r\n\r\n", head + "\r\n"}
	for _, compares := range []bool{true, false} {
		e, err := New(Options{Backends: strangers(3), WriteAck: AckFirst, CompareETags: compares, RingSize: 4096})
		testkit.MustDo(t, err)
		for _, target := range []string{plain, plain + "?versionId=x"} {
			well := 0
			const n = 3 * 4 // states that a leg may have come to
			for i := range n * n * n * 4 {
				r := newRequest(e)
				r.head.method, r.head.write, r.head.target = "PUT", true, s3.ParseTarget([]byte(target), nil, nil)
				if i&1 != 0 {
					r.ledger.unordered = 0b11
				}
				legs := 3
				if i&2 != 0 {
					legs, r.race.skipped, r.race.reasons[2] = 2, 0b100, stateDemoted
				}
				r.legs = r.legs[:legs]
				for j, s := 0, i/4; j < legs; j, s = j+1, s/n {
					l := &r.legs[j]
					l.r, l.backend, l.index, l.state, l.err, l.outcome = r, j, j, voteState(s%4), errPanicked, OutcomeFailed
					r.race.votes = append(r.race.votes, vote{State: l.state, Order: 3 - j})
					testkit.MustDo(t, l.answer.Parse([]byte(answers[s%n/4])))
				}
				got, w := r.outcome(r.race.votes), r.facts(r.race.votes)
				want := outcome.WhoLacks(&w)
				if got.Took != want.Took || got.Out != want.Out || got.Unsure != want.Unsure || got.Owed != want.Owed ||
					got.Why != want.Why || fmt.Sprint(got.Lacks) != fmt.Sprint(want.Lacks) {
					t.Fatalf("%s %+v: %+v, want %+v", target, r.race.votes, got, want)
				}
				_, _, ok := r.goesWell(r.race.votes)
				fails := slices.ContainsFunc(want.Lacks, func(l outcome.Lack) bool { return l.Aspect != outcome.LacksOrder })
				if ok && fails || !ok && !fails && !r.head.target.Version {
					t.Fatalf("%s %+v: goes well %v, but %+v", target, r.race.votes, ok, want.Lacks)
				}
				if ok {
					well++
				}
			}
			if some := target == plain; some != (well > 0) {
				t.Errorf("%s: %d go well", target, well)
			}
		}
	}
}
