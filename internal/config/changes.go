package config

import "reflect"

// Changes are the keys in which two configurations differ, by their paths, in Config's order.
func Changes(one, other *Config) (paths []string) {
	var walk func(parent string, a, b reflect.Value)
	walk = func(parent string, a, b reflect.Value) {
		for i := range a.NumField() {
			path := join(parent, a.Type().Field(i).Tag.Get("koanf"))
			switch {
			case a.Field(i).Kind() == reflect.Struct:
				walk(path, a.Field(i), b.Field(i))
			case !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
				paths = append(paths, path)
			}
		}
	}
	walk("", reflect.ValueOf(*one), reflect.ValueOf(*other))
	return paths
}
