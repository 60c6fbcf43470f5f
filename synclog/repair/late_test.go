package repair

import (
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R19, R29: a write without an answer that lands after the first look is found by the second one.
func TestR19R29WhatLandsBehindTheLook(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]task.Write{
		"nobody was told of it":  {Seq: 10, Settled: 10, Method: "PUT", Unacknowledged: true},
		"it is past":             {Seq: 3, Settled: 10, Answered: 4, Method: "PUT", ETag: "late"},
		"of a key that was owed": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.o.LateWait, w.o.Fence = time.Millisecond, newFence()
			names := []string{w.stores[0].name, w.stores[1].name}
			late.Owed = names[1:]
			stands := task.Write{Seq: 5, Settled: 6, Method: "PUT", Took: names, Size: 4}
			for _, s := range w.stores {
				stands.ETag = s.put("b", "k", "body", time.Minute).etag
			}
			whole := task.Task{Bucket: "b", Key: "k", Writes: []task.Write{stands}, Rivals: []task.Write{late}}
			if late.Seq == 0 {
				whole.Rivals = nil
				whole.Writes[0].Took = []string{names[0], names[1], "third"}
				whole.Writes[0].Owed = names[1:]
			}
			w.q.push(flat{Seq: max(5, late.Seq), First: 1, Bucket: "b", Key: "k", whole: &whole})
			if sum := w.once(); sum.Resolved != 0 || len(w.q.left()) != 1 {
				t.Fatalf("it is closed by the first look: %+v", sum)
			}
			w.stores[1].put("b", "k", "late", time.Minute)
			w.await("it is closed", func() bool { w.once(); return len(w.q.left()) == 0 })
			if o := w.mustEqual("k"); string(o.body) != "body" {
				t.Errorf("both have %q", o.body)
			}
		})
	}
}
