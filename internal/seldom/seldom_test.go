package seldom

import (
	"testing"
	"time"
)

func TestFirstAtOnceThenOnceAMinuteWithACount(t *testing.T) {
	var c Counter
	start := time.Unix(1000, 0)
	for _, step := range []struct {
		after time.Duration
		times uint64
		say   bool
	}{
		{0, 1, true},
		{time.Second, 0, false},
		{Every - 1, 0, false},
		{Every, 3, true},
		{Every + 1, 0, false},
		{10 * Every, 2, true},
	} {
		if times, say := c.happenedAt(start.Add(step.after)); times != step.times || say != step.say {
			t.Errorf("after %s: %d, %v, want %d, %v", step.after, times, say, step.times, step.say)
		}
	}
}
