package pick

import (
	"fmt"
	"slices"
	"testing"
)

// Short names for the tables: what each leg has come to.
const (
	pend = Pending
	yes  = Positive
	no   = Negative
	fail = Failed
)

// TestR3R4R9Leg names the cases that the rules speak of.
func TestR3R4R9Leg(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		votes []Vote
		need  int
		body  bool
		leg   int
		want  Verdict
	}{
		{"R3 nobody has answered", []Vote{{pend, 0}, {pend, 0}}, 1, true, 0, Wait},
		{"R3 the first positive one wins", []Vote{{pend, 0}, {yes, 1}, {pend, 0}}, 1, true, 1, Answer},
		{"R3 first by time, not by place", []Vote{{yes, 3}, {yes, 2}, {no, 1}}, 1, true, 1, Answer},
		{"R3 a negative one does not win while others are out", []Vote{{no, 1}, {pend, 0}}, 1, true, 0, Wait},
		{"R3 a positive one beats an earlier negative one", []Vote{{no, 1}, {yes, 2}}, 1, true, 1, Answer},
		{"R3 nothing is positive before the body was read", []Vote{{yes, 1}, {pend, 0}}, 1, false, 0, Wait},
		{"R3 quorum is not there yet", []Vote{{yes, 1}, {pend, 0}, {pend, 0}}, 2, true, 0, Wait},
		{"R3 quorum: the first of them answers", []Vote{{pend, 0}, {yes, 2}, {yes, 1}}, 2, true, 2, Answer},
		{"R3 quorum in spite of a failure", []Vote{{yes, 3}, {fail, 1}, {yes, 2}}, 2, true, 2, Answer},
		{"R3 all: one is missing", []Vote{{yes, 1}, {yes, 2}, {pend, 0}}, 3, true, 0, Wait},
		{"R3 all cannot be reached: the refusal", []Vote{{yes, 1}, {no, 2}, {pend, 0}}, 3, true, 1, Answer},
		{"R3 all cannot be reached: no answer says so", []Vote{{yes, 1}, {yes, 2}, {fail, 3}}, 3, true, 0, None},
		{"R3 fewer legs than it takes", []Vote{{yes, 1}}, 2, true, 0, None},
		{"R4 an answer beats a transport error before it", []Vote{{fail, 1}, {no, 2}}, 1, true, 1, Answer},
		{"R4 an answer beats a transport error after it", []Vote{{no, 1}, {fail, 2}}, 1, true, 0, Answer},
		{"R4 the first of the answers", []Vote{{no, 3}, {fail, 1}, {no, 2}}, 1, true, 2, Answer},
		{"R4 a transport error waits for an answer", []Vote{{fail, 1}, {pend, 0}}, 2, true, 0, Wait},
		{"R4 no answer at all", []Vote{{fail, 1}, {fail, 2}}, 1, true, 0, None},
		{"R9 one has rejected early", []Vote{{no, 1}, {pend, 0}}, 1, false, 0, Wait},
		{"R9 all have rejected early", []Vote{{no, 2}, {no, 1}}, 1, false, 1, Answer},
		{"R9 all have ended early", []Vote{{fail, 1}, {no, 2}}, 1, false, 1, Answer},
		{"R9 all have failed early", []Vote{{fail, 1}, {fail, 2}}, 1, false, 0, None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leg, v := Leg(tt.votes, tt.need, tt.body)
			if v != tt.want || v == Answer && leg != tt.leg {
				t.Errorf("leg %d, Verdict %d; want leg %d, Verdict %d", leg, v, tt.leg, tt.want)
			}
		})
	}
}

