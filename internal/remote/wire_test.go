package remote

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/repair"
)

// What a task has must arrive at the other end, also a field that is new.
func TestWireTask(t *testing.T) {
	var want repair.Task
	testkit.Fill(t, reflect.ValueOf(&want).Elem())
	want.Method = "PUT" // a token: it is text
	text, err := json.Marshal(wireTaskOf(&want))
	if err != nil {
		t.Fatal(err)
	}
	var wire wireTask
	if err := json.Unmarshal(text, &wire); err != nil {
		t.Fatal(err)
	}
	if got := wire.task(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
