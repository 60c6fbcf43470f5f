package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlParser is a koanf.Parser. koanf's own drops all documents but the first, and turns text that
// looks like a number or a date into one.
type yamlParser struct {
	places map[string]int // receives the line of each path; may be nil
}

func (p yamlParser) Unmarshal(text []byte) (map[string]any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := dec.Decode(&second); err == nil {
		return nil, fmt.Errorf("line %d: a second YAML document begins here, only one is allowed", second.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return map[string]any{}, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: the configuration must be a map of keys", root.Line)
	}
	keysAsText(root)
	textAsWritten("", root, reflect.TypeFor[Config]())
	if p.places != nil {
		p.note("", root, reflect.TypeFor[Config]())
	}
	m := map[string]any{}
	err := root.Decode(&m)
	return m, err
}

func (yamlParser) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

// keysAsText makes each key text. Otherwise `~: 5`, whose key is null, would be dropped silently,
// key and value.
func keysAsText(n *yaml.Node) {
	for i, inner := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			asText(inner)
		}
		keysAsText(inner)
	}
}

// textAsWritten turns values that must be text into text exactly as written: a header's 600, an
// access key of digits, a bare port. The checks then judge what it means, instead of demanding
// quotes. The original read such headers as text too. Numbers that YAML does not read as decimal
// become text as well, for decodeValue to refuse: 010 is 8 in YAML, and 10 to whoever wrote it.
func textAsWritten(parent string, n *yaml.Node, t reflect.Type) {
	if t.Kind() == reflect.String || t == reflect.TypeFor[oneOrMany]() && n.Kind != yaml.SequenceNode || isOddNumber(n, t) {
		if n.Kind == yaml.AliasNode && n.Alias.Kind == yaml.ScalarNode {
			n.Kind, n.Value, n.Tag, n.Alias = yaml.ScalarNode, n.Alias.Value, n.Alias.Tag, nil // a copy of its own
		}
		if n.Tag != "!!null" {
			asText(n)
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	each(parent, n, t, textAsWritten)
}

// isOddNumber reports whether n stands where a number of type t should, and is one in a notation
// that is not plainly decimal.
func isOddNumber(n *yaml.Node, t reflect.Type) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Float64:
	default:
		if t != reflect.TypeFor[Rates]() {
			return false
		}
	}
	tag := n.ShortTag()
	return n.Kind == yaml.ScalarNode && (tag == "!!int" || tag == "!!float") && !isDecimal(n.Value)
}

// each calls f for everything in n, of type t, whose key is known.
func each(parent string, n *yaml.Node, t reflect.Type, f func(path string, n *yaml.Node, t reflect.Type)) {
	switch {
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for i, inner := range n.Content {
			f(element(parent, i), inner, t.Elem())
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Map:
		for key, value := range pairs(n) {
			f(parent+"["+key.Value+"]", value, t.Elem())
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		for key, value := range pairs(n) {
			for field := range t.Fields() {
				if name := field.Tag.Get("koanf"); name == key.Value {
					f(join(parent, name), value, field.Type)
				}
			}
		}
	}
}

// pairs are the keys of a map and their values, those that a merge key (<<) brings in before its own, which
// override them. What is merged into a merged map is left out: a map may be merged into itself.
func pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for _, m := range append(mergedInto(n), n) {
			for i := 0; i+1 < len(m.Content); i += 2 {
				if m.Content[i].Tag != "!!merge" && !yield(m.Content[i], m.Content[i+1]) {
					return
				}
			}
		}
	}
}

// mergedInto lists the maps that n's merge key brings in; each overrides those before it.
func mergedInto(n *yaml.Node) (maps []*yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		from := n.Content[i+1 : i+2]
		if from[0].Kind == yaml.SequenceNode {
			from = from[0].Content
		}
		for _, m := range slices.Backward(from) { // YAML has the first one override the others
			if m.Kind == yaml.AliasNode {
				m = m.Alias
			}
			if m.Kind == yaml.MappingNode {
				maps = append(maps, m)
			}
		}
	}
	return maps
}

