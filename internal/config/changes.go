package config

import (
	"reflect"
	"strings"
)

// Changes are the keys in which two configurations differ, by their paths, in Config's order.
func Changes(one, other *Config) (paths []string) {
	var walk func(parent string, a, b reflect.Value)
	walk = func(parent string, a, b reflect.Value) {
		for i := range a.NumField() {
			path := join(parent, a.Type().Field(i).Tag.Get("koanf"))
			switch {
			case a.Field(i).Kind() == reflect.Struct:
				walk(path, a.Field(i), b.Field(i))
			case isEmpty(a.Field(i)) && isEmpty(b.Field(i)):
			case !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
				paths = append(paths, path)
			}
		}
	}
	walk("", reflect.ValueOf(*one), reflect.ValueOf(*other))
	return paths
}

// Paths are the paths of all keys that have a value of their own, in Config's order.
func Paths() (paths []string) {
	for _, path := range knownPaths {
		if known[path].Kind() != reflect.Struct {
			paths = append(paths, path)
		}
	}
	return paths
}

// isEmpty reports whether v is a list or a map without elements, or nil.
func isEmpty(v reflect.Value) bool {
	return (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
}

// Keeping returns c with other's values at paths, as returned by Changes. The result is checked;
// on an error, which is of type Errors, c is returned.
func (c *Config) Keeping(other *Config, paths []string) (*Config, error) {
	kept := *c
	for _, path := range paths {
		to, from := reflect.ValueOf(&kept).Elem(), reflect.ValueOf(other).Elem()
		for name := range strings.SplitSeq(path, ".") {
			to, from = fieldOf(to, name), fieldOf(from, name)
		}
		to.Set(from)
	}
	if err := kept.Complete(); err != nil {
		return c, err
	}
	return &kept, nil
}

// fieldOf is the field for a key's name.
func fieldOf(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("koanf") == name {
			return v.Field(i)
		}
	}
	panic("config: no key " + name)
}
