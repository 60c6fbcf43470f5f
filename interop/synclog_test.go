package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// record is a line of the synclog, as far as the tests read it (R16).
type record struct {
	Method      string `json:"method"`
	Path        string `json:"path"`
	FailedHost  string `json:"failedhost"`
	SuccessHost string `json:"successhost"`
	Error       string `json:"error"`
	Op          string `json:"op"`
	Status      int    `json:"status"`
	Bucket      string `json:"bucket"`
	Key         string `json:"key"`
	ETag        string `json:"etag"`
	line        string
}

func (r record) String() string { return r.line }

// The errors of records that tell of no failure.
const (
	errorMultipart  = "multipart upload"  // R26
	errorConcurrent = "concurrent writes" // R19
)

// records are all that the world's proxies have written so far.
func (w *world) records(t *testing.T) []record {
	t.Helper()
	var all []record
	for _, p := range w.proxies() {
		all = append(all, readSynclog(t, p.synclog)...)
	}
	return all
}

// inBucket are the records about one bucket and its objects.
func (w *world) inBucket(t *testing.T, bucket string) []record {
	t.Helper()
	var of []record
	for _, r := range w.records(t) {
		if r.Bucket == bucket {
			of = append(of, r)
		}
	}
	return of
}

func readSynclog(t *testing.T, file string) []record {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []record
	for line := range bytes.Lines(data) {
		r, err := parseRecord(line)
		if err != nil {
			t.Fatalf("cannot parse record %q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

func parseRecord(line []byte) (record, error) {
	if !bytes.HasSuffix(line, []byte("\n")) {
		return record{}, fmt.Errorf("it does not end")
	}
	r := record{line: string(bytes.TrimSpace(line))}
	if err := json.Unmarshal(line, &r); err != nil {
		return record{}, err
	}
	if r.FailedHost == "" || r.SuccessHost == "" || r.FailedHost == r.SuccessHost || r.Op != "storing" || r.Error == "" {
		return record{}, fmt.Errorf("it does not tell who failed whom in what")
	}
	return r, nil
}

// names reports whether the record accounts for what the stores differ in: the key
// is wrong at the store that failed. What is not there was not stored, or is what
// the other one failed to delete.
func (r record) names(missing, present *store, key string) bool {
	if r.Key != key {
		return false
	}
	deleted := r.Method == "DELETE" || (r.Method == "POST" && r.Error != errorMultipart)
	return r.FailedHost == missing.addr && !deleted || r.FailedHost == present.addr && deleted || r.Error == errorConcurrent
}
