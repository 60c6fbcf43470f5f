package linear

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// known leaves out what may have come on a key after one of its writes of unknown outcome, but for endless keys.
func known(history []porcupine.Operation, endless func(key string) bool) (kept []porcupine.Operation) {
	for _, partition := range register.Partition(history) {
		if endless(partition[0].Input.(action).key) { //nolint:forcetypeassert // there are no others
			kept = append(kept, partition...)
			continue
		}
		until := int64(math.MaxInt64)
		for _, o := range partition {
			if o.Output.(told).verdict == unknown { //nolint:forcetypeassert // there are no others
				until = min(until, o.Call)
			}
		}
		for _, o := range partition {
			a, t := o.Input.(action), o.Output.(told) //nolint:forcetypeassert // there are no others
			switch {
			case o.Return <= until:
				kept = append(kept, o)
			case o.Call <= until && a.write && t.verdict != refused: // what it has done may be seen by then
				kept = append(kept, operation(o.ClientId, a, told{verdict: unknown}, o.Call, o.Return))
			}
		}
	}
	return kept
}

// unexplained tells the operations around the first one that no order has a place for.
func unexplained(history []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var text strings.Builder
	for i, partition := range register.Partition(history) {
		var longest []porcupine.Operation
		for _, order := range info.PartialLinearizationsOperations()[i] {
			if len(order) > len(longest) {
				longest = order
			}
		}
		known := 0 // what was told of the others is what is left to explain
		for _, o := range partition {
			if o.Return != math.MaxInt64 {
				known++
			}
		}
		told := slices.DeleteFunc(slices.Clone(longest), func(o porcupine.Operation) bool { return o.Return == math.MaxInt64 })
		if len(told) == known {
			continue
		}
		for _, o := range longest[max(0, len(longest)-6):] {
			fmt.Fprintf(&text, "explained: %s\n", line(o))
		}
		slices.SortFunc(partition, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		shown := 0
		for _, o := range partition {
			if !slices.ContainsFunc(longest, func(e porcupine.Operation) bool { return e.Call == o.Call && e.ClientId == o.ClientId }) && shown < 12 {
				fmt.Fprintf(&text, "not:       %s\n", line(o))
				shown++
			}
		}
	}
	return text.String()
}

func line(o porcupine.Operation) string {
	end := "…"
	if o.Return != math.MaxInt64 {
		end = time.Duration(o.Return).String()
	}
	return fmt.Sprintf("client %d, %v to %s, %s", o.ClientId, time.Duration(o.Call), end, register.DescribeOperation(o.Input, o.Output))
}
