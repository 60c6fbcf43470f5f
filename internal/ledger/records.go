package ledger

import (
	"slices"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/task"
)

// OpResolved is the op of a record that reports the end of a divergence.
const OpResolved = "resolved"

// ResolvedRecord is the synclog's line for a key that is back in sync (R16); action is what was
// done.
func ResolvedRecord(t *task.Task, action string, names []string) synclog.Record {
	r := recordOf(t, action, names)
	r.Time, r.Op = time.Now(), OpResolved
	return r
}

// recordOf is one record for all the backends of a task.
func recordOf(t *task.Task, reason string, names []string) synclog.Record {
	w := NewestOf(t)
	r := synclog.Record{
		Time: time.Unix(0, int64(w.Seq)), Method: w.Method, Path: text.HideSecrets(w.Target), Error: reason, Op: engine.OpStoring,
		Bucket: t.Bucket, Key: t.Key, ETag: w.ETag, Size: w.Size, ID: w.ID,
	}
	all := t.Owed()
	for _, name := range names {
		switch owed := slices.Contains(all, name); {
		case owed && r.FailedHost == "":
			r.FailedHost = name
		case owed:
			r.FailedHost += "," + name
		case r.SuccessHost == "":
			r.SuccessHost = name
		}
	}
	return r
}

// NotEnded is the reason of an entry that does not have one yet.
const NotEnded = "outcome unknown: in flight, or cut off when the proxy ended"

// ReasonOf is why a key is pending, or NotEnded if that is not known yet.
func ReasonOf(t *task.Task) string {
	w := NewestOf(t)
	if t.Open && w.Reason == "" {
		return NotEnded
	}
	return w.Reason
}

// OwedRecords returns a record for each backend on which a task is pending.
func OwedRecords(t *task.Task, reason string, names []string) []synclog.Record {
	all := t.Owed()
	records := make([]synclog.Record, len(all))
	for i, owed := range all {
		records[i] = recordOf(t, reason, names)
		records[i].FailedHost = owed
	}
	return records
}

// NewestOf is the write that a line about a task describes.
func NewestOf(t *task.Task) task.Write {
	if w := t.Newest(); w != nil {
		return *w
	}
	return task.Write{Target: t.Target}
}
