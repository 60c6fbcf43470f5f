package linear

import (
	"fmt"
	"math"
	"testing"

	"github.com/anishathalye/porcupine"
)

// action is what a client asked for.
type action struct {
	key   string
	write bool
	value string // of a write; "" deletes
	// A condition of a write: absent is If-None-Match: *, match the value that If-Match names.
	absent bool
	match  string
	upload bool // it is an upload in parts that is completed
}

// verdict is what it was told.
type verdict uint8

const (
	done    verdict = iota // a read has a value, a write was acknowledged
	refused                // the condition does not hold
	unknown                // of a write: it may be done now, later, or never
)

// told is an answer.
type told struct {
	verdict
	value string // of a read; "" is that there is nothing
}

// register is one key: its state is its value, "" where there is none.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, o := range history {
			key := o.Input.(action).key //nolint:forcetypeassert // there are no others
			i, ok := at[key]
			if !ok {
				i = len(parts)
				at[key] = i
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], o)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		value, a, t := state.(string), input.(action), output.(told) //nolint:forcetypeassert // there are no others
		if !a.write {
			return value == t.value, value
		}
		if a.value == "" && value == "" { // to delete what is not there is no change, whatever the condition says
			return true, value
		}
		holds := !(a.absent && value != "") && (a.match == "" || a.match == value || a.match == anything && value != "")
		switch {
		case t.verdict == refused:
			return !holds, value
		case holds:
			return true, a.value
		}
		return t.verdict == unknown, value
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

// operation is one of a history. What is unknown may come to pass at any time after its call.
func operation(client int, a action, t told, call, end int64) porcupine.Operation {
	if t.verdict == unknown {
		end = math.MaxInt64
	}
	return porcupine.Operation{ClientId: client, Input: a, Output: t, Call: call, Return: end}
}

// The model itself: what it must explain, and what it must not.
func TestRegister(t *testing.T) {
	t.Parallel()
	put := func(v string) action { return action{key: "k", write: true, value: v} }
	read := action{key: "k"}
	gives := func(v string) told { return told{value: v} }
	for _, tt := range []struct {
		name    string
		history []porcupine.Operation
		want    bool
	}{
		{"read your writes", []porcupine.Operation{operation(0, put("a"), told{}, 1, 2), operation(0, read, gives("a"), 3, 4)}, true},
		{"a stale read", []porcupine.Operation{operation(0, put("a"), told{}, 1, 2), operation(0, put("b"), told{}, 3, 4), operation(1, read, gives("a"), 5, 6)}, false},
		{"a read of what is gone", []porcupine.Operation{operation(0, put("a"), told{}, 1, 2), operation(0, put(""), told{}, 3, 4), operation(1, read, gives("a"), 5, 6)}, false},
		{"concurrent", []porcupine.Operation{operation(0, put("a"), told{}, 1, 9), operation(1, read, gives(""), 2, 3), operation(1, read, gives("a"), 4, 5)}, true},
		{"going back", []porcupine.Operation{operation(0, put("a"), told{}, 1, 9), operation(1, read, gives("a"), 2, 3), operation(1, read, gives(""), 4, 5)}, false},
		{"unknown, and done late", []porcupine.Operation{operation(0, put("a"), told{verdict: unknown}, 1, 2), operation(1, read, gives(""), 3, 4), operation(1, read, gives("a"), 5, 6)}, true},
		{"unknown, and never done", []porcupine.Operation{operation(0, put("a"), told{verdict: unknown}, 1, 2), operation(1, read, gives(""), 3, 4)}, true},
		{"two winners", []porcupine.Operation{
			operation(0, action{key: "k", write: true, value: "a", absent: true}, told{}, 1, 9),
			operation(1, action{key: "k", write: true, value: "b", absent: true}, told{}, 1, 9),
		}, false},
		{"one winner", []porcupine.Operation{
			operation(0, action{key: "k", write: true, value: "a", absent: true}, told{}, 1, 9),
			operation(1, action{key: "k", write: true, value: "b", absent: true}, told{verdict: refused}, 1, 9),
		}, true},
		{"refused for no reason", []porcupine.Operation{operation(0, action{key: "k", write: true, value: "a", absent: true}, told{verdict: refused}, 1, 2)}, false},
		{"a lost update", []porcupine.Operation{
			operation(0, put("a"), told{}, 1, 2),
			operation(0, action{key: "k", write: true, value: "b", match: "a"}, told{}, 3, 9),
			operation(1, action{key: "k", write: true, value: "c", match: "a"}, told{}, 3, 9),
		}, false},
		{"two keys", []porcupine.Operation{operation(0, put("a"), told{}, 1, 2), operation(0, action{key: "l"}, gives(""), 3, 4)}, true},
	} {
		if got := porcupine.CheckOperations(register, tt.history); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
