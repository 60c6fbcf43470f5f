package repair

import (
	"math"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: what only a backend has taken that does not keep it is told of, once the content is
// everywhere; not where a client has taken it away itself since, or at the same time, nor where somebody has it.
func TestR35WhatNobodyHasKeptIsTold(t *testing.T) {
	put := func(w *world, carried task.Carried) task.Write {
		write := w.by(task.Content, "PUT", md5Hex([]byte("new")), "", 0)
		write.Carried = carried
		return write
	}
	untag := func(w *world, took ...int) task.Write { return w.by(task.Tags, "DELETE", "", "tagging", took...) }
	first := func(w *world, method string, answered uint64) []task.Write { // it began before the PUT
		tags := w.by(task.Tags, method, "", "tagging", 0, 1)
		tags.Answered = answered
		return []task.Write{tags, put(w, task.CarriedTags)}
	}
	for name, tt := range map[string]struct {
		has    []string // the new object's headers
		writes func(w *world) []task.Write
		parked bool
	}{
		"tags":             {nil, func(w *world) []task.Write { return []task.Write{put(w, task.CarriedTags)} }, true},
		"metadata":         {nil, func(w *world) []task.Write { return []task.Write{put(w, task.CarriedMetadata)} }, true},
		"tags of the two":  {[]string{"Cache-Control", "no-store"}, func(w *world) []task.Write { return []task.Write{put(w, task.CarriedMetadata|task.CarriedTags)} }, true},
		"it is kept":       {[]string{"X-Amz-Tagging", "a=1"}, func(w *world) []task.Write { return []task.Write{put(w, task.CarriedTags)} }, false},
		"nothing":          {nil, func(w *world) []task.Write { return []task.Write{put(w, 0)} }, false},
		"a lock":           {nil, func(w *world) []task.Write { return []task.Write{put(w, task.CarriedLock)} }, false},
		"untagged since":   {nil, func(w *world) []task.Write { return []task.Write{put(w, task.CarriedTags), untag(w, 0)} }, false},
		"untagged by both": {nil, func(w *world) []task.Write { return []task.Write{put(w, task.CarriedTags), untag(w, 0, 1)} }, false},
		"untagged beside":  {nil, func(w *world) []task.Write { return first(w, "DELETE", math.MaxUint64) }, false},
		"untagged before":  {nil, func(w *world) []task.Write { return first(w, "DELETE", 1) }, true},
		"tagged beside":    {nil, func(w *world) []task.Write { return first(w, "PUT", math.MaxUint64) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.stores[0].put("b", "k", "new", time.Hour, tt.has...)
			w.stores[1].put("b", "k", "old", time.Hour)
			w.knows("k", tt.writes(w)...)
			if tt.parked {
				w.mustPark("k", task.NotKept)
			} else {
				w.mustResolve()
			}
			if o, _ := w.stores[1].get("b", "k"); string(o.body) != "new" {
				t.Errorf("B has %q", o.body)
			}
		})
	}
}

// R35: that a backend has guessed a type is no reason to say that another one has not kept it.
func TestR35GuessedTypeOfWhatBothTook(t *testing.T) {
	for contentType, parked := range map[string]bool{"text/html; charset=utf-8": false, "image/png": true} {
		t.Run(contentType, func(t *testing.T) {
			w := newWorld(t, 2)
			w.stores[0].put("b", "k.html", "new", time.Hour, "Content-Type", contentType)
			w.stores[1].put("b", "k.html", "new", time.Hour)
			acl := w.by(task.ACL, "PUT", "", "", 0)
			acl.Target, acl.Unacknowledged = "/b/k.html?acl", true
			w.knows("k.html", w.by(task.Content, "PUT", md5Hex([]byte("new")), "", 0, 1), acl)
			if parked {
				w.mustPark("k.html", task.NotKept)
			} else {
				w.mustResolve()
			}
		})
	}
}
