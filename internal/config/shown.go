package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Shown is a key's value as a page may show it (R37).
func (c *Config) Shown(path string) string {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		v = fieldOf(v, name)
	}
	switch {
	case secretPath(path) && v.IsZero():
		return "not set"
	case secretPath(path):
		return "set"
	case strings.HasSuffix(path, "Headers"): // Authorization may be one
		return fmt.Sprintf("%d headers", v.Len())
	case path == "BackendCredentials" || path == "BackendTLS":
		return fmt.Sprintf("%d entries", v.Len())
	case isEmpty(v):
		return "none"
	}
	return fmt.Sprint(v.Interface())
}
