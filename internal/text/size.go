package text

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes formats a number of bytes for people, such as 1.5 MiB.
func Bytes(bytes int64) string {
	for _, u := range sizeUnits[:binaryUnits] {
		if bytes >= int64(u.bytes) {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%d B", bytes)
}

// ByteSize is a number of bytes.
type ByteSize int64

var sizeUnits = []struct {
	name  string
	bytes ByteSize
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3},
	{"B", 1},
}

// binaryUnits are the first of sizeUnits, which sizes are written with.
const binaryUnits = 4

// ParseSize accepts whole numbers with or without a unit: 65536, 64KiB, 1 MB.
func ParseSize(s string) (ByteSize, bool) {
	unit := ByteSize(1)
	for _, u := range sizeUnits {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = strings.TrimSuffix(number, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > int64(math.MaxInt64/unit) || n < int64(math.MinInt64/unit) {
		return 0, false
	}
	return ByteSize(n) * unit, true
}

// String uses the largest unit that gives a whole number.
func (b ByteSize) String() string {
	for _, u := range sizeUnits[:binaryUnits] {
		if b != 0 && b%u.bytes == 0 {
			return strconv.FormatInt(int64(b/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