// TestR3R4R9LegAgreesWithEveryFuture compares the picker with the rules, read
// as follows: it may decide as soon as it makes no difference any more what the
// legs that are still out come to, and not before.
func TestR3R4R9LegAgreesWithEveryFuture(t *testing.T) {
	t.Parallel()
	cases := 0
	for _, votes := range everyPast(3) {
		for need := 1; need <= 4; need++ {
			for _, body := range []bool{false, true} {
				cases++
				before := slices.Clone(votes)
				leg, v := Leg(votes, need, body)
				got := fmt.Sprint(v, " ", leg)
				if v != Answer {
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
func everyPast(n int) [][]Vote {
	all := [][]Vote{make([]Vote, n)}
	for i := 0; i < len(all); i++ {
		ended := 0
		for _, v := range all[i] {
			ended = max(ended, v.Order)
		}
		for leg, v := range all[i] {
			if v.State == pend {
				for _, s := range []State{yes, no, fail} {
					next := slices.Clone(all[i])
					next[leg] = Vote{s, ended + 1}
					all = append(all, next)
				}
			}
		}
	}
	return all
}

// expected is the rules' word on votes.
func expected(votes []Vote, need int, bodyRead bool) string {
	if !bodyRead {
		if slices.ContainsFunc(votes, func(v Vote) bool { return v.State == pend }) {
			return fmt.Sprint(Wait)
		}
		return final(votes, len(votes)+1) // R3: none of them is positive
	}
	futures := map[string]bool{}
	var explore func(votes []Vote, order int)
	explore = func(votes []Vote, order int) {
		over := true
		for i, v := range votes {
			if v.State != pend {
				continue
			}
			over = false
			for _, s := range []State{yes, no, fail} {
				next := slices.Clone(votes)
				next[i] = Vote{s, order}
				explore(next, order+1)
			}
		}
		if over {
			futures[final(votes, need)] = true
		}
	}
	explore(votes, 100)
	if len(futures) > 1 {
		return fmt.Sprint(Wait)
	}
	for only := range futures {
		return only
	}
	return ""
}

// final is the answer once all have ended: R3, then R4.
func final(votes []Vote, need int) string {
	byTime := make([]int, len(votes))
	for i := range byTime {
		byTime[i] = i
	}
	slices.SortFunc(byTime, func(a, b int) int { return votes[a].Order - votes[b].Order })
	var positive, negative []int
	for _, i := range byTime {
		switch votes[i].State {
		case yes:
			positive = append(positive, i)
		case no:
			negative = append(negative, i)
		}
	}
	if len(positive) >= need {
		return fmt.Sprint(Answer, " ", positive[0])
	}
	if len(negative) > 0 {
		return fmt.Sprint(Answer, " ", negative[0])
	}
	return fmt.Sprint(None)
}

// TestR29Decided names the cases.
func TestR29Decided(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		votes    []Vote
		refusing uint64
		need     int
		body     bool
		leg      int
		want     Verdict
	}{
		{"nobody has answered", []Vote{{pend, 0}, {pend, 0}}, 0, 1, true, 0, Wait},
		{"a follower cannot say yes", []Vote{{pend, 0}, {yes, 1}}, 0, 1, true, 0, Wait},
		{"a follower cannot say no", []Vote{{pend, 0}, {no, 1}}, 2, 1, true, 0, Wait},
		{"no follower is left", []Vote{{pend, 0}, {fail, 1}, {no, 2}}, 4, 1, true, 0, Wait},
		{"yes", []Vote{{yes, 1}, {pend, 0}}, 0, 1, true, 0, Answer},
		{"yes before the body's end", []Vote{{yes, 1}, {pend, 0}}, 0, 1, false, 0, Wait},
		{"no", []Vote{{no, 1}, {pend, 0}}, 1, 1, true, 0, Answer},
		{"no before the body's end", []Vote{{no, 1}, {pend, 0}}, 1, 1, false, 0, Answer},
		{"no after a follower's yes", []Vote{{no, 2}, {yes, 1}}, 1, 1, true, 0, Answer},
		{"no answer", []Vote{{fail, 1}, {pend, 0}}, 0, 1, true, 0, None},
		{"no answer, but a follower's", []Vote{{fail, 2}, {no, 1}}, 2, 1, true, 0, None},
		{"yes after a follower's refusal", []Vote{{yes, 2}, {no, 1}}, 2, 1, true, 0, Answer},
		{"quorum waits", []Vote{{yes, 1}, {pend, 0}, {pend, 0}}, 0, 2, true, 0, Wait},
		{"quorum: the decider's answer", []Vote{{yes, 2}, {yes, 1}, {pend, 0}}, 0, 2, true, 0, Answer},
		{"quorum in spite of a refusal", []Vote{{yes, 1}, {no, 2}, {yes, 3}}, 2, 2, true, 0, Answer},
		{"all: the client never hears 412 after a yes", []Vote{{yes, 1}, {no, 2}}, 2, 2, true, 0, None},
		{"all: 412 before the yes", []Vote{{yes, 2}, {no, 1}}, 2, 2, true, 0, None},
		{"all: another refusal is told", []Vote{{yes, 1}, {no, 2}}, 0, 2, true, 1, Answer},
		{"all: 412, then another refusal", []Vote{{yes, 1}, {no, 2}, {no, 3}}, 2, 3, true, 2, Answer},
		{"all cannot be reached: who is out may say why", []Vote{{yes, 1}, {no, 2}, {pend, 0}}, 2, 3, true, 0, Wait},
		{"all: a follower has failed", []Vote{{yes, 1}, {fail, 2}}, 0, 2, true, 0, None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leg, v := Decided(tt.votes, tt.refusing, tt.need, 0, tt.body)
			if v != tt.want || v == Answer && leg != tt.leg {
				t.Errorf("leg %d, Verdict %d; want leg %d, Verdict %d", leg, v, tt.leg, tt.want)
			}
		})
	}
}

// Whatever the legs come to, and in whatever order: before the decider has answered nothing
// is, its no is the answer at once, and no answer that refuses a condition follows its yes.
func TestR29DecidedInEveryPast(t *testing.T) {
	t.Parallel()
	for _, votes := range everyPast(3) {
		for decider := range votes {
			for refusing := range uint64(1 << 3) {
				for need := 1; need <= 4; need++ {
					leg, v := Decided(votes, refusing, need, decider, true)
					var ok bool
					switch votes[decider].State {
					case pend:
						ok = v == Wait
					case no:
						ok = v == Answer && leg == decider
					case fail:
						ok = v == None
					case yes:
						ok = v != Answer || leg == decider || votes[leg].State == no && refusing&(1<<leg) == 0
						if need == 1 {
							ok = v == Answer && leg == decider
						}
						if !slices.ContainsFunc(votes, func(v Vote) bool { return v.State == pend }) {
							ok = ok && v != Wait
						}
					}
					if !ok {
						t.Errorf("%v decider %d refusing %b need %d: leg %d, Verdict %d", votes, decider, refusing, need, leg, v)
					}
				}
			}
		}
	}
}

func TestR28Versioned(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		votes     []Vote
		versioned uint64
		primary   int
		over      bool
		leg       int
		want      Verdict
	}{
		{"-1 has answered", []Vote{{pend, 0}, {pend, 0}}, 0, 0, false, 0, Wait},
		{"no versions, no waiting", []Vote{{pend, 0}, {yes, 1}}, 0, 0, false, 1, Answer},
		{"the primary is first", []Vote{{yes, 1}, {pend, 0}}, 1, 0, false, 0, Answer},
		{"the primary is awaited", []Vote{{pend, 0}, {yes, 1}}, 2, 0, false, 1, Primary},
		{"in vain", []Vote{{pend, 0}, {yes, 1}}, 2, 0, true, 1, Answer},
		{"it comes second", []Vote{{yes, 2}, {yes, 1}}, 3, 0, false, 0, Answer},
		{"it comes late", []Vote{{yes, 2}, {yes, 1}}, 3, 0, true, 0, Answer},
		{"it keeps no versions", []Vote{{yes, 2}, {yes, 1}}, 2, 0, false, 0, Answer},
		{"it refuses", []Vote{{no, 2}, {yes, 1}, {pend, 0}}, 2, 0, false, 1, Answer},
		{"it fails", []Vote{{fail, 2}, {yes, 1}, {pend, 0}}, 2, 0, false, 1, Answer},
		{"it was not asked", []Vote{{yes, 1}, {pend, 0}}, 1, -1, false, 0, Answer},
		{"-1 takes it", []Vote{{no, 2}, {no, 1}}, 0, 0, false, 1, Answer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leg, v := Leg(tt.votes, 1, true)
			leg, v = Versioned(tt.votes, leg, v, tt.versioned, tt.primary, tt.over)
			if v != tt.want || v == Answer && leg != tt.leg {
				t.Errorf("leg %d, Verdict %d; want leg %d, Verdict %d", leg, v, tt.leg, tt.want)
			}
		})
	}
}

// What is said of an id by those that do not know it counts if all say so, and the primary says it then.
func TestR28Knowing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		votes     []Vote
		unknowing uint64
		primary   int
		leg       int
		want      Verdict
	}{
		{"one may know it yet", []Vote{{no, 1}, {pend, 0}}, 0b01, 0, 0, Wait},
		{"one knows it", []Vote{{no, 1}, {yes, 2}}, 0b01, 0, 1, Answer},
		{"one knows it, and refuses", []Vote{{no, 1}, {no, 2}}, 0b01, 0, 1, Answer},
		{"all do not, the primary first", []Vote{{no, 2}, {no, 1}}, 0b11, 1, 1, Answer},
		{"all do not, the primary last", []Vote{{no, 2}, {no, 1}}, 0b11, 0, 0, Answer},
		{"the primary has failed", []Vote{{fail, 2}, {no, 1}}, 0b10, 0, 1, Answer},
		{"it was not asked", []Vote{{no, 2}, {no, 1}}, 0b11, -1, 1, Answer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			leg, v := Leg(tt.votes, 1, true)
			leg, v = Knowing(tt.votes, leg, v, tt.unknowing, tt.primary)
			if v != tt.want || v == Answer && leg != tt.leg {
				t.Errorf("leg %d, Verdict %d; want leg %d, Verdict %d", leg, v, tt.leg, tt.want)
			}
		})
	}
}

func BenchmarkLeg(b *testing.B) {
	for _, n := range []int{2, 3, 16} {
		votes := make([]Vote, n)
		votes[0], votes[n-1] = Vote{Negative, 1}, Vote{Positive, 2}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if leg, _ := Leg(votes, 1, true); leg != n-1 {
					b.Fatal(leg)
				}
			}
		})
	}
}
