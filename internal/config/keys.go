package config

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/akubra/akubra/internal/text"
)

// known maps each key's path, such as "Logging.Mainlog.Level", to the type it is decoded into;
// knownPaths are the paths in Config's order.
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

// mistakes collects one line per mistake.
type mistakes struct {
	all    []mistake
	file   string            // where the configuration was read from; "" if not from a file
	places map[string]int    // line of each path in the YAML; nil if not needed
	env    map[string]string // the variable that set a path
	broken map[string]bool   // paths whose value had the wrong type or could not be read

	noFiles  bool     // do not open files that the configuration names (R37)
	unopened []string // the keys of those files
}

// mistake is one line, and its line number in the YAML; 0 means none.
type mistake struct {
	place int
	text  string
}

// errors returns the mistakes in the order of their line numbers, those without one first; nil if
// there are none.
func (m *mistakes) errors() Errors {
	slices.SortStableFunc(m.all, func(a, b mistake) int { return a.place - b.place })
	var lines Errors
	for _, e := range m.all {
		lines = append(lines, m.prefix(e.place)+e.text)
	}
	return lines
}

// prefix names the line of the configuration in a form that editors understand.
func (m *mistakes) prefix(place int) string {
	switch {
	case place == 0:
		return ""
	case m.file == "":
		return fmt.Sprintf("line %d: ", place)
	}
	return fmt.Sprintf("%s:%d: ", text.Printable(m.file), place)
}

func newMistakes() *mistakes {
	return &mistakes{env: map[string]string{}, broken: map[string]bool{}}
}

// mayOpen reports whether the file named at path may be opened. One that may not be is never a
// mistake.
func (m *mistakes) mayOpen(path string) bool {
	if m.noFiles {
		m.unopened = append(m.unopened, path)
	}
	return !m.noFiles
}

// add records that value is not allowed at path, and what is. If the value could not even be read,
// one mistake for the path is enough.
func (m *mistakes) add(path string, value any, must string, args ...any) {
	if m.broken[path] {
		return
	}
	shown := show(value)
	switch secret := secretPath(path); {
	case secret && fmt.Sprint(value) == "":
		shown = `""`
	case secret:
		shown = "what is there"
	}
	m.at(path, "%s is not allowed, must be %s", shown, fmt.Sprintf(must, args...))
}

// at records a mistake at a path.
func (m *mistakes) at(path, format string, args ...any) {
	m.note(m.place(path), "%s: %s", m.where(path), fmt.Sprintf(format, args...))
}

// place is the line of a path or of the value that contains it; 0 if it is not in the YAML.
func (m *mistakes) place(path string) int {
	if strings.HasSuffix(m.where(path), ")") { // a variable set it
		return 0
	}
	for path != "" {
		if place := m.places[path]; place > 0 {
			return place
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

// where names a path and the variable that set it, if any.
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

// note records a mistake as one line, whatever the configuration contained.
func (m *mistakes) note(place int, format string, args ...any) {
	m.all = append(m.all, mistake{place, text.Printable(fmt.Sprintf(format, args...))})
}

// line records a mistake that has no place in the YAML.
func (m *mistakes) line(format string, args ...any) { m.note(0, format, args...) }

// show is a value as a mistake quotes it: truncated if long, and without passwords, because
// mistakes end up in logs.
func show(value any) string {
	shown := fmt.Sprint(value)
	switch v := value.(type) {
	case string:
		shown = strconv.Quote(v)
	case []string:
		shown = fmt.Sprintf("%q", v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1000 { // 1.0 is not a whole number in YAML
			shown = strconv.FormatFloat(v, 'f', 1, 64)
		} else if v == math.Trunc(v) { // nor is 1e3
			shown = strconv.FormatFloat(v, 'e', -1, 64)
		}
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

// unknownKeys records the keys of raw that t lacks, each with the most similar one that t has.
func (m *mistakes) unknownKeys(parent string, raw map[string]any, t reflect.Type) {
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		path := join(parent, cmp.Or(name, `""`))
		i := slices.Index(fieldNames(t), name)
		if i < 0 {
			near := nearestKey(parent, name)
			if strings.Contains(parent, "[") { // of an element of a list; knownPaths does not contain these
				near = nearestOf(name, fieldNames(t), func(field string) string { return field })
				if near != "" {
					near = join(parent, near)
				}
			}
			if known[path] != nil && strings.Contains(name, ".") {
				dir, base := splitPath(name)
				m.note(m.place(path), "%s: unknown key; keys are nested: %s stands below %s, indented", path, base, dir)
				continue
			}
			if near == "" {
				m.note(m.place(path), "%s: unknown key, and no known one is similar; %s", path, allowedKeys(parent, t))
				continue
			}
			m.note(m.place(path), "%s: unknown key, the nearest known one is %s", path, near)
			m.broken[near] = true // reporting it as missing too would help nobody
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

// allowedKeys says which keys a level has.
func allowedKeys(parent string, t reflect.Type) string {
	if parent == "" {
		return "config.yaml.example has every key (akubra config prints it)"
	}
	return "known keys are " + strings.Join(fieldNames(t), ", ")
}

// nearestKey is the known key most similar to name, or "" if none is similar. A key on another
// level must be more similar than one on the same level.
func nearestKey(parent, name string) string {
	var beside, elsewhere []string
	for _, path := range knownPaths {
		if dir, _ := splitPath(path); dir == parent {
			beside = append(beside, path)
		} else {
			elsewhere = append(elsewhere, path)
		}
	}
	base := func(path string) string { _, base := splitPath(path); return base }
	if near := nearestOf(name, beside, base); near != "" {
		return near
	}
	near := nearestOf(name, elsewhere, base)
	if near == "" || text.Distance(name, base(near)) > 1 {
		return ""
	}
	return near
}

func splitPath(path string) (dir, base string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// nearestOf is the candidate whose base is most similar to name. It is "" if even that one is not
// similar: naming it would mislead.
func nearestOf(name string, candidates []string, base func(string) string) string {
	if len(candidates) == 0 {
		return ""
	}
	near := text.Nearest(candidates, func(c string) int { return text.Distance(name, base(c)) })
	if !text.Near(name, base(near)) {
		for _, has := range []func(s, part string) bool{strings.HasPrefix, strings.HasSuffix} { // name may be a part of a longer key
			for _, c := range candidates {
				if len(name) >= 3 && has(strings.ToLower(base(c)), strings.ToLower(name)) {
					return c
				}
			}
		}
		return ""
	}
	return near
}
