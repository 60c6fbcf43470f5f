package task

import "encoding/json"

// As JSON, for a repair beside a running proxy, names and the like are base64: they are
// any bytes, which JSON's text cannot hold.

// The fields of the outer struct stand before those of the same name in the plain one.
type (
	plainWrite Write
	wireWrite  struct {
		*plainWrite
		Method, Target, Host, ETag, ID, Reason []byte
		ETags, Made                            map[string][]byte
	}
	plainTask Task
	wireTask  struct {
		*plainTask
		Bucket, Key, Target, LastError []byte
	}
)

// MarshalJSON has the bytes as base64.
func (w Write) MarshalJSON() ([]byte, error) {
	wire := wireWrite{
		plainWrite: (*plainWrite)(&w), Method: []byte(w.Method), Target: []byte(w.Target), Host: []byte(w.Host),
		ETag: []byte(w.ETag), ID: []byte(w.ID), Reason: []byte(w.Reason),
	}
	wire.ETags, wire.Made = rawValues[[]byte](w.ETags), rawValues[[]byte](w.Made)
	return json.Marshal(wire)
}

// UnmarshalJSON is its reverse.
func (w *Write) UnmarshalJSON(text []byte) error {
	wire := wireWrite{plainWrite: (*plainWrite)(w)}
	if err := json.Unmarshal(text, &wire); err != nil {
		return err
	}
	w.Method, w.Target, w.Host = string(wire.Method), string(wire.Target), string(wire.Host)
	w.ETag, w.ID, w.Reason = string(wire.ETag), string(wire.ID), string(wire.Reason)
	w.ETags, w.Made = rawValues[string](wire.ETags), rawValues[string](wire.Made)
	return nil
}

// rawValues has the values in the other form.
func rawValues[to, from ~string | ~[]byte](m map[string]from) map[string]to {
	if m == nil {
		return nil
	}
	n := make(map[string]to, len(m))
	for name, value := range m {
		n[name] = to(value)
	}
	return n
}

// MarshalJSON has the bytes as base64.
func (t Task) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireTask{
		plainTask: (*plainTask)(&t), Bucket: []byte(t.Bucket), Key: []byte(t.Key), Target: []byte(t.Target), LastError: []byte(t.LastError),
	})
}

// UnmarshalJSON is its reverse.
func (t *Task) UnmarshalJSON(text []byte) error {
	wire := wireTask{plainTask: (*plainTask)(t)}
	if err := json.Unmarshal(text, &wire); err != nil {
		return err
	}
	t.Bucket, t.Key, t.Target, t.LastError = string(wire.Bucket), string(wire.Key), string(wire.Target), string(wire.LastError)
	return nil
}
