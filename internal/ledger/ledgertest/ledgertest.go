// Package ledgertest opens journals for tests and looks into them.
package ledgertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/synclog/journal"
	"github.com/akubra/akubra/synclog/task"
)

// MustOpen opens a journal under dataDir until the test's end.
func MustOpen(t testing.TB, dataDir string, names ...string) *ledger.NamedJournal {
	t.Helper()
	c := config.Default()
	c.DataDir = dataDir
	j, err := ledger.OpenJournal(c, names, func(err error) { t.Errorf("the journal: %v", err) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil && !errors.Is(err, journal.ErrClosed) {
			t.Error(err)
		}
	})
	return &ledger.NamedJournal{Journal: j, Names: names, Dir: c.JournalDir()}
}

// MustPromise journals a write that the backends of owed have not.
func MustPromise(t testing.TB, j *ledger.NamedJournal, method, bucket, key string, owed uint64, reason string) {
	t.Helper()
	err := j.Journal.Promise([]journal.Entry{{
		Seq: j.Journal.Stamp(time.Now()), Method: method, Target: []byte("/" + bucket + "/" + key), Host: []byte("s3"),
		Bucket: []byte(bucket), Key: []byte(key), ETag: []byte("e"), ID: []byte("id"), Reason: []byte(reason), Size: 5, Owed: owed,
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// MustOwe journals a write whose ETag and size are not known, that the backends of owed
// have not: the others have it, whatever they show.
func MustOwe(t testing.TB, j *ledger.NamedJournal, method, bucket, key string, owed uint64) {
	t.Helper()
	err := j.Journal.Promise([]journal.Entry{{
		Seq: j.Journal.Stamp(time.Now()), Method: method, Target: []byte("/" + bucket + "/" + key), Host: []byte("s3"),
		Bucket: []byte(bucket), Key: []byte(key), ID: []byte("id"), Reason: []byte("failed"), Owed: owed,
		Took: (1<<len(j.Names) - 1) &^ owed,
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// Tasks are all that Next gives.
func Tasks(t testing.TB, n *ledger.NamedJournal) (all []task.Task) {
	t.Helper()
	for cursor := uint64(0); ; {
		task, next, ok, err := n.Next(cursor)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		all, cursor = append(all, task), next
	}
}

// Objects are the names of the objects that tasks are about.
func Objects(all []task.Task) string {
	var names []string
	for i := range all {
		names = append(names, all[i].Bucket+"/"+all[i].Key)
	}
	return strings.Join(names, " ")
}
