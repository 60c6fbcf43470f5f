package task

import (
	"fmt"
	"strings"
)

// ReasonsText says, in brackets, how many keys are parked for which reason; "" if nobody knows.
func ReasonsText(parked map[string]int) string {
	var all []string
	for _, why := range ParkReasons {
		if n := parked[string(why)]; n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, why))
		}
	}
	if all == nil {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}
