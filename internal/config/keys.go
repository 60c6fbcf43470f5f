package config

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/akubra/akubra/internal/text"
)

// known are the keys that a configuration may have, by their path, as in
// "Logging.Mainlog.Level", with the types they are decoded into; knownPaths are
// the same in Config's order.
var known, knownPaths = knownKeys()

func knownKeys() (map[string]reflect.Type, []string) {
	types := map[string]reflect.Type{}
	var paths []string
	var walk func(parent string, t reflect.Type)
	walk = func(parent string, t reflect.Type) {
		for field := range t.Fields() {
			path := join(parent, field.Tag.Get("koanf"))
			types[path], paths = field.Type, append(paths, path)
			if field.Type.Kind() == reflect.Struct {
				walk(path, field.Type)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	return types, paths
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for field := range t.Fields() {
		names = append(names, field.Tag.Get("koanf"))
	}
	return names
}

func join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

// mistakes gathers a line for each mistake.
type mistakes struct {
	lines  Errors
	env    map[string]string // which variable set a path
	broken map[string]bool   // paths whose value was not even of the right type

	noFiles  bool     // files that the configuration names are not to be opened (R37)
	unopened []string // whose they are
}

func newMistakes() *mistakes {
	return &mistakes{env: map[string]string{}, broken: map[string]bool{}}
}

// mayOpen reports whether the file that stands at path may be opened. One that may not
// leaves no mistake, whatever it is.
func (m *mistakes) mayOpen(path string) bool {
	if m.noFiles {
		m.unopened = append(m.unopened, path)
	}
	return !m.noFiles
}

// add notes that value must not stand at path, and what must. One mistake at a
// path is enough where the value could not even be read.
func (m *mistakes) add(path string, value any, must string, args ...any) {
	if m.broken[path] {
		return
	}
	shown := show(value)
	if secretPath(path) {
		shown = "what is there"
	}
	m.line("%s: %s is not allowed, must be %s", m.where(path), shown, fmt.Sprintf(must, args...))
}

// where names a path, and the variable that set it.
func (m *mistakes) where(path string) string {
	key := path
	if list, _, _ := strings.Cut(path, "["); known[list] != nil && known[list].Kind() == reflect.Slice {
		key = list
	}
	if variable := m.env[key]; variable != "" {
		return path + " (from " + variable + ")"
	}
	return path
}

// line keeps to one line whatever the configuration had in it.
func (m *mistakes) line(format string, args ...any) {
	m.lines = append(m.lines, text.Printable(fmt.Sprintf(format, args...)))
}

// show is a value as a mistake quotes it: cut where it is long, and without
// passwords, for mistakes end in logs.
func show(value any) string {
	shown := fmt.Sprint(value)
	switch v := value.(type) {
	case string:
		shown = strconv.Quote(v)
	case []string:
		shown = fmt.Sprintf("%q", v)
	default:
		switch reflect.ValueOf(value).Kind() {
		case reflect.Map:
			shown = "a map"
		case reflect.Slice:
			shown = "a list"
		}
	}
	shown = password.ReplaceAllString(shown, "://…@")
	if len(shown) > 200 {
		shown = shown[:200] + "…"
	}
	return shown
}

var password = regexp.MustCompile(`://.*@`)

// unknownKeys notes the keys of raw that t has not, with the nearest that it has.
func (m *mistakes) unknownKeys(parent string, raw map[string]any, t reflect.Type) {
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		path := join(parent, cmp.Or(name, `""`))
		i := slices.Index(fieldNames(t), name)
		if i < 0 {
			near := nearestKey(parent, name)
			if strings.Contains(parent, "[") { // of a list's element, which knownPaths have not
				near = join(parent, text.Nearest(fieldNames(t), func(field string) int { return text.Distance(name, field) }))
			}
			m.line("%s: unknown key, the nearest known one is %s", path, near)
			m.broken[near] = true // to say as well that it is missing would help nobody
			continue
		}
		switch inner, field := raw[name], t.Field(i).Type; field.Kind() {
		case reflect.Struct:
			if inner, ok := inner.(map[string]any); ok {
				m.unknownKeys(path, inner, field)
			}
		case reflect.Slice:
			list, _ := inner.([]any)
			for i, inner := range list {
				if inner, ok := inner.(map[string]any); ok && field.Elem().Kind() == reflect.Struct {
					m.unknownKeys(element(path, i), inner, field.Elem())
				}
			}
		}
	}
}

// nearestKey is the known key that looks most like name; one on another level has
// to look more like it than one beside it.
func nearestKey(parent, name string) string {
	return text.Nearest(knownPaths, func(path string) int {
		dir, base := "", path
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			dir, base = path[:i], path[i+1:]
		}
		d := 2 * text.Distance(name, base)
		if dir != parent {
			d += 3
		}
		return d
	})
}
