package repair

import (
	"net/http"
	"strings"
	"time"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

// How much later than the event an object may have been modified without being
// newer than it: clocks are compared within slack, where it is known when the last
// leg ended. Else legs may have gone on for long.
const (
	slack          = 2 * time.Second
	slackUnsettled = 10 * time.Minute
)

// eventOf is what a task's newest write says about the object.
func eventOf(t *task.Task) event {
	w := t.Newest()
	if w == nil {
		return event{}
	}
	at := w.Settled
	margin := slack
	if at == 0 {
		margin = slackUnsettled
	}
	sub := w.Aspect >= task.Tags && w.Aspect <= task.Setting
	e := event{limit: unixNano(max(at, w.Seq)).Add(margin), doubt: w.Overlapped || t.RivalsLost || len(t.Writes) > 0 && len(t.Rivals) > 0}
	for i := range t.Writes {
		o := &t.Writes[i]
		e.doubt = e.doubt || o.Aspect == task.Version && o.Seq > w.Seq
		if sub && t.Key != "" && o.Aspect != task.Found && o.Aspect != w.Aspect {
			return event{} // its content, or another part of it, is owed as well: all of it is looked at
		}
	}
	query := queryOf(w.Target)
	switch {
	case w.Method == "" || ofVersion(query) && (w.Method != http.MethodPut || sub):
		// A version's id is one storage's own; what came of it shows in the state.
		return event{}
	case t.Key != "" && w.Method != http.MethodPut && hasParam(query, "delete"): // one of R24's
		e.kind = eventDelete
	case sub || t.Key == "" && subresourceOf(w.Target) != "" || s3.Subresources[subresourceOf(w.Target)].Writes&s3.WriteOf(w.Method, true) != 0:
		e.kind = eventSub
		return e
	case w.Method == "DELETE":
		e.kind = eventDelete
	default:
		e.kind, e.etag = eventWrite, s3.Unquote(w.ETag)
	}
	if w.Unacknowledged {
		// It may have come to pass or not, and both are right; but nothing is
		// deleted for it.
		return event{}
	}
	return e
}

func unixNano(ns uint64) time.Time { return time.Unix(0, int64(ns)) } //nolint:gosec // until 2262

func queryOf(target string) string {
	_, query, _ := strings.Cut(target, "?")
	return query
}

// hasParam reports whether a raw query has a parameter of that name.
func hasParam(query, name string) bool {
	_, ok := paramOf(query, name)
	return ok
}

func paramOf(query, name string) (value string, ok bool) {
	for query != "" {
		var param string
		param, query, _ = strings.Cut(query, "&")
		if n, v, _ := strings.Cut(param, "="); n == name {
			return v, true
		}
	}
	return "", false
}

// ofVersion reports whether a write was to a version. The version "null" is the one
// that an object has without versioning, on every storage.
func ofVersion(query string) bool {
	id, _ := paramOf(query, "versionId")
	return id != "" && id != "null"
}

// subresourceOf is the subresource that a target names, or "". Of several it is one that
// can be copied.
func subresourceOf(target string) (known string) {
	query := queryOf(target)
	for query != "" {
		var param string
		param, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(param, "=")
		if s, ok := s3.Subresources[name]; ok && (known == "" || s.Document) {
			known = name
			if s.Document {
				break
			}
		}
	}
	return known
}
