package remote

import (
	"encoding/json"
	"slices"

	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/task"
)

// The messages between a running proxy and a repair beside it, as JSON. Keys and the like may
// contain any bytes, which JSON text cannot hold, so they are base64.

type wireRequest struct {
	Session string    `json:"session,omitempty"`
	Cursor  uint64    `json:"cursor,omitempty"`
	Key     wireKey   `json:"key"`
	Task    task.Task `json:"task"`
	Action  string    `json:"action,omitempty"`
	Settle  bool      `json:"settle,omitempty"` // open: a person decides
}

type wireAnswer struct {
	Session string    `json:"session,omitempty"`
	Out     []string  `json:"out,omitempty"`    // backends to leave alone
	Parked  bool      `json:"parked,omitempty"` // busy: it is pending and waits for a person
	OK      bool      `json:"ok"`
	Gone    bool      `json:"gone,omitempty"` // note: the task is not as it was any more
	Next    uint64    `json:"next,omitempty"`
	Task    task.Task `json:"task"`
}

// wireText is text that may contain any bytes.
type wireText string

// MarshalJSON encodes it as base64.
func (w wireText) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(w)) }

// UnmarshalJSON reverses MarshalJSON.
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

// hidden is a task as it is sent: an old version may have left secrets in the targets of writes. A
// bucket's task keeps its target, which identifies it.
func hidden(t *task.Task) task.Task {
	c := *t
	c.Writes, c.Rivals = hiddenTargets(c.Writes), hiddenTargets(c.Rivals)
	if c.Key != "" {
		c.Target = text.HideSecrets(c.Target)
	}
	return c
}

func hiddenTargets(writes []task.Write) []task.Write {
	writes = slices.Clone(writes)
	for i := range writes {
		writes[i].Target = text.HideSecrets(writes[i].Target)
	}
	return writes
}
