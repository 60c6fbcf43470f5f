package repair

import (
	"net/http"
	"strings"
	"time"
)

// How much later than the event an object may have been modified without being
// newer than it: clocks are compared within slack, where it is known when the last
// leg ended. Else legs may have gone on for long.
const (
	slack          = 2 * time.Second
	slackUnsettled = 10 * time.Minute
)

// eventOf is what a task's newest write says about the object.
func eventOf(t *Task) event {
	at := t.Settled
	margin := slack
	if at == 0 {
		margin = slackUnsettled
	}
	e := event{limit: unixNano(max(at, t.Seq)).Add(margin), doubt: t.Doubt}
	query := queryOf(t.Target)
	switch {
	case t.Method == "" || ofVersion(query) && (t.Method != http.MethodPut || t.SubResource):
		// A version's id is one storage's own; what came of it shows in the state.
		return event{}
	case t.Key != "" && t.Method != http.MethodPut && hasParam(query, "delete"): // one of R24's
		e.kind = eventDelete
	case t.SubResource || t.Key == "" && subresourceOf(t.Target) != "" || subWrites[t.Method][subresourceOf(t.Target)]:
		e.kind = eventSub
		return e
	case t.Method == "DELETE":
		e.kind = eventDelete
	default:
		e.kind, e.etag = eventWrite, strings.Trim(t.ETag, `"`)
	}
	if t.Unacknowledged {
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

// subWrites are the writes to an object's subresources, by method: elsewhere S3 and the
// backends ignore the parameter, and PUT key?versions stores an object (R35).
var subWrites = map[string]map[string]bool{
	http.MethodPut:    {"acl": true, "tagging": true, "retention": true, "legal-hold": true},
	http.MethodDelete: {"tagging": true},
	http.MethodPost:   {"restore": true, "select": true},
}

// subresourceOf is the subresource that a target names, or "". Of several it is one that
// can be copied.
func subresourceOf(target string) (known string) {
	query := queryOf(target)
	for query != "" {
		var param string
		param, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(param, "=")
		if s, ok := subresources[name]; ok && (known == "" || s.copied) {
			known = name
			if s.copied {
				break
			}
		}
	}
	return known
}
