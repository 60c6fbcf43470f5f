package repair

import (
	"strings"

	"github.com/akubra/akubra/synclog/repair/client"
)

// noSuchName reports whether a backend cannot have any object with such a name: then its answer to
// a look means that there is none, and its answer to a copy will never change.
func noSuchName(err error) bool {
	return client.HasCode(err, "KeyTooLongError", "InvalidObjectName", "XMinioInvalidObjectName", "XMinioInvalidResourceName")
}

// refusesObject reports whether a target refuses the object itself, however often it is tried
// (versitygw stores no content under a name that ends in "/", and none below an object).
func (w *run) refusesObject(err error) bool {
	return noSuchName(err) || client.HasCode(err, "DirectoryObjectContainsData") ||
		client.HasCode(err, "ObjectParentIsFile", "XMinioParentIsObject") && !w.mayGetRoom()
}

// mayGetRoom reports whether an object that stands where the key would need a directory may be about
// to go: it is pending, or a client's delete of it was under way just now, as a second try will show.
func (w *run) mayGetRoom() bool {
	finder, finds := able[Finder](w.r.o.Journal)
	if !finds || w.t.Tries == 0 {
		return true
	}
	key := w.t.Key
	for at := strings.LastIndexByte(key, '/'); at > 0; at = strings.LastIndexByte(key, '/') {
		key = key[:at]
		if _, _, pending, err := finder.Find(w.t.Bucket, key); pending || err != nil {
			return true
		}
	}
	return false
}
