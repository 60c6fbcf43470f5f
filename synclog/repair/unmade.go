package repair

import (
	"net/http"

	"github.com/akubra/akubra/synclog/task"
)

// An object that was put and is nowhere any more is lost, unless its clients took it away. They
// may do so by the id of its version, which is "null" in a bucket without versions: the journal
// keeps such a delete apart from the content, and the ids that a write has made with the write.
// Only those tell that it was this version (R35).

// unmade reports whether each acknowledged write of the content that is known has made a version
// that an acknowledged delete has named since.
func unmade(t *task.Task) (found bool) {
	for w := range t.All() {
		switch {
		case w.Aspect != task.Content || w.Unacknowledged || w.Delete():
		case !isUnmade(t, w):
			return false
		default:
			found = true
		}
	}
	return found
}

func isUnmade(t *task.Task, w *task.Write) bool {
	for i := range t.Writes {
		if d := &t.Writes[i]; d.Aspect == task.Version && deletesVersion(d) && !d.Unacknowledged && d.Seq > w.Seq && made(w, versionID(d), t.RivalsLost || w.Overlapped && !w.OverlapKnown) {
			return true
		}
	}
	return false
}

// made reports whether the version that a client knows by this id is what the write made; or, where
// more tells that it overlapped with writes that may not be known, what these made, too. All
// backends have one name for the null version, so that it has to be that on each.
func made(w *task.Write, id string, more bool) bool {
	if more && id != nullVersion {
		return false
	}
	some, all := false, true
	for _, its := range w.Made {
		some, all = some || its == id, all && its == id
	}
	return some && (all || id != nullVersion)
}

// isUnmade reports whether nobody shows what was put, and clients took it away.
func (k *knowledge) isUnmade(views []view) bool {
	return k.unmade && unseen(views) == 0 && firstPresent(views) < 0
}

// untagged reports whether a client took the tags away that the content was written with: its write is not
// known to have come before that of the content, also where it began before.
func untagged(t *task.Task) bool {
	content := t.Of(task.Content)
	for w := range t.All() {
		if w.Aspect == task.Tags && w.Method == http.MethodDelete && (content == nil || !precedes(w, content)) {
			return true
		}
	}
	return false
}
