package repair

import (
	"maps"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// R35: an object that was put, and that its client has deleted by the id of its version since, is
// not lost where nobody has it. Everything else that nobody has any more is left to a person.
func TestR35DeletedByTheIDThatItsPutMade(t *testing.T) {
	const null = task.NullVersion
	for name, tt := range map[string]struct {
		made    [2]string // by the PUT, which A took
		deleted string    // the version, on both; "": none was
		change  func(put, del *task.Write)
		park    task.ParkReason
	}{
		"null":                         {made: [2]string{null, ""}, deleted: null},
		"null, which B took, too":      {made: [2]string{null, null}, deleted: null},
		"null, and it overlapped":      {made: [2]string{null, ""}, deleted: null, change: func(put, _ *task.Write) { put.Overlapped = true }},
		"by its id":                    {made: [2]string{"x", ""}, deleted: "x"},
		"by its id on B":               {made: [2]string{"x", "y"}, deleted: "y"},
		"by its id, and it overlapped": {made: [2]string{"x", ""}, deleted: "x", change: func(put, _ *task.Write) { put.Overlapped = true }, park: task.NeedsPerson},
		"by its id, and it overlapped with known ones": {made: [2]string{"x", ""}, deleted: "x", change: func(put, _ *task.Write) { put.Overlapped, put.OverlapKnown = true, true }},
		"by another one's id":                          {made: [2]string{"x", ""}, deleted: "w", park: task.NeedsPerson},
		"null, and it made another version":            {made: [2]string{"x", ""}, deleted: null, park: task.NeedsPerson},
		"null, which it made on A alone":               {made: [2]string{null, "y"}, deleted: null, park: task.NeedsPerson},
		"null, and what it made is unknown":            {deleted: null, park: task.NeedsPerson},
		"not deleted":                                  {made: [2]string{null, ""}, park: task.Lost},
		"a delete that nobody was told of":             {made: [2]string{null, ""}, deleted: null, park: task.NeedsPerson, change: func(_, del *task.Write) { del.Unacknowledged = true }},
		"a delete that came before the PUT":            {made: [2]string{null, ""}, deleted: null, park: task.Lost, change: func(put, del *task.Write) { *put, *del = *del, *put }},
		"a delete of one of its tags, by id":           {made: [2]string{null, ""}, deleted: null + "&tagging", park: task.Lost},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			put := w.by(task.Content, "PUT", "e", "", 0)
			for i, id := range tt.made {
				if id == "" {
					continue
				}
				if put.Made == nil {
					put.Made = map[string]string{}
				}
				put.Made[w.stores[i].name] = id
			}
			del := w.by(task.Version, "DELETE", "", "versionId="+tt.deleted, 0, 1)
			if tt.change != nil {
				tt.change(&put, &del)
			}
			if tt.deleted == "" {
				w.knows("k", put)
			} else {
				w.knows("k", put, del)
			}
			if tt.park == "" {
				w.mustResolve()
			} else {
				w.mustPark("k", tt.park)
			}
		})
	}
}

// R35: of two writes at the same time each has to be deleted, as far as they made versions of
// their own; and what is there on one backend is not unmade.
func TestR35UnmadeAltogether(t *testing.T) {
	two := func(w *world, first, second string) (a, b task.Write) {
		a, b = w.by(task.Content, "PUT", "e", "", 0), w.by(task.Content, "PUT", "f", "", 0)
		a.Made, b.Made = map[string]string{w.stores[0].name: first}, map[string]string{w.stores[0].name: second}
		a.Overlapped, b.Overlapped = true, true
		return a, b
	}
	version := func(w *world, id string, took ...int) task.Write {
		return w.by(task.Version, "DELETE", "", "versionId="+id, took...)
	}
	rival := func(t *task.Task) { t.Writes, t.Rivals = t.Writes[1:], t.Writes[:1:1] }
	t.Run("both are null", func(t *testing.T) {
		w := newWorld(t, 2)
		a, b := two(w, "null", "null")
		rival(w.knows("k", a, b, version(w, "null", 0, 1)))
		w.mustResolve()
	})
	t.Run("and more that are not kept", func(t *testing.T) {
		w := newWorld(t, 2)
		a, b := two(w, "null", "null")
		known := w.knows("k", a, b, version(w, "null", 0, 1))
		rival(known)
		known.RivalsLost = true
		w.mustResolve()
	})
	t.Run("one of two versions", func(t *testing.T) {
		w := newWorld(t, 2)
		a, b := two(w, "x", "y")
		rival(w.knows("k", a, b, version(w, "y", 0, 1)))
		w.mustPark("k", task.NeedsPerson)
	})
	t.Run("it is there on one", func(t *testing.T) {
		w := newWorld(t, 2)
		w.versioned()
		w.stores[1].put("b", "k", "v1", time.Hour)
		put := w.by(task.Content, "PUT", w.stores[1].etags("b", "k")[0], "", 0, 1)
		put.Made = map[string]string{w.stores[0].name: "x", w.stores[1].name: w.stores[1].versionIDs("b", "k")[0]}
		w.knows("k", put, version(w, "x", 0))
		w.mustResolve()
		mustBe(t, "B", w.body(1, "k"), "-")
	})
	t.Run("its bucket is gone", func(t *testing.T) {
		w := newWorld(t, 2)
		put := w.by(task.Content, "PUT", "e", "", 0)
		put.Made = map[string]string{w.stores[0].name: "null"}
		w.knows("k", put, version(w, "null", 0, 1))
		for _, s := range w.stores {
			delete(s.buckets, "b")
		}
		w.mustResolve()
	})
}

// R35: what another backend calls a version is known by the write that made it, as long as the
// journal has that one.
func TestR35PairsOfTheWriteThatMadeThem(t *testing.T) {
	work := &task.Task{Writes: []task.Write{
		{Aspect: task.Content, Method: "PUT", Made: map[string]string{"A": "1", "B": "2"}},
		{Aspect: task.Version, Method: "DELETE", Target: "/b/k?versionId=1"},
		{Aspect: task.Version, Method: "DELETE", Target: "/b/k?versionId=3", ETags: map[string]string{"A": "known"}},
		{Aspect: task.Version, Method: "DELETE", Target: "/b/k?versionId=null"},
		{Aspect: task.Version, Method: "DELETE", Target: "/b/k?versionId=5"},
	}, Rivals: []task.Write{{Aspect: task.Content, Method: "PUT", Made: map[string]string{"A": "4", "B": "3", "C": "null"}}}}
	recallMade(work)
	for i, want := range []map[string]string{1: {"B": "2"}, 2: {"A": "known"}, 3: nil, 4: nil} {
		if i > 0 && !maps.Equal(work.Writes[i].ETags, want) {
			t.Errorf("%d: %v, want %v", i, work.Writes[i].ETags, want)
		}
	}
}
