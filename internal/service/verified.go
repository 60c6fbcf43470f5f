package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/datadir"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/synclog/repair"
)

// verifiedName is the file in DataDir that tells the proxy what the last `akubra verify` has
// found.
const verifiedName = "verified.json"

type verified struct {
	Ended       time.Time `json:"ended"`
	Complete    bool      `json:"complete"`
	Compared    int64     `json:"compared"`
	Differences int64     `json:"differences"`
	Errors      int64     `json:"errors"`
}

// KeepVerified saves what a verify has found, for the metrics of the proxy with the same DataDir.
// If there is no DataDir it does nothing: then the proxy runs elsewhere.
func KeepVerified(c *config.Config, s repair.VerifySummary, complete bool) error {
	if _, err := os.Stat(c.DataDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	v := verified{time.Now().UTC().Truncate(time.Second), complete, s.Keys, s.Differences, s.Errors}
	text, err := json.MarshalIndent(v, "", "\t")
	if err == nil {
		err = datadir.Replace(filepath.Join(c.DataDir, verifiedName), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("cannot keep for the metrics what verify has found: %w", err)
	}
	return nil
}

// verifiedFile remembers what was read, so that a scrape reads the file only after another verify.
type verifiedFile struct {
	mu   sync.Mutex
	seen fs.FileInfo // nil: nothing is remembered
	read *metrics.Verified
}

// get returns what the file says, or nil. A verify replaces the file, so its identity changes.
func (f *verifiedFile) get(c *config.Config) *metrics.Verified {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(filepath.Join(c.DataDir, verifiedName))
	if err != nil {
		f.seen, f.read = nil, nil
		return nil
	}
	if f.seen == nil || !os.SameFile(f.seen, info) || !f.seen.ModTime().Equal(info.ModTime()) || f.seen.Size() != info.Size() {
		if f.read, err = ReadVerified(c); err != nil {
			f.seen = nil
			return nil
		}
		f.seen = info
	}
	return f.read
}

// ReadVerified reads the file; it returns nil if there was no verify.
func ReadVerified(c *config.Config) (*metrics.Verified, error) {
	text, err := os.ReadFile(filepath.Join(c.DataDir, verifiedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var v verified
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what verify has found: %w", err)
	}
	return &metrics.Verified{
		Ended: v.Ended, Complete: v.Complete, Compared: int(v.Compared), Differences: int(v.Differences), Errors: int(v.Errors),
	}, nil
}
