package repair

import (
	"net/http"
	"strings"
	"testing"

	"github.com/akubra/akubra/synclog/task"
)

// refusesNames answers as MinIO does to a name that it cannot have.
func (f *fake) refusesNames(part, code string) {
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		refuse(w, 400, code)
		return true
	}
}

// R35: what a backend can never have under such a name is not there, whatever it says to a
// look: a delete is done, and an object is not kept by it. Neither is tried over and over.
func TestR35NamesThatABackendRefuses(t *testing.T) {
	for _, code := range []string{"XMinioInvalidObjectName", "XMinioInvalidResourceName", "KeyTooLongError"} {
		w := newWorld(t, 2)
		w.stores[1].refusesNames("d//e", code)
		w.knows("d//e", w.by(task.Content, "DELETE", "", "", 0))
		w.mustResolve()
		o := w.stores[0].put("b", "d//e", "v1", 0)
		w.knows("d//e", w.by(task.Content, "PUT", o.etag, "", 0))
		w.mustPark("d//e", task.NotKept)
	}
}

// R35: an object that a target takes in no way is not kept by it, at once; the others get it.
func TestR35ObjectThatABackendRefuses(t *testing.T) {
	w := newWorld(t, 3)
	w.stores[1].hook = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PUT" {
			refuse(rw, 400, "DirectoryObjectContainsData")
		}
		return r.Method == "PUT"
	}
	o := w.stores[0].put("b", "x/", "v1", 0)
	w.knows("x/", w.by(task.Content, "PUT", o.etag, "", 0))
	w.mustPark("x/", task.NotKept)
	if o, ok := w.stores[2].get("b", "x/"); !ok || string(o.body) != "v1" {
		t.Errorf("the third one has %+v", o)
	}
}

// R35: a storage that keeps no object below another one does not keep it, which the second try
// shows; unless something is pending of that other one, which may be a delete.
func TestR35ObjectBelowAnother(t *testing.T) {
	for pending, want := range map[string]task.ParkReason{
		"": task.NotKept, "d": task.Failed, "d/e": task.Failed, "d/e/f/g": task.NotKept, "other": task.NotKept,
	} {
		w := newWorld(t, 2)
		w.stores[1].hook = func(rw http.ResponseWriter, r *http.Request) bool {
			below := r.Method == "PUT" && strings.HasSuffix(r.URL.Path, "/d/e/f")
			if below {
				refuse(rw, 409, "ObjectParentIsFile")
			}
			return below
		}
		o := w.stores[0].put("b", "d/e/f", "v1", 0)
		w.knows("d/e/f", w.by(task.Content, "PUT", o.etag, "", 0))
		if pending != "" {
			w.knows(pending, w.by(task.Content, "DELETE", "", "", 0))
			w.q.tasks[1].Parked = task.Conflict
		}
		w.o.MaxTries = 4
		for range w.o.MaxTries {
			w.once()
		}
		below := w.q.left()[0]
		if below.Parked != want || want == task.NotKept && below.Tries != 1 {
			t.Errorf("%q is pending: parked %q after %d tries: %s", pending, below.Parked, below.Tries, below.LastError)
		}
	}
}

// R35: a storage that refuses a condition which holds (versitygw does over a delete marker) gets
// the copy without.
func TestR35ConditionThatATargetMisjudges(t *testing.T) {
	for _, there := range []bool{false, true} {
		w := newWorld(t, 2)
		w.stores[1].hook = func(rw http.ResponseWriter, r *http.Request) bool {
			misjudged := r.Method == "PUT" && (r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Match") != "")
			if misjudged {
				refuse(rw, 412, "PreconditionFailed")
			}
			return misjudged
		}
		if there {
			w.stores[1].put("b", "k", "v0", 0)
		}
		o := w.stores[0].put("b", "k", "v1", 0)
		w.knows("k", w.by(task.Content, "PUT", o.etag, "", 0))
		w.mustResolve()
		mustBe(t, "B", w.body(1, "k"), "v1")
	}
}
