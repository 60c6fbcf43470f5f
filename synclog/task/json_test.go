package task_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/task"
)

// What a task has must arrive at the other end of the wire, also a field that is new.
func TestTaskAsJSON(t *testing.T) {
	var want task.Task
	testkit.Fill(t, reflect.ValueOf(&want).Elem())
	text, err := json.Marshal(&want)
	testkit.MustDo(t, err)
	var got task.Task
	testkit.MustDo(t, json.Unmarshal(text, &got))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
