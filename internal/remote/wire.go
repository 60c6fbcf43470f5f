package remote

import (
	"encoding/json"
	"time"

	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/repair"
)

// What a repair beside a running proxy and the proxy tell each other, as JSON. Keys
// and the like are any bytes, which JSON's text cannot hold: they are base64.

type wireRequest struct {
	Session string   `json:"session,omitempty"`
	Cursor  uint64   `json:"cursor,omitempty"`
	Key     wireKey  `json:"key"`
	Task    wireTask `json:"task"`
	Action  string   `json:"action,omitempty"`
}

type wireAnswer struct {
	Session string   `json:"session,omitempty"`
	Out     []string `json:"out,omitempty"` // backends that are to be left alone
	OK      bool     `json:"ok"`
	Next    uint64   `json:"next,omitempty"`
	Task    wireTask `json:"task"`
}

// wireText is text of any bytes.
type wireText string

// MarshalJSON is base64.
func (w wireText) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(w)) }

// UnmarshalJSON is its reverse.
func (w *wireText) UnmarshalJSON(text []byte) error {
	var b []byte
	err := json.Unmarshal(text, &b)
	*w = wireText(b)
	return err
}

type wireKey struct {
	Bucket wireText `json:"bucket"`
	Key    wireText `json:"key"`
}

type wireTask struct {
	Seq            uint64    `json:"seq"`
	First          uint64    `json:"first"`
	Settled        uint64    `json:"settled"`
	Method         string    `json:"method"`
	Target         wireText  `json:"target"`
	Host           wireText  `json:"host"`
	Bucket         wireText  `json:"bucket"`
	Key            wireText  `json:"key"`
	ETag           wireText  `json:"etag"`
	ID             wireText  `json:"id"`
	Reason         wireText  `json:"reason"`
	Size           int64     `json:"size"`
	Owed           []string  `json:"owed"`
	SubResource    bool      `json:"subresource"`
	Unacknowledged bool      `json:"unacknowledged"`
	Doubt          bool      `json:"doubt"`
	Version        uint8     `json:"version"`
	Tries          int       `json:"tries"`
	NotBefore      time.Time `json:"notbefore"`
	Parked         bool      `json:"parked"`
	LastError      wireText  `json:"lasterror"`
}

func wireTaskOf(t *repair.Task) wireTask {
	target := t.Target
	if t.Key != "" { // else it says which entry it is; an old version may have left secrets in it
		target = text.HideSecrets(target)
	}
	return wireTask{
		Seq: t.Seq, First: t.First, Settled: t.Settled, Method: t.Method, Size: t.Size, Owed: t.Owed,
		Target: wireText(target), Host: wireText(t.Host), Bucket: wireText(t.Bucket), Key: wireText(t.Key),
		ETag: wireText(t.ETag), ID: wireText(t.ID), Reason: wireText(t.Reason),
		SubResource: t.SubResource, Unacknowledged: t.Unacknowledged, Doubt: t.Doubt, Version: t.Version,
		Tries: t.Tries, NotBefore: t.NotBefore, Parked: t.Parked, LastError: wireText(t.LastError),
	}
}

func (w *wireTask) task() repair.Task {
	return repair.Task{
		Seq: w.Seq, First: w.First, Settled: w.Settled, Method: w.Method, Size: w.Size, Owed: w.Owed,
		Target: string(w.Target), Host: string(w.Host), Bucket: string(w.Bucket), Key: string(w.Key),
		ETag: string(w.ETag), ID: string(w.ID), Reason: string(w.Reason),
		SubResource: w.SubResource, Unacknowledged: w.Unacknowledged, Doubt: w.Doubt, Version: w.Version,
		Tries: w.Tries, NotBefore: w.NotBefore, Parked: w.Parked, LastError: string(w.LastError),
	}
}