// note records the lines of n's keys and elements, even unknown ones.
func (p yamlParser) note(parent string, n *yaml.Node, t reflect.Type) {
	if n.Kind == yaml.AliasNode {
		return // it is written elsewhere
	}
	switch n.Kind {
	case yaml.MappingNode:
		for key := range pairs(n) {
			path := join(parent, cmp.Or(key.Value, `""`))
			if t.Kind() == reflect.Map {
				path = parent + "[" + key.Value + "]"
			}
			p.places[path] = key.Line
		}
	case yaml.SequenceNode:
		for i, inner := range n.Content {
			p.places[element(parent, i)] = inner.Line
		}
	}
	each(parent, n, t, p.note)
}

func asText(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!merge" {
		n.Tag = "!!str"
	}
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// yamlMistakes names the file and line of YAML syntax errors.
func yamlMistakes(file string, text []byte, err error) Errors {
	lines := []string{err.Error()}
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		lines = te.Errors
	}
	m := &mistakes{file: file}
	for _, line := range lines {
		prefix := yamlLine.FindStringSubmatch(line)
		number, _ := strconv.Atoi(prefix[1])
		if n := unparsableLine(text); n > 0 {
			number = n
		}
		problem := line[len(prefix[0]):]
		if n, why := likelyCause(text, number); n > 0 {
			number, problem = n, why
		} else {
			problem += inWords(problem)
		}
		if number == 0 && file != "" {
			problem = file + ": cannot parse YAML: " + problem
		} else {
			problem = "cannot parse YAML: " + problem
		}
		m.note(number, "%s", problem)
	}
	return m.errors()
}

// inWords says what the parser's words about tokens mean for whoever wrote the file, if that is known.
func inWords(problem string) string {
	for _, hint := range [][2]string{
		{"found character that cannot start any token", "; text that begins with @, % or ` must be in quotes"},
		{"unknown anchor", "; text that begins with * must be in quotes"},
		{"did not find expected alphabetic or numeric character", "; text that begins with * or & must be in quotes"},
		{"mapping values are not allowed in this context", "; text that contains a colon and a space must be in quotes"},
		{"found unexpected end of stream", "; a quote is not closed"},
		{"did not find expected ',' or", "; a bracket is not closed, or a comma is missing"},
		{"did not find expected key", "; the line is not indented like those beside it, or a list stands where a map should"},
		{"did not find expected '-' indicator", "; the line is not indented like the list's other elements"},
	} {
		if strings.Contains(problem, hint[0]) {
			return hint[1]
		}
	}
	return ""
}

// likelyCause names a common mistake in the given line or the one before it, since the parser's own
// messages are about tokens; line is 0 if there is none.
func likelyCause(text []byte, number int) (line int, why string) {
	for n, content := range bytes.Split(text, []byte("\n")) {
		if number > 0 && n+1 > number {
			break
		}
		indent := content[:len(content)-len(bytes.TrimLeft(content, " \t"))]
		if bytes.IndexByte(indent, '\t') >= 0 && len(indent) < len(bytes.TrimRight(content, "\r")) {
			return n + 1, "the line is indented with a tab; YAML allows only spaces"
		}
		if n+1 != number && n+2 != number {
			continue
		}
		if key := noSpace.FindSubmatch(content); len(key) > 0 && isKeyName(string(key[1])) {
			return n + 1, fmt.Sprintf("a space is missing after the colon of %q", key[1])
		}
	}
	return 0, ""
}

var noSpace = regexp.MustCompile(`^\s*([A-Za-z]+):[^\s]`)

func isKeyName(name string) bool {
	return slices.ContainsFunc(knownPaths, func(path string) bool {
		_, base := splitPath(path)
		return base == name
	})
}

// unparsableLine is the line after the longest prefix of text that is valid YAML, or 0 if all of it
// is. For a line that is indented too far the parser names the beginning of the enclosing block,
// which may be the beginning of the file.
func unparsableLine(text []byte) int {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if len(text) > 64<<10 || len(lines) > 2000 {
		return 0 // it would take too long
	}
	var ignored yaml.Node
	for end, n := len(text), len(lines); n > 0; n-- {
		if yaml.Unmarshal(text[:end], &ignored) == nil {
			return (n + 1) % (len(lines) + 1)
		}
		end -= len(lines[n-1])
	}
	return 1
}
