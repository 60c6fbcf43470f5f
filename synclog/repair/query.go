package repair

import (
	"net/http"
	"strings"

	"github.com/akubra/akubra/s3"
	"github.com/akubra/akubra/synclog/task"
)

// deletesVersion reports whether a write removed a version, and not a part of it.
func deletesVersion(w *task.Write) bool {
	return w.Method == http.MethodDelete && !hasParam(queryOf(w.Target), "tagging")
}

func queryOf(target string) string {
	_, query, _ := strings.Cut(target, "?")
	return query
}

// hasParam reports whether a raw query has a parameter with that name.
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

// subresourceOf is the subresource that a target names, or "". Of several it is one that can be
// copied.
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
