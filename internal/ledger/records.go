package ledger

import (
	"slices"
	"time"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/repair"
)

// OpResolved is the op of a record that tells of a divergence's end.
const OpResolved = "resolved"

// ResolvedRecord is the synclog's line for a key that is equal again (R16): action
// is what was done for it.
func ResolvedRecord(t *repair.Task, action string, names []string) synclog.Record {
	r := recordOf(t, action, names)
	r.Time, r.Op = time.Now(), OpResolved
	return r
}

// recordOf is one record for all the backends of a task.
func recordOf(t *repair.Task, reason string, names []string) synclog.Record {
	r := synclog.Record{
		Time: time.Unix(0, int64(t.Seq)), Method: t.Method, Path: text.HideSecrets(t.Target), Error: reason, Op: engine.OpStoring,
		Bucket: t.Bucket, Key: t.Key, ETag: t.ETag, Size: t.Size, ID: t.ID,
	}
	for _, name := range names {
		switch owed := slices.Contains(t.Owed, name); {
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

// NotEnded is the reason of an entry that has none yet.
const NotEnded = "outcome unknown: in flight, or cut off with the proxy"

// ReasonOf is why an entry is pending, NotEnded where that is not known yet.
func ReasonOf(p *journal.Pending) string {
	if p.Open && len(p.Reason) == 0 {
		return NotEnded
	}
	return string(p.Reason)
}

// OwedRecords is a record for each backend that a task is owed by.
func OwedRecords(t *repair.Task, reason string, names []string) []synclog.Record {
	records := make([]synclog.Record, len(t.Owed))
	for i, owed := range t.Owed {
		records[i] = recordOf(t, reason, names)
		records[i].FailedHost = owed
	}
	return records
}
