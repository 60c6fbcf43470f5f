package limiter

import "testing"

// R36: since when a backend is as it is.
func TestR36Since(t *testing.T) {
	now := int64(5e9)
	l := New(Options{Backends: []string{"a", "b"}, ConnLimit: 10, FailureLimit: 1, Now: func() int64 { return now }})
	want := func(a, b float64) {
		t.Helper()
		if s := l.Status(now); s[0].Since != a || s[1].Since != b {
			t.Errorf("since %v and %v, want %v and %v", s[0].Since, s[1].Since, a, b)
		}
	}
	want(5, 5)
	l.Failed(0, now)
	now += 2e9
	want(2, 7)
	l.SetMaintained(1, true)
	now += 1e9
	want(3, 1)
	l.Return(0)
	want(0, 1)
	now += 1e9
	l.SetMaintained(1, false)
	want(1, 0)
}
