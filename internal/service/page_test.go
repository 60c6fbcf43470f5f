package service

import (
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/admin"
	"github.com/akubra/akubra/internal/ledger/ledgertest"
	"github.com/akubra/akubra/synclog/task"
)

// R35: "Try again" un-parks a key, and nothing but a parked key.
func TestR35PageRetries(t *testing.T) {
	j := ledgertest.MustOpen(t, t.TempDir(), "a:1", "b:1")
	p := &Proxy{journal: j}
	add := task.Task{Bucket: "bkt", Key: "k", Writes: []task.Write{{Aspect: task.Found, Owed: []string{"b:1"}}}}
	if err := j.Add(&add); err != nil {
		t.Fatal(err)
	}
	retry := admin.Decision{Bucket: "bkt", Key: []byte("k"), Retry: true}
	if _, err := p.settle(retry); err == nil || !strings.Contains(err.Error(), "not parked") {
		t.Errorf("of a key that is not parked: %v", err)
	}
	found, _, ok, err := j.Find("bkt", "k")
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	found.Parked, found.Tries = task.Failed, 20
	if err := j.Note(&found); err != nil {
		t.Fatal(err)
	}
	if s := j.Journal.Stats(); s.Parked != 1 {
		t.Fatalf("parked are %d", s.Parked)
	}
	if _, err := p.settle(retry); err != nil {
		t.Error(err)
	}
	if s := j.Journal.Stats(); s.Parked != 0 || s.Pending != 1 {
		t.Errorf("parked %d, pending %d", s.Parked, s.Pending)
	}
	if _, err := p.settle(admin.Decision{Bucket: "bkt", Key: []byte("other"), Retry: true}); err == nil {
		t.Error("of a key that nothing is pending of: no error")
	}
}
