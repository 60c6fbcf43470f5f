package journal

import (
	"reflect"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R29: of a conditional write that a killed process had under way only who decides may have it; once that
// has taken it, it is to be everywhere, whether its client was told or not.
func TestR29WhatAKilledProcessLeavesOfADecision(t *testing.T) {
	t.Parallel()
	taken := Entry{
		Seq: 7, Method: "PUT", Target: []byte("/b/k"), Host: []byte("s3"), Bucket: []byte("b"), Key: []byte("k"),
		ETag: []byte("e"), Took: 2, Owed: 1, Open: true,
	}
	asks := Entry{Owed: 1, Unacknowledged: true}
	next := Entry{Owed: 2, Unacknowledged: true}
	for name, tt := range map[string]struct {
		left  []Entry
		names []string
		owed  uint64
		want  task.Write
	}{
		"nothing said":         {nil, nil, 0, task.Write{Owed: []string{"a:9000", "b:9000"}, Unacknowledged: true}},
		"being decided":        {[]Entry{asks}, nil, 1, task.Write{Owed: []string{"a:9000"}, Unacknowledged: true}},
		"by the next one":      {[]Entry{asks, next}, nil, 2, task.Write{Owed: []string{"b:9000"}, Unacknowledged: true}},
		"taken":                {[]Entry{next, taken}, nil, 1, task.Write{Seq: 7, ETag: "e", Took: []string{"b:9000"}, Owed: []string{"a:9000"}}},
		"by others, of before": {[]Entry{asks}, []string{"b:9000", "a:9000"}, 0, task.Write{Owed: []string{"b:9000", "a:9000"}, Unacknowledged: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			j := openDoor(t, dir, Options{})
			w := mustBegin(t, j, "k")
			for i := range tt.left {
				w.Leave(&tt.left[i])
			}
			if owed := j.Owed([]byte("b"), []byte("k")); owed != 0 {
				t.Errorf("while it runs %b is owed", owed)
			}
			next := openDoor(t, killed(t, dir), Options{Backends: tt.names})
			if owed := next.Owed([]byte("b"), []byte("k")); owed != tt.owed {
				t.Errorf("reads are kept from %b, want %b", owed, tt.owed)
			}
			all := pendingTasks(next)
			if len(all) != 1 || len(all[0].Writes)+len(all[0].Rivals) != 1 {
				t.Fatalf("pending: %+v", all)
			}
			got := append(all[0].Writes, all[0].Rivals...)[0]
			tt.want.Method, tt.want.Target, tt.want.Host = "PUT", "/b/k", "s3"
			if tt.want.Seq == 0 {
				tt.want.Seq = got.Seq
			}
			tt.want.Reason, tt.want.Settled, tt.want.Answered = got.Reason, got.Settled, got.Answered
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			w.End()
		})
	}
}

// R29, R30: where all are in doubt who decided last alone is asked, which was in no doubt until then; and
// who lacks what stands is not asked for it.
func TestR29R30OwesWhereAllMayHaveDecided(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	undecided := func(key string, by uint64) {
		e := put(key, by)
		e.Seq, e.Unacknowledged = r.Stamp(time.Now()), true
		r.promise(e)
	}
	undecided("k", 1)
	r.wantOwes("k", 1)
	undecided("k", 6)
	r.wantOwes("k", 1)
	undecided("l", 2)
	undecided("l", 5)
	undecided("l", 2)
	r.wantOwes("l", 5)
	stands := put("m", 6)
	stands.Took = 1
	r.promise(stands)
	undecided("m", 1)
	r.wantOwes("m", 6)
	undecided("n", 7)
	r.wantOwes("n", 0)
}
