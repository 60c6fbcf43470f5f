package engine

import (
	"fmt"
	"slices"
	"testing"
)

// Short names for the tables: what each leg has come to.
const (
	pend = votePending
	yes  = votePositive
	no   = voteNegative
	fail = voteFailed
)

// TestR3R4R9Pick names the cases that the rules speak of.
func TestR3R4R9Pick(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		votes []vote
		need  int
		body  bool
		leg   int
		want  verdict
	}{
		{"R3 nobody has answered", []vote{{pend, 0}, {pend, 0}}, 1, true, 0, verdictWait},
		{"R3 the first positive one wins", []vote{{pend, 0}, {yes, 1}, {pend, 0}}, 1, true, 1, verdictAnswer},
		{"R3 first by time, not by place", []vote{{yes, 3}, {yes, 2}, {no, 1}}, 1, true, 1, verdictAnswer},
		{"R3 a negative one does not win while others are out", []vote{{no, 1}, {pend, 0}}, 1, true, 0, verdictWait},
		{"R3 a positive one beats an earlier negative one", []vote{{no, 1}, {yes, 2}}, 1, true, 1, verdictAnswer},
		{"R3 nothing is positive before the body was read", []vote{{yes, 1}, {pend, 0}}, 1, false, 0, verdictWait},
		{"R3 quorum is not there yet", []vote{{yes, 1}, {pend, 0}, {pend, 0}}, 2, true, 0, verdictWait},
		{"R3 quorum: the first of them answers", []vote{{pend, 0}, {yes, 2}, {yes, 1}}, 2, true, 2, verdictAnswer},
		{"R3 quorum in spite of a failure", []vote{{yes, 3}, {fail, 1}, {yes, 2}}, 2, true, 2, verdictAnswer},
		{"R3 all: one is missing", []vote{{yes, 1}, {yes, 2}, {pend, 0}}, 3, true, 0, verdictWait},
		{"R3 all cannot be reached: the refusal", []vote{{yes, 1}, {no, 2}, {pend, 0}}, 3, true, 1, verdictAnswer},
		{"R3 all cannot be reached: no answer says so", []vote{{yes, 1}, {yes, 2}, {fail, 3}}, 3, true, 0, verdictNone},
		{"R3 fewer legs than it takes", []vote{{yes, 1}}, 2, true, 0, verdictNone},
		{"R4 an answer beats a transport error before it", []vote{{fail, 1}, {no, 2}}, 1, true, 1, verdictAnswer},
		{"R4 an answer beats a transport error after it", []vote{{no, 1}, {fail, 2}}, 1, true, 0, verdictAnswer},
		{"R4 the first of the answers", []vote{{no, 3}, {fail, 1}, {no, 2}}, 1, true, 2, verdictAnswer},
		{"R4 a transport error waits for an answer", []vote{{fail, 1}, {pend, 0}}, 2, true, 0, verdictWait},
		{"R4 no answer at all", []vote{{fail, 1}, {fail, 2}}, 1, true, 0, verdictNone},
		{"R9 one has rejected early", []vote{{no, 1}, {pend, 0}}, 1, false, 0, verdictWait},
		{"R9 all have rejected early", []vote{{no, 2}, {no, 1}}, 1, false, 1, verdictAnswer},
		{"R9 all have ended early", []vote{{fail, 1}, {no, 2}}, 1, false, 1, verdictAnswer},
		{"R9 all have failed early", []vote{{fail, 1}, {fail, 2}}, 1, false, 0, verdictNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leg, v := pick(tt.votes, tt.need, tt.body)
			if v != tt.want || v == verdictAnswer && leg != tt.leg {
				t.Errorf("leg %d, verdict %d; want leg %d, verdict %d", leg, v, tt.leg, tt.want)
			}
		})
	}
}

// TestR3R4R9PickAgreesWithEveryFuture compares the picker with the rules, read
// as follows: it may decide as soon as it makes no difference any more what the
// legs that are still out come to, and not before.
func TestR3R4R9PickAgreesWithEveryFuture(t *testing.T) {
	t.Parallel()
	cases := 0
	for _, votes := range everyPast(3) {
		for need := 1; need <= 4; need++ {
			for _, body := range []bool{false, true} {
				cases++
				before := slices.Clone(votes)
				leg, v := pick(votes, need, body)
				got := fmt.Sprint(v, " ", leg)
				if v != verdictAnswer {
					got = fmt.Sprint(v)
				}
				if want := expected(votes, need, body); got != want {
					t.Errorf("%v need %d body %v: %s, want %s", votes, need, body, got, want)
				}
				if !slices.Equal(before, votes) {
					t.Fatalf("the picker changed its arguments")
				}
			}
		}
	}
	if cases != 8*(1+3*3+6*9+6*27) {
		t.Errorf("%d cases", cases)
	}
}

// everyPast gives every way in which n legs can have ended or not, in every order.
func everyPast(n int) [][]vote {
	all := [][]vote{make([]vote, n)}
	for i := 0; i < len(all); i++ {
		ended := 0
		for _, v := range all[i] {
			ended = max(ended, v.order)
		}
		for leg, v := range all[i] {
			if v.state == pend {
				for _, s := range []voteState{yes, no, fail} {
					next := slices.Clone(all[i])
					next[leg] = vote{s, ended + 1}
					all = append(all, next)
				}
			}
		}
	}
	return all
}

// expected is the rules' word on votes.
func expected(votes []vote, need int, bodyRead bool) string {
	if !bodyRead {
		if slices.ContainsFunc(votes, func(v vote) bool { return v.state == pend }) {
			return fmt.Sprint(verdictWait)
		}
		return final(votes, len(votes)+1) // R3: none of them is positive
	}
	futures := map[string]bool{}
	var explore func(votes []vote, order int)
	explore = func(votes []vote, order int) {
		over := true
		for i, v := range votes {
			if v.state != pend {
				continue
			}
			over = false
			for _, s := range []voteState{yes, no, fail} {
				next := slices.Clone(votes)
				next[i] = vote{s, order}
				explore(next, order+1)
			}
		}
		if over {
			futures[final(votes, need)] = true
		}
	}
	explore(votes, 100)
	if len(futures) > 1 {
		return fmt.Sprint(verdictWait)
	}
	for only := range futures {
		return only
	}
	return ""
}

// final is the answer once all have ended: R3, then R4.
func final(votes []vote, need int) string {
	byTime := make([]int, len(votes))
	for i := range byTime {
		byTime[i] = i
	}
	slices.SortFunc(byTime, func(a, b int) int { return votes[a].order - votes[b].order })
	var positive, negative []int
	for _, i := range byTime {
		switch votes[i].state {
		case yes:
			positive = append(positive, i)
		case no:
			negative = append(negative, i)
		}
	}
	if len(positive) >= need {
		return fmt.Sprint(verdictAnswer, " ", positive[0])
	}
	if len(negative) > 0 {
		return fmt.Sprint(verdictAnswer, " ", negative[0])
	}
	return fmt.Sprint(verdictNone)
}
