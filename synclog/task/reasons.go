package task

import (
	"fmt"
	"strings"
)

// StillLate is the LastError of a task that is due for a second look.
const StillLate = "all are equal, but a write without an answer may still land: it is looked at once more"

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
