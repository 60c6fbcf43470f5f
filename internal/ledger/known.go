package ledger

import (
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// Known is everything known about a key, for people and their programs (R35): both sides of a
// parked key. Its times are by the proxy's clock, except for those in Heads.
type Known struct {
	Object    string        `json:"object"` // see ObjectOf
	Bucket    string        `json:"bucket"`
	Key       string        `json:"key"`
	KeyBytes  []byte        `json:"keybytes,omitempty"` // where the key is no UTF-8
	Parked    string        `json:"parked,omitempty"`   // why, empty: it is not
	LastError string        `json:"last_error,omitempty"`
	Tries     int           `json:"tries"`
	NotBefore time.Time     `json:"not_before,omitzero"`
	First     time.Time     `json:"first"` // the oldest write that is owed
	Open      bool          `json:"open"`
	Owed      []string      `json:"owed"`
	Writes    []KnownWrite  `json:"writes"`          // that stand
	Rivals    []KnownWrite  `json:"rivals"`          // that may have landed after them
	Missing   bool          `json:"missing"`         // there were more than are kept
	Heads     []repair.Head `json:"heads,omitempty"` // what the backends have now, where they were asked
	HeadsOf   time.Time     `json:"heads_of,omitzero"`
}

// KnownWrite is a write as the journal has recorded it.
type KnownWrite struct {
	Aspect     string            `json:"aspect"`
	Method     string            `json:"method,omitempty"`
	Path       string            `json:"path,omitempty"`
	ETag       string            `json:"etag,omitempty"`
	ETags      map[string]string `json:"etags,omitempty"` // of backends with another one
	Size       int64             `json:"size"`
	ID         string            `json:"id,omitempty"`
	Began      time.Time         `json:"began"`
	Took       []string          `json:"took"`
	Owed       []string          `json:"owed"`
	Reason     string            `json:"reason,omitempty"`
	Overlapped bool              `json:"overlapped,omitempty"`
	Crowded    bool              `json:"overlap_unknown,omitempty"` // by writes of which some may not be known
	Unknown    bool              `json:"unknown_outcome,omitempty"`
}

var aspectNames = [...]string{
	task.Content: "content", task.Tags: "tags", task.ACL: "ACL", task.Retention: "retention", task.LegalHold: "legal hold",
	task.Setting: "setting", task.Version: "version", task.Found: "found by verify",
}

// AspectName is the name of an aspect, for people.
func AspectName(a task.Aspect) string {
	if int(a) < len(aspectNames) {
		return aspectNames[a]
	}
	return "unknown"
}

// KnownOf returns what the journal knows about a task.
func KnownOf(t *task.Task) Known {
	k := Known{
		Object: ObjectOf(t), Bucket: t.Bucket, Key: t.Key, Parked: string(t.Parked), LastError: t.LastError, Tries: t.Tries,
		NotBefore: t.NotBefore, First: timeOf(t.First), Open: t.Open, Owed: t.Owed(),
		Writes: knownWrites(t.Writes), Rivals: knownWrites(t.Rivals), Missing: t.VersionsLost || t.RivalsLost,
	}
	if !utf8.ValidString(t.Key) {
		k.KeyBytes = []byte(t.Key)
	}
	return k
}

func knownWrites(writes []task.Write) []KnownWrite {
	known := make([]KnownWrite, len(writes))
	for i := range writes {
		w := &writes[i]
		known[i] = KnownWrite{
			Aspect: AspectName(w.Aspect), Method: w.Method, Path: text.HideSecrets(w.Target), ETag: w.ETag, ETags: w.ETags, Size: w.Size,
			ID: w.ID, Began: timeOf(w.Seq), Took: w.Took, Owed: w.Owed, Reason: w.Reason, Overlapped: w.Overlapped, Crowded: w.Overlapped && !w.OverlapKnown, Unknown: w.Unacknowledged,
		}
	}
	return known
}

func timeOf(seq uint64) time.Time { return time.Unix(0, int64(seq)).UTC() }

// ObjectOf names a task as commands accept it: BUCKET/KEY, or BUCKET or BUCKET?SETTING for a task
// about a bucket. It contains raw bytes.
func ObjectOf(t *task.Task) string {
	if t.Key != "" {
		return t.Bucket + "/" + t.Key
	}
	if _, query, _ := strings.Cut(text.HideSecrets(t.Target), "?"); query != "" {
		return t.Bucket + "?" + query
	}
	return t.Bucket
}

// IsObject reports whether a person means this task by name: the name that ObjectOf returns,
// perhaps preceded by "s3://" or a slash.
func IsObject(t *task.Task, name string) bool { return ObjectOf(t) == BareObject(name) }

// BareObject returns name without such a prefix.
func BareObject(name string) string { return strings.TrimPrefix(strings.TrimPrefix(name, "s3:/"), "/") }

// Part is the part of an object that a write was about, such as "?tagging"; "" means its content.
func Part(w *task.Write) string {
	if w.Aspect == task.Content || w.Aspect == task.Found {
		return ""
	}
	_, query, _ := strings.Cut(text.HideSecrets(w.Target), "?")
	var parts []string
	for part := range strings.SplitSeq(query, "&") {
		if plain, err := url.QueryUnescape(part); err == nil && !strings.HasPrefix(strings.ToLower(plain), "x-") {
			parts = append(parts, plain)
		}
	}
	slices.Sort(parts)
	if query = strings.Join(parts, "&"); query == "" {
		return ""
	}
	return "?" + query
}
