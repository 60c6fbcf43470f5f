package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog"
	"github.com/akubra/akubra/synclog/journal"
)

// TestR23SynclogCatchesUp: what the synclog had no room for while its reader was stopped is written
// when it reads again, for all keys that are still pending.
func TestR23SynclogCatchesUp(t *testing.T) {
	for _, c := range []struct {
		name string
		keys int
		lose bool // there are too many keys to remember
	}{
		{"few", 300, false},
		{"more than are remembered", 300, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			const room = 100 // lines
			names := []string{"a:9000", "b:9000", "c:9000"}
			n := ledgertest.MustOpen(t, t.TempDir(), names...)
			stalled := &testkit.Gate{Text: testkit.NewTranscript(), Wait: make(chan struct{})}
			good := testkit.NewTranscript()
			told := testkit.NewTranscript()
			l := logs.Plain(told, nil)
			l.AddSynclog("stalled", stalled, room)
			l.AddSynclog("good", good, logs.MaxQueuedLines)
			l.Start()
			var b *synclogBacklog
			log := synclog.New(synclog.Options{Out: l.Sync, OnError: func(r *synclog.Record, _ error) { b.missed(r) }})
			b = newSynclogBacklog(n, l.SynclogQueues(), log.Wants, &l.Main)
			b.start()
			l.OnSynclogLost(b.revived)
			if c.lose {
				b.all = true
			}

			key := func(i int) string { return fmt.Sprintf("key-%03d", i) }
			record := func(method, key string) {
				e := journal.Entry{
					Method: method, Target: []byte("/bkt/" + key), Bucket: []byte("bkt"), Key: []byte(key),
					ID: []byte("id-" + key), Reason: []byte("stalled"), Size: 7, Owed: 0b010,
				}
				testkit.MustDo(t, n.Journal.Promise([]journal.Entry{e}))
				log.Record(&synclog.Record{
					Time: time.Now(), Method: method, Path: "/bkt/" + key, Bucket: "bkt", Key: key, ID: "id-" + key,
					FailedHost: names[1], SuccessHost: names[0], Error: "stalled", Op: "storing", Size: 7,
				})
			}
			for i := range c.keys {
				record("PUT", key(i))
			}
			record("GET", "not-recorded")
			for cursor, left := uint64(0), 3; left > 0; { // three keys are repaired; two of them have a line in the queue
				p, next, ok := n.Journal.Next(cursor)
				if !ok {
					t.Fatal("the journal ends early")
				}
				cursor = next
				if k := string(p.Key); k == key(0) || k == key(1) || k == key(c.keys-1) {
					left--
					if !n.Journal.Resolve(&p) {
						t.Fatal("cannot resolve")
					}
				}
			}
			if got := strings.Count(good.String(), "\n"); log.Counts().Failed == 0 {
				t.Fatalf("no record was refused; %d are written elsewhere", got)
			}
			stalled.Open()
			testkit.Eventually(t, "the last key's line is written", func() bool { return strings.Contains(stalled.Text.String(), key(c.keys-2)) })
			testkit.Eventually(t, "it is told", func() bool { return strings.Contains(told.String(), "the synclog has caught up") })
			b.close()
			testkit.MustDo(t, l.Close())

			lines := map[string]int{}
			for line := range strings.Lines(stalled.Text.String()) {
				r, err := synclog.ParseRecord([]byte(line))
				testkit.MustDo(t, err)
				lines[r.Key]++
				if r.Method != "PUT" || r.FailedHost != names[1] || r.SuccessHost != names[0] || r.Op != "storing" ||
					r.Error != "stalled" || r.Path != "/bkt/"+r.Key || r.ID != "id-"+r.Key || r.Size != 7 {
					t.Errorf("line %s", line)
				}
			}
			for i := range c.keys - 1 {
				if got := lines[key(i)]; got == 0 || got > 1 && !c.lose {
					t.Errorf("%d lines of %s", got, key(i))
				}
			}
			if lines[key(c.keys-1)] != 0 || lines["not-recorded"] != 0 {
				t.Error("a line of a key that was repaired meanwhile, or of a method that is not recorded")
			}
			if got := strings.Count(good.String(), "\n"); got != c.keys {
				t.Errorf("%d lines where the reader never stopped", got)
			}
			if s := l.States()[0]; s.Waiting != 0 || s.Lost == 0 {
				t.Errorf("%d wait, %d lost", s.Waiting, s.Lost)
			}
		})
	}
}
