package repair

import (
	"slices"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

// flat is a task that has one write, as most tests need it.
type flat struct {
	Seq, First, Settled                                 uint64
	Method, Target, Host, Bucket, Key, ETag, ID, Reason string
	Size                                                int64
	Owed, Took                                          []string
	SubResource, Unacknowledged, Doubt                  bool
	Tries                                               int
	NotBefore                                           time.Time
	Parked                                              task.ParkReason
	LastError                                           string
	whole                                               *task.Task // in place of all but what is noted
}

func (f *flat) task(names ...string) task.Task {
	if f.whole != nil {
		t := *f.whole
		t.Writes, t.Rivals = slices.Clone(t.Writes), slices.Clone(t.Rivals)
		t.First, t.Tries, t.NotBefore, t.Parked, t.LastError = f.First, f.Tries, f.NotBefore, f.Parked, f.LastError
		return t
	}
	t := task.Task{
		Bucket: f.Bucket, Key: f.Key, First: f.First, Tries: f.Tries, NotBefore: f.NotBefore, Parked: f.Parked, LastError: f.LastError,
		RivalsLost: f.Doubt,
	}
	w := task.Write{
		Seq: f.Seq, Settled: f.Settled, Method: f.Method, Target: f.Target, Host: f.Host, ETag: f.ETag, ID: f.ID, Reason: f.Reason,
		Size: f.Size, Owed: f.Owed, Unacknowledged: f.Unacknowledged,
	}
	w.Took = slices.Clone(f.Took)
	for _, name := range names {
		if f.Took == nil && !slices.Contains(f.Owed, name) && !f.Unacknowledged && f.Method != "" {
			w.Took = append(w.Took, name)
		}
	}
	switch name := subresourceOf(f.Target); {
	case f.Method == "":
		w.Aspect = task.Found
	case ofTest[name] != 0:
		w.Aspect = ofTest[name]
	case f.SubResource || name != "":
		w.Aspect = task.Setting
	}
	if f.Key == "" {
		t.Target = f.Target
	}
	if f.Unacknowledged {
		t.Rivals = []task.Write{w}
	} else {
		t.Writes = []task.Write{w}
	}
	return t
}

var ofTest = map[string]task.Aspect{"tagging": task.Tags, "acl": task.ACL, "retention": task.Retention, "legal-hold": task.LegalHold}

// flatOf is what is added of a task.
func flatOf(t *task.Task) flat {
	w := t.Newest()
	return flat{
		Seq: w.Seq, Method: w.Method, Target: w.Target, Bucket: t.Bucket, Key: t.Key, Reason: w.Reason, Owed: w.Owed,
	}
}
